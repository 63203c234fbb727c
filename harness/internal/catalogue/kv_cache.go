package catalogue

import (
	"math/rand/v2"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// kvCache holds mistakes with keys and values cached from earlier positions.
var kvCache = []Mistake{
	{
		ID:          "rope-offset-lost",
		Title:       "the positions of new queries and keys counted from 0",
		Explanation: "The RoPE positions of new queries and keys restart at 0. Cached keys keep their own positions.",
		Fix:         "Start the positions of new queries and keys after the last cached position.",
		Family:      KVCache,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE and a cache",
		Refs:        []string{"E04"},
		Evidence:    "https://github.com/Blaizzy/mlx-vlm/issues/1983",
		Plant:       changeRotary(fromPositionZero, queryRotary, keyRotary),
	},
	{
		ID:          "rope-offset-lost-for-queries",
		Title:       "the positions of new queries counted from 0",
		Explanation: "New keys are rotated by their positions after the cache, but queries as if the cache were empty.",
		Fix:         "Start the positions of queries after the last cached position, too.",
		Family:      KVCache,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE and a cache",
		Refs:        []string{"E04q"},
		Evidence:    "https://github.com/RobertCsordas/moeut/pull/6",
		Plant:       changeRotary(fromPositionZero, queryRotary),
	},
	{
		ID:          "cache-rotated-twice",
		Title:       "the cached keys rotated once more",
		Explanation: "Keys are stored after RoPE, and rotated again together with the new keys.",
		Fix:         "Rotate each key once: rotate only the new keys, and store them rotated.",
		Family:      KVCache,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE, and two or more cached keys",
		Refs:        []string{"E18"},
		Evidence:    "https://github.com/rajveer43/VeloxQuant-MLX/pull/138",
		Plant:       rotatePast(func(t *oracle.Rotary) {}),
	},
	{
		ID:          "cache-not-rotated",
		Title:       "the cached keys not rotated",
		Explanation: "Keys are stored before RoPE, which is then applied to the new keys only.",
		Fix:         "Store keys after RoPE, or rotate the cached keys together with the new ones.",
		Family:      KVCache,
		Kind:        Missing,
		Stage:       Projection,
		Needs:       "RoPE, and two or more cached keys",
		Refs:        []string{"E18b"},
		Evidence:    "https://github.com/MurrellGroup/Jjama3.jl/issues/7",
		Plant:       rotatePast(func(t *oracle.Rotary) { t.Factor = -t.Factor }),
	},
	{
		ID:          "cache-stale",
		Title:       "another sequence's cache",
		Explanation: "The cached keys and values belong to another sequence.",
		Fix:         "Clear the cache between sequences, and look it up by everything that its contents depend on.",
		Family:      KVCache,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "a cache",
		Refs:        []string{"H02"},
		Evidence:    "https://github.com/local-inference-lab/vllm/issues/480",
		Random:      true,
		Plant:       cacheStale,
	},
	{
		ID:    "cache-overwritten",
		Title: "the new keys and values written over the first ones of the cache",
		Explanation: "The write position ignores the length of the cache: " +
			"its first slots are lost, and the last slots stay zero.",
		Fix:      "Concatenate new keys and values to the end of past_key_values.",
		Family:   KVCache,
		Kind:     Layout,
		Stage:    Projection,
		Needs:    "a cache",
		Refs:     []string{"H03"},
		Evidence: "https://github.com/EricLBuehler/mistral.rs/pull/300",
		Plant:    writeSlots(overwrittenSlot),
	},
	{
		ID:          "cache-one-slot-late",
		Title:       "the new keys and values written one slot late",
		Explanation: "The slot after the cached keys stays zero, and the last new key and value are lost.",
		Fix:         "Write the first new key and value at slot P, the number of cached keys.",
		Family:      KVCache,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "a cache",
		Refs:        []string{"H04"},
		Evidence:    "https://github.com/tenstorrent/tt-metal/issues/54742",
		Plant:       writeSlots(oneSlotLate),
	},
	{
		ID:          "cache-without-new-keys",
		Title:       "the new keys hidden",
		Explanation: "Queries attend to the cache before the new keys and values are appended to it.",
		Fix:         "Append new keys and values first, then attend.",
		Family:      KVCache,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a cache",
		Refs:        []string{"H05"},
		Plant:       showSlots(func(past, key int) bool { return key < past }),
	},
	{
		ID:          "cache-ignored",
		Title:       "the cached keys hidden",
		Explanation: "Queries see only the new keys.",
		Fix:         "Concatenate past_key_values in front of the new keys and values.",
		Family:      KVCache,
		Kind:        Missing,
		Stage:       Score,
		Needs:       "a cache",
		Refs:        []string{"H01"},
		Plant:       showSlots(func(past, key int) bool { return key >= past }),
	},
	{
		ID:          "cache-of-first-batch-element",
		Title:       "the first batch element's cache used for all elements",
		Explanation: "Every batch element continues from the cached keys and values of element 0.",
		Fix:         "Keep a cache for each batch element, (B, Hk, P, E), and reorder it with the batch.",
		Family:      KVCache,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "a cache, and two or more batch elements",
		Refs:        []string{"H07"},
		Plant:       cacheOfFirstBatchElement,
	},
	{
		ID:          "cache-zero-slots-seen",
		Title:       "two empty cache slots of zeros that take part",
		Explanation: "The cache is longer than its contents, and its unfilled slots are seen as zeros.",
		Fix:         "Mask the unfilled slots, or slice the cache to its length.",
		Family:      KVCache,
		Kind:        Altered,
		Stage:       Score,
		Needs:       "a cache",
		Refs:        []string{"H08"},
		Evidence:    "https://github.com/huggingface/transformers/pull/45940",
		Plant:       cacheZeroSlotsSeen,
	},
	{
		ID:    "cache-zero",
		Title: "the cached keys and values read as zero",
		Explanation: "The cache is visible but empty, or was dequantised with a scale of zero: " +
			"each cached key has the score 0 and adds nothing.",
		Fix:      "Check that cached keys and values reach the cache before it is read, and that its scales are set.",
		Family:   KVCache,
		Kind:     Missing,
		Stage:    Projection,
		Needs:    "a cache",
		Evidence: "https://github.com/InfiniTensor/InfiniLM/pull/553",
		Plant:    changePast(1, zeroLike),
	},
	withVariants(Mistake{
		ID:          "cache-rolled",
		Title:       "the cached keys and values read from one slot too late in their ring buffer",
		Explanation: "The oldest key comes last. Window, padding and distances then belong to other keys.",
		Fix:         "Start to read a ring buffer that is full at its write position.",
		Family:      KVCache,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "two or more cached keys, and a window, padding, mask or bias by position",
		Evidence:    "https://github.com/Blaizzy/mlx-vlm/issues/1715",
		Plant:       cacheRolled(1),
	}, variant{
		id:    "back",
		title: "the cached keys and values read from one slot too early in their ring buffer",
		plant: cacheRolled(-1),
	}),
	withVariants(Mistake{
		ID:          "cache-int8",
		Title:       "an int8 cache with one scale per head and token",
		Explanation: "Cached keys and values are rounded to 127 steps on either side of zero.",
		Fix:         "Test with a cache that is not quantised.",
		Family:      KVCache,
		Kind:        Rounded,
		Stage:       Projection,
		Needs:       "a cache",
		Plant:       changePast(1, cacheInt8(byToken, scaleOfMaximum, scaled)),
	}, variant{
		id:    "by-head",
		title: "an int8 cache with one scale per head and batch element",
		plant: changePast(1, cacheInt8(byHead, scaleOfMaximum, scaled)),
	}, variant{
		id:    "by-tensor",
		title: "an int8 cache with one scale for all keys and one for all values",
		plant: changePast(1, cacheInt8(byTensor, scaleOfMaximum, scaled)),
	}, variant{
		id:    "scale-floored",
		title: "an int8 cache whose scales are at least 1, so that it holds whole numbers",
		plant: changePast(1, cacheInt8(byToken, scaleAtLeastOne, scaled)),
	}, variant{
		id:    "unscaled",
		title: "an int8 cache with one scale per head and token, which is not multiplied back",
		plant: changePast(1, cacheInt8(byToken, scaleOfMaximum, unscaled)),
	}, variant{
		id:    "by-tensor-unscaled",
		title: "an int8 cache with one scale for all keys and one for all values, which are not multiplied back",
		plant: changePast(1, cacheInt8(byTensor, scaleOfMaximum, unscaled)),
	}, variant{
		id:    "with-new-keys",
		title: "an int8 cache with one scale per head and token, also for the new keys and values",
		plant: cacheInt8WithNewKeys,
	}),
}

// fromPositionZero starts the positions of new queries or keys at 0 instead of after the cache.
func fromPositionZero(p *oracle.Problem, t *oracle.Rotary) bool {
	t.First = 0
	return pastCount(p) > 0
}

// rotatePast applies the keys' RoPE, after change, to cached keys at positions 0 to P-1. It needs
// two cached keys: position 0 is not rotated.
func rotatePast(change func(*oracle.Rotary)) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if pastCount(p) < 2 || p.Layer == nil || p.Layer.KeyRotary == nil {
			return false
		}
		past := *p.Layer.KeyRotary
		past.First = 0
		change(&past)
		p.Layer.PastRotary = &past
		return true
	}
}

func cacheStale(p *oracle.Problem, r *rand.Rand) bool {
	if pastCount(p) == 0 {
		return false
	}
	p.Past = &oracle.Past{Key: randomLike(p.Past.Key, r), Value: randomLike(p.Past.Value, r)}
	return true
}

// randomLike draws an array of the same shape and RMS.
func randomLike(a oracle.Array, r *rand.Rand) oracle.Array {
	values := make([]float64, len(a.Value))
	fillRandom(values, num.RMS(a.Value), r)
	return oracle.Array{Shape: a.Shape, Value: values}
}

// slotSource returns the slot of the right cache that ends up in slot, or -1 if slot stays zero.
// The right cache holds past cached keys, then fresh new ones, then any appended keys.
type slotSource func(past, fresh, slot int) int

// writeSlots writes keys and values to other slots of the cache.
func writeSlots(from slotSource) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		past := pastCount(p)
		fresh := keyCount(p) - past
		if past == 0 {
			return false
		}
		write := moveRows(func(_, _, b, slot int) (fromB, fromSlot int) { return b, from(past, fresh, slot) })
		p.Prepare = afterPrepare(p.Prepare, func(_, k, v *oracle.Field) { *k, *v = write(*k), write(*v) })
		return true
	}
}

// overwrittenSlot writes the new keys from slot 0 on.
func overwrittenSlot(past, fresh, slot int) int {
	switch {
	case slot < fresh:
		return past + slot
	case slot < past || slot >= past+fresh:
		return slot
	}
	return -1
}

// oneSlotLate writes the new keys from slot past+1 on.
func oneSlotLate(past, fresh, slot int) int {
	switch {
	case slot < past || slot >= past+fresh:
		return slot
	case slot == past:
		return -1
	}
	return slot - 1
}

// showSlots hides all keys but those for which sees is true. past is the number of cached keys.
func showSlots(sees func(past, key int) bool) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		past, causal := pastCount(p), p.Causal
		if past == 0 {
			return false
		}
		p.Causal = func(query, key int) bool { return sees(past, key) && (causal == nil || causal(query, key)) }
		return true
	}
}

func cacheOfFirstBatchElement(p *oracle.Problem, _ *rand.Rand) bool {
	if pastCount(p) == 0 || batchSize(p) == 1 {
		return false
	}
	repeatFirstPast(p)
	return true
}

// repeatFirstPast gives every batch element the cache of the first one.
func repeatFirstPast(p *oracle.Problem) {
	batch := batchSize(p)
	p.Past = &oracle.Past{Key: repeatFirstElement(p.Past.Key, batch), Value: repeatFirstElement(p.Past.Value, batch)}
}

// cacheZeroSlotsSeen returns zeros for a query that sees no other key.
func cacheZeroSlotsSeen(p *oracle.Problem, _ *rand.Rand) bool {
	if pastCount(p) == 0 {
		return false
	}
	p.ZeroKeys, p.EmptyRow = p.ZeroKeys+2, attention.EmptyZero
	return true
}

// changePast replaces the cached keys and the cached values. It applies to least or more of them.
func changePast(least int, change func(oracle.Array) oracle.Array) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if pastCount(p) < least {
			return false
		}
		p.Past = &oracle.Past{Key: change(p.Past.Key), Value: change(p.Past.Value)}
		return true
	}
}

func zeroLike(a oracle.Array) oracle.Array {
	return oracle.Array{Shape: a.Shape, Value: make([]float64, len(a.Value))}
}

// cacheRolled moves each cached key and value down by some slots, and the first ones to the end. It
// applies only where the slot of a key matters.
func cacheRolled(by int) plant {
	roll := changePast(2, func(a oracle.Array) oracle.Array {
		length, width := a.Shape[2], a.Shape[3]
		rolled := make([]float64, 0, len(a.Value))
		for row := range len(a.Value) / width {
			slot := row % length
			from := row - slot + (slot+by+length)%length
			rolled = append(rolled, a.Value[from*width:][:width]...)
		}
		return oracle.Array{Shape: a.Shape, Value: rolled}
	})
	return func(p *oracle.Problem, r *rand.Rand) bool {
		bySlot := p.Window > 0 || p.Slopes != nil || p.Relative != nil || p.Padding != nil ||
			p.MisplacedPadding != nil || p.Allow != nil || p.Block != nil || p.Bias != nil
		return bySlot && roll(p, r)
	}
}

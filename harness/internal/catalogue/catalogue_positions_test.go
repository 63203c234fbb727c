package catalogue_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// positionCases have rotations of both styles, whole and in part, caches, slopes and relative biases.
var positionCases = []string{
	"decoder/cache", "decoder/cache-chunk", "decoder/cache-left-padding", "decoder/decode", "decoder/gemma", "decoder/window-cache",
	"decoder/multi-head", "decoder/qk-norm", "decoder/qwen-biases", "decoder/rope-factor", "decoder/rope-half-left-padding",
	"decoder/rope-interleaved", "decoder/rope-meta", "decoder/rope-partial", "layouts/neox",
	"decoder/alibi", "decoder/alibi-cache", "decoder/alibi-decode", "decoder/alibi-left-padding", "decoder/softcap-alibi",
	"sdpa/alibi", "sdpa/alibi-decode", "sdpa/alibi-eight", "sdpa/alibi-lower-right",
	"decoder/relative-bias", "decoder/relative-bias-cache", "decoder/relative-bias-cross",
}

// positionsAlike are mistakes that give the same output wherever both can be made.
var positionsAlike = map[[2]string]string{
	{"alibi-missing", "alibi-missing-at-decode"}: "of one query, what is missing there is missing",
}

func positionMistakes() (all []catalogue.Mistake) {
	families := []catalogue.Family{catalogue.RoPE, catalogue.KVCache, catalogue.ALiBi, catalogue.RelativeBias}
	for _, m := range catalogue.Mistakes {
		if slices.Contains(families, m.Family) {
			all = append(all, m)
		}
	}
	return all
}

// Every mistake shows on a case. It changes its own copy of the problem and no other, does the same
// each time, and changes nothing where it does not apply.
func TestPositionMistakesChangeTheirCopyAlone(t *testing.T) {
	shown := map[string]bool{}
	for _, name := range positionCases {
		p := problemOf(t, name)
		shared := p.Cached()
		right := shared.Run().Value
		for _, m := range positionMistakes() {
			clone := p.Clone()
			made := madeOn(clone, m)
			if made == nil {
				require.True(t, identical(right, clone.Run().Value), "%s changes %s, and says that it does not", m.ID, name)
				continue
			}
			require.True(t, identical(made, madeOn(p.Clone(), m)), "%s on %s, made twice", m.ID, name)
			require.True(t, identical(made, madeOn(shared.Fork(), m)), "%s on %s, with what is known of the right one", m.ID, name)
			if m.Stage == catalogue.Context {
				require.True(t, identical(made, madeOn(shared.ForkAfterContext(), m)), "%s on %s, with the context of the right one", m.ID, name)
			}
			require.True(t, identical(right, p.Run().Value), "%s on %s: the original is changed", m.ID, name)
			require.True(t, identical(right, shared.Fork().Run().Value), "%s on %s: the shared problem is changed", m.ID, name)
			shown[m.ID] = shown[m.ID] || len(made) == len(right) && apart(made, right) > 1e-6
		}
	}
	for _, m := range positionMistakes() {
		require.True(t, shown[m.ID], "%s shows on no case", m.ID)
	}
}

// No two mistakes are the same one, but for those that are listed, with the reason.
func TestPositionMistakesAreNotAlike(t *testing.T) {
	mistakes := slices.DeleteFunc(positionMistakes(), func(m catalogue.Mistake) bool { return m.Random })
	both, differ := map[[2]string]bool{}, map[[2]string]bool{}
	for _, name := range positionCases {
		p := problemOf(t, name)
		outputs := map[string][]float64{}
		for _, m := range mistakes {
			outputs[m.ID] = madeOn(p.Clone(), m)
		}
		for i, b := range mistakes {
			for _, a := range mistakes[:i] {
				if pair := [2]string{a.ID, b.ID}; outputs[a.ID] != nil && outputs[b.ID] != nil {
					both[pair] = true
					differ[pair] = differ[pair] || apart(outputs[a.ID], outputs[b.ID]) > 1e-9
				}
			}
		}
	}
	for pair := range both {
		require.Equal(t, positionsAlike[pair] == "", differ[pair], "%v", pair)
	}
	for pair, why := range positionsAlike {
		require.True(t, both[pair], "%v (%s): no case has both", pair, why)
	}
}

// A mistake is made where the case has what it gets wrong, and not elsewhere.
func TestPositionMistakesApply(t *testing.T) {
	for _, tc := range []struct{ id, to, not string }{
		{"rope-missing", "decoder/cache", "decoder/alibi"},
		{"rope-base-default", "decoder/rope-partial", "decoder/multi-head"},
		{"rope-whole-head", "decoder/rope-partial", "decoder/multi-head"},
		{"rope-frequencies-of-head", "layouts/neox", "decoder/multi-head"},
		{"rope-factor-ignored", "decoder/rope-factor", "decoder/rope-partial"},
		{"rope-biases-unpermuted", "decoder/qwen-biases", "decoder/multi-head"},
		{"rope-offset-lost", "decoder/decode", "decoder/multi-head"},
		{"cache-rotated-twice", "decoder/cache", "decoder/alibi-cache"},
		{"cache-ignored", "decoder/alibi-cache", "decoder/alibi"},
		{"alibi-slopes-not-power-of-two", "sdpa/alibi", "sdpa/alibi-eight"},
		{"alibi-past-ignored", "sdpa/alibi-lower-right", "sdpa/alibi"},
		{"alibi-missing-at-decode", "sdpa/alibi-decode", "sdpa/alibi-lower-right"},
		{"relative-past-ignored", "decoder/relative-bias-cache", "decoder/relative-bias-cross"},
	} {
		m, known := catalogue.ByID(tc.id)
		require.True(t, known, tc.id)
		require.True(t, m.Plant(problemOf(t, tc.to), nil), "%s on %s", tc.id, tc.to)
		require.False(t, m.Plant(problemOf(t, tc.not), nil), "%s on %s", tc.id, tc.not)
	}
}

// Where new keys and values are written, of two after three in the cache and of three after two, with one
// appended key behind them.
func TestCacheSlots(t *testing.T) {
	for _, tc := range []struct {
		id          string
		past, fresh int
		want        []float64
	}{
		{"cache-overwritten", 3, 2, []float64{4, 5, 3, 0, 0, 6}},
		{"cache-overwritten", 2, 3, []float64{3, 4, 5, 0, 0, 6}},
		{"cache-one-slot-late", 3, 2, []float64{1, 2, 3, 0, 4, 6}},
		{"cache-one-slot-late", 2, 3, []float64{1, 2, 0, 3, 4, 6}},
	} {
		cache := oracle.Array{Shape: []int{1, 1, tc.past, 1}}
		p := &oracle.Problem{Key: oracle.Array{Shape: []int{1, tc.fresh, 1}}, Past: &oracle.Past{Key: cache, Value: cache}}
		m, known := catalogue.ByID(tc.id)
		require.True(t, known && m.Plant(p, nil), tc.id)
		k := oracle.Field{Shape: []int{1, 1, 6, 1}, Value: []float64{1, 2, 3, 4, 5, 6}, Variance: make([]float64, 6)}
		v := k
		p.Prepare(nil, &k, &v)
		require.Equal(t, tc.want, k.Value, "keys of %s", tc.id)
		require.Equal(t, tc.want, v.Value, "values of %s", tc.id)
	}
}

// requireIdentity: a change that gives the right output is no mistake, whatever is said of it. It is
// one: the last bits differ.
func requireIdentity(t *testing.T, right, changed *oracle.Problem, name string) {
	t.Helper()
	was, is := right.Run().Value, changed.Run().Value
	require.False(t, identical(was, is), "%s: nothing is changed", name)
	require.LessOrEqual(t, apart(is, was), 1e-12, name)
}

// Scores know the distance of rotated queries and keys alone: all positions may begin elsewhere, those of
// cached keys with them.
func TestRotationBeginsAnywhere(t *testing.T) {
	for _, name := range []string{
		"decoder/cache", "decoder/cache-chunk", "decoder/gemma", "decoder/qk-norm", "decoder/rope-factor", "decoder/rope-interleaved", "layouts/neox",
	} {
		p := problemOf(t, name)
		later := p.Clone()
		shift(later.Layer, 1)
		requireIdentity(t, p, later, name)
	}
}

// shift adds to all positions.
func shift(l *oracle.Layer, by int) {
	query, key, past := *l.QueryRotary, *l.KeyRotary, *l.KeyRotary
	query.First += by
	key.First += by
	past.Position = func(int, int) float64 { return float64(by) / past.Factor }
	l.QueryRotary, l.KeyRotary, l.PastRotary = &query, &key, &past
}

// So positions may be counted from the first valid token of each batch element, or filler with the others.
func TestRotationCountsFillerOrNot(t *testing.T) {
	for _, name := range []string{"decoder/rope-half-left-padding", "decoder/cache-left-padding", "decoder/gemma"} {
		p := problemOf(t, name)
		padded := 0
		for b := range p.Query.Shape[0] {
			alone := p.Element(b)
			if filler := slices.Index(alone.Padding.Data, false); filler > 0 {
				padded++
				counted := alone.Clone()
				shift(counted.Layer, -filler)
				requireIdentity(t, alone, counted, name)
			}
		}
		require.Positive(t, padded, name)
	}
}

// A term that is the same for all keys of a query does nothing: slope * j stands for -slope * (i - j) where
// no key is behind the query.
func TestALiBiOfTheKeyAlone(t *testing.T) {
	for _, name := range []string{
		"decoder/alibi", "decoder/alibi-cache", "decoder/alibi-decode", "decoder/alibi-left-padding", "decoder/softcap-alibi", "sdpa/alibi", "sdpa/alibi-lower-right",
	} {
		const behindAll = 100
		p := problemOf(t, name)
		byKey := p.Clone()
		byKey.SlopeDistance = func(_, key int) int { return behindAll - key }
		requireIdentity(t, p, byKey, name)
	}
}

// The order of cached keys does not matter, where values, masks and distances have the same.
func TestCacheInAnyOrder(t *testing.T) {
	for _, name := range []string{
		"decoder/cache", "decoder/cache-left-padding", "decoder/decode", "decoder/gemma", "decoder/window-cache", "decoder/alibi-cache", "decoder/relative-bias-cache",
	} {
		p := problemOf(t, name)
		ring := p.Clone()
		reverseCache(ring)
		requireIdentity(t, p, ring, name)
	}
}

// reverseCache puts cached keys and values in reversed order, and what is said of them.
func reverseCache(p *oracle.Problem) {
	past, window, causal := p.Past.Key.Shape[2], p.Window, p.Causal
	position := func(key int) int {
		if key < past {
			return past - 1 - key
		}
		return key
	}
	distance := func(query, key int) int { return position(key) - query }
	p.Past = &oracle.Past{Key: rowsReversed(p.Past.Key), Value: rowsReversed(p.Past.Value)}
	p.Causal = func(query, key int) bool {
		return causal(query, position(key)) && (window == 0 || query-position(key) < window)
	}
	p.Window, p.SlopeDistance, p.RelativeDistance = 0, distance, distance
	if p.Padding != nil {
		padding := slices.Clone(p.Padding.Data)
		for row := range slices.Chunk(padding, p.Padding.Shape[1]) {
			slices.Reverse(row[:past])
		}
		p.Padding = &attention.Mask{Shape: p.Padding.Shape, Data: padding}
	}
}

// rowsReversed reverses the positions of (B, Hk, P, E).
func rowsReversed(a oracle.Array) oracle.Array {
	var values []float64
	for head := range slices.Chunk(a.Value, a.Shape[2]*a.Shape[3]) {
		rows := slices.Collect(slices.Chunk(head, a.Shape[3]))
		slices.Reverse(rows)
		values = append(values, slices.Concat(rows...)...)
	}
	return oracle.Array{Shape: a.Shape, Value: values}
}

package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// rotations are rotary positions of queries and keys. Cached keys keep theirs.
var rotations = []Mistake{
	{
		ID:          "rope-missing",
		Title:       "the rotation missing",
		Explanation: "Queries and keys are not rotated, so the scores do not depend on the distance between them.",
		Fix:         "Rotate queries and keys by their positions before computing the scores.",
		Family:      RoPE,
		Kind:        Missing,
		Stage:       Projection,
		Needs:       "RoPE",
		Refs:        []string{"E01"},
		Evidence:    "https://github.com/hustvl/ControlAR/issues/18",
		Plant:       unturned(queryTurn, keyTurn),
	},
	{
		ID:          "rope-other-style",
		Title:       "RoPE in the other style, interleaved pairs or halves",
		Explanation: "Interleaved pairs 2i and 2i+1 are rotated instead of halves i and i + r/2, or the reverse.",
		Fix:         "Pair features as the checkpoint does: Hugging Face halves, Meta and GPT-J interleave.",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE on two or more pairs",
		Refs:        []string{"E02"},
		Evidence:    "https://github.com/huggingface/transformers/issues/25199",
		Plant:       turned(otherStyle, queryTurn, keyTurn),
	},
	{
		ID:          "rope-weights-unpermuted",
		Title:       "the query and key rows left in the order of the other RoPE style",
		Explanation: "The weights were not permuted when they were converted from one RoPE style to the other.",
		Fix: "Use the checkpoint's RoPE style. " +
			"Or permute the query and key rows of each head, from (2, r/2) to (r/2, 2) or back.",
		Family:   RoPE,
		Kind:     Parameters,
		Stage:    Projection,
		Needs:    "RoPE on two or more pairs",
		Refs:     []string{"E21"},
		Evidence: "https://github.com/huggingface/nanotron/pull/427",
		Plant:    reordered(otherOrder, weightAndBias, queryOf, keyOf),
	},
	{
		ID:          "rope-weights-permuted-twice",
		Title:       "the query and key rows permuted once too often for RoPE",
		Explanation: "The weights were in the right order, and were permuted as if they came from the other style.",
		Fix:         "Permute the query and key rows once, in one direction, when the checkpoint is converted.",
		Family:      RoPE,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "RoPE on two or more pairs",
		Refs:        []string{"E21i"},
		Evidence:    "https://github.com/naklecha/llama3-from-scratch/issues/20",
		Plant:       reordered(onceMore, weightAndBias, queryOf, keyOf),
	},
	{
		ID:          "rope-biases-unpermuted",
		Title:       "the query and key biases left in the order of the other RoPE style",
		Explanation: "The weights were permuted in the conversion, but the biases were not.",
		Fix:         "Permute the query and key biases like the rows of the weights.",
		Family:      RoPE,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "RoPE on two or more pairs, and a query or key bias",
		Refs:        []string{"E22"},
		Evidence:    "https://github.com/ooples/AiDotNet/pull/2074",
		Plant:       reordered(otherOrder, biasAlone, queryOf, keyOf),
	},
	{
		ID:          "rope-query-permuted-alone",
		Title:       "only the key rows left in the order of the other RoPE style",
		Explanation: "The query rows were permuted in the conversion, but the key rows were not.",
		Fix:         "Permute the key rows like the query rows.",
		Family:      RoPE,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "RoPE on two or more pairs",
		Refs:        []string{"E23"},
		Evidence:    "https://github.com/ollama/ollama/pull/10716",
		Plant:       reordered(otherOrder, weightAndBias, keyOf),
	},
	{
		ID:          "rope-query-one-ahead",
		Title:       "the queries rotated one position ahead",
		Explanation: "Each query is rotated by the position after its own, and each key by its own.",
		Fix:         "Use the same positions for queries and keys. The first new position is the length of the cache.",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE",
		Refs:        []string{"E05"},
		Evidence:    "https://github.com/fla-org/flash-linear-attention/issues/766",
		Plant:       turned(oneAhead, queryTurn),
	},
	{
		ID:          "rope-base-wrong",
		Title:       "a RoPE base 50 times too large",
		Explanation: "The angles use another base, such as the one of a long-context model.",
		Fix:         "Read the base, rope_theta, from the checkpoint's configuration.",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE on two or more pairs",
		Refs:        []string{"E06"},
		Evidence:    "https://github.com/Avarok-Cybersecurity/atlas/pull/276",
		Plant:       turned(based(func(base float64) float64 { return 50 * base }), queryTurn, keyTurn),
	},
	{
		ID:          "rope-base-default",
		Title:       "the RoPE base 10000 instead of the layer's own",
		Explanation: "The layer's own base is ignored.",
		Fix:         "Read the base, rope_theta, from the checkpoint's configuration.",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE on two or more pairs, with a base other than 10000",
		Refs:        []string{"E06"},
		Evidence:    "https://github.com/lyogavin/airllm/pull/369",
		Plant:       turned(based(func(float64) float64 { return 10000 }), queryTurn, keyTurn),
	},
	{
		ID:          "rope-query-only",
		Title:       "only the queries rotated",
		Explanation: "New keys are not rotated.",
		Fix:         "Rotate keys by their positions, like queries.",
		Family:      RoPE,
		Kind:        Missing,
		Stage:       Projection,
		Needs:       "RoPE",
		Refs:        []string{"E07"},
		Evidence:    "https://github.com/kvcache-ai/sglang/pull/66",
		Plant:       unturned(keyTurn),
	},
	{
		ID:          "rope-key-only",
		Title:       "only the keys rotated",
		Explanation: "Queries are not rotated.",
		Fix:         "Rotate queries by their positions, like keys.",
		Family:      RoPE,
		Kind:        Missing,
		Stage:       Projection,
		Needs:       "RoPE",
		Refs:        []string{"E08"},
		Plant:       unturned(queryTurn),
	},
	{
		ID:          "rope-on-values",
		Title:       "the values rotated, too",
		Explanation: "Values are rotated by their positions, like keys.",
		Fix:         "Rotate only queries and keys.",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE",
		Refs:        []string{"E09"},
		Plant:       valuesTurned,
	},
	{
		ID:          "rope-backwards",
		Title:       "the rotation in the opposite direction",
		Explanation: "The sine has the wrong sign, so positions count backwards.",
		Fix:         "Rotate (a, b) to (a cos - b sin, b cos + a sin).",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE",
		Refs:        []string{"E10"},
		Evidence:    "https://github.com/karpathy/nanochat/pull/489",
		Plant:       turned(backwards, queryTurn, keyTurn),
	},
	{
		ID:          "rope-position-is-head",
		Title:       "the head index used as the position in RoPE",
		Explanation: "RoPE takes the positions from the head axis, as happens with a (B, T, H, E) layout.",
		Fix:         "Rotate along the sequence: transpose to (B, H, T, E) first, or use the other axis.",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE",
		Refs:        []string{"E12"},
		Evidence:    "https://github.com/facebookresearch/xformers/issues/841",
		Plant:       turned(byHead, queryTurn, keyTurn),
	},
	{
		ID:          "rope-exponent-halved",
		Title:       "the RoPE exponent -i/r instead of -2i/r",
		Explanation: "Pair i is rotated by position times base^(-i/r): later pairs turn increasingly too fast.",
		Fix:         "Rotate pair i by position times base^(-2i/r).",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE on two or more pairs",
		Refs:        []string{"E13"},
		Evidence:    "https://github.com/rasbt/LLMs-from-scratch/issues/410",
		Plant:       turned(exponent(-1, 0), queryTurn, keyTurn),
	},
	{
		ID:          "rope-exponent-odd",
		Title:       "the RoPE exponent -(2i+1)/r instead of -2i/r",
		Explanation: "All pairs turn too slowly by the same factor, base^(-1/r).",
		Fix:         "Rotate pair i by position times base^(-2i/r), so pair 0 turns by the position itself.",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE",
		Refs:        []string{"E13b"},
		Evidence:    "https://github.com/stanford-cs336/assignment1-basics/issues/22",
		Plant:       turned(exponent(-2, -1), queryTurn, keyTurn),
	},
	{
		ID:          "rope-tables-interleaved",
		Title:       "interleaved cos and sin tables applied to halves",
		Explanation: "The tables are laid out for interleaved pairs, but rotate_half pairs features i and i + r/2.",
		Fix: "For halves, build the tables as cat([angles, angles]). " +
			"For interleaved pairs, use repeat_interleave.",
		Family:   RoPE,
		Kind:     Altered,
		Stage:    Projection,
		Needs:    "RoPE on two or more pairs",
		Refs:     []string{"E14"},
		Evidence: "https://github.com/raiyanyahya/how-to-train-your-gpt/issues/6",
		Plant:    turned(tablesInterleaved, queryTurn, keyTurn),
	},
	{
		ID:          "rope-whole-head",
		Title:       "the whole head rotated in place of a part",
		Explanation: "All features of a head are rotated.",
		Fix: "Rotate only the first r features. " +
			"r is rotary_dim, or partial_rotary_factor times the head width.",
		Family:   RoPE,
		Kind:     Altered,
		Stage:    Projection,
		Needs:    "RoPE on part of the head",
		Refs:     []string{"E15"},
		Evidence: "https://github.com/AI-Hypercomputer/maxtext/issues/4616",
		Plant:    turned(wholeHead, queryTurn, keyTurn),
	},
	{
		ID:          "rope-frequencies-of-head",
		Title:       "RoPE frequencies of the whole head, although only a part is rotated",
		Explanation: "The exponent divides 2i by the head width instead of the number of rotated features.",
		Fix:         "Rotate pair i by position times base^(-2i/r), where r is the number of rotated features.",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE on two or more pairs, and only part of the head",
		Refs:        []string{"E16"},
		Evidence:    "https://github.com/pie-project/pie/pull/603",
		Plant:       turned(frequenciesOfHead, queryTurn, keyTurn),
	},
	{
		ID:          "rope-factor-ignored",
		Title:       "the RoPE positions not divided by the scaling factor",
		Explanation: "RoPE uses the positions as they are, as if rope_scaling were not set.",
		Fix:         "Divide positions by the factor in rope_scaling before multiplying them by the frequencies.",
		Family:      RoPE,
		Kind:        Missing,
		Stage:       Projection,
		Needs:       "RoPE with a scaling factor other than 1",
		Refs:        []string{"E17"},
		Evidence:    "https://github.com/felafax/felafax/issues/59",
		Plant:       turned(factorIgnored, queryTurn, keyTurn),
	},
	{
		ID:          "rope-before-split",
		Title:       "all heads of a position rotated as one",
		Explanation: "RoPE is applied before the heads are split, so its pairs and frequencies span all heads.",
		Fix:         "Split the heads first, and rotate the last dimension of (B, H, T, E).",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE, and two or more heads",
		Refs:        []string{"E24"},
		Plant:       turned(beforeSplit, queryTurn, keyTurn),
	},
	{
		ID:          "rope-tables-bfloat16",
		Title:       "cosines and sines rounded to bfloat16",
		Explanation: "The tables were cast to bfloat16 with the model's weights, and keep about three digits.",
		Fix:         "Keep the tables, or inv_freq, in float32, and cast only the result.",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "RoPE",
		Refs:        []string{"E20"},
		Evidence:    "https://github.com/huggingface/transformers/pull/29285",
		Plant:       turned(tablesRounded, queryTurn, keyTurn),
	},
}

// turn is one of the rotations of a layer.
type turn func(*oracle.Layer) **oracle.Turn

func queryTurn(l *oracle.Layer) **oracle.Turn { return &l.QueryTurn }
func keyTurn(l *oracle.Layer) **oracle.Turn   { return &l.KeyTurn }

// unturned leaves out some rotations, where there is one of them.
func unturned(which ...turn) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		had := false
		for _, of := range which {
			if p.Layer != nil && *of(p.Layer) != nil {
				had, *of(p.Layer) = true, nil
			}
		}
		return had
	}
}

// turned puts a copy in the place of some rotations, which are shared by all clones of a problem.
// change says whether there is anything to get wrong.
func turned(change func(*oracle.Problem, *oracle.Turn) bool, which ...turn) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		wrong := false
		for _, of := range which {
			if p.Layer == nil || *of(p.Layer) == nil {
				continue
			}
			own := **of(p.Layer)
			if change(p, &own) {
				wrong, *of(p.Layer) = true, &own
			}
		}
		return wrong
	}
}

// severalPairs says whether a rotation has more than one pair: one has no order and no frequency.
func severalPairs(t *oracle.Turn) bool { return t.Dim > 2 }

// partial says whether a rotation leaves features of a head as they are, all of which have a partner.
func partial(p *oracle.Problem, t *oracle.Turn) bool {
	return t.Dim < headWidth(p) && headWidth(p)%2 == 0
}

func otherStyle(_ *oracle.Problem, t *oracle.Turn) bool {
	t.Interleaved = !t.Interleaved
	return severalPairs(t)
}

func oneAhead(_ *oracle.Problem, t *oracle.Turn) bool {
	t.First++
	return true
}

func based(other func(base float64) float64) func(*oracle.Problem, *oracle.Turn) bool {
	return func(_ *oracle.Problem, t *oracle.Turn) bool {
		was := t.Base
		t.Base = other(was)
		return t.Base != was && severalPairs(t)
	}
}

// valuesTurned rotates the new values. Their heads must be wide enough.
func valuesTurned(p *oracle.Problem, _ *rand.Rand) bool {
	l := p.Layer
	if l == nil || l.KeyTurn == nil || l.Value.Out/l.KVHeads < l.KeyTurn.Dim {
		return false
	}
	l.ValueTurn = l.KeyTurn
	return true
}

// backwards makes positions negative: they are divided by the factor.
func backwards(_ *oracle.Problem, t *oracle.Turn) bool {
	t.Factor = -t.Factor
	return true
}

func byHead(_ *oracle.Problem, t *oracle.Turn) bool {
	factor := t.Factor
	t.Position = func(head, _ int) float64 { return float64(head) / factor }
	return true
}

// exponent makes that of pair i (slope i + start) / r.
func exponent(slope, start float64) func(*oracle.Problem, *oracle.Turn) bool {
	return func(_ *oracle.Problem, t *oracle.Turn) bool {
		dim := float64(t.Dim)
		t.Exponent = func(pair, _ int) float64 { return (slope*float64(pair) + start) / dim }
		return start != 0 || severalPairs(t)
	}
}

// tablesInterleaved gives features 2i and 2i+1 the angle of pair i.
func tablesInterleaved(_ *oracle.Problem, t *oracle.Turn) bool {
	dim := float64(t.Dim)
	t.Interleaved = false
	t.Exponent = func(_, feature int) float64 { return -2 * float64(feature/2) / dim }
	return severalPairs(t)
}

func wholeHead(p *oracle.Problem, t *oracle.Turn) bool {
	applies := partial(p, t)
	t.Dim = headWidth(p)
	return applies
}

func frequenciesOfHead(p *oracle.Problem, t *oracle.Turn) bool {
	width := float64(headWidth(p))
	t.Exponent = func(pair, _ int) float64 { return -2 * float64(pair) / width }
	return t.Dim < headWidth(p) && severalPairs(t)
}

func factorIgnored(_ *oracle.Problem, t *oracle.Turn) bool {
	had := t.Factor != 1
	t.Factor = 1
	return had
}

// beforeSplit rotates queries, (B, T, H*E), and keys, (B, T, Hk*E). Norms are applied to each head, as they
// should be.
func beforeSplit(p *oracle.Problem, t *oracle.Turn) bool {
	t.Together = true
	return p.Layer.Heads > 1 && p.Layer.Key.Out%2 == 0
}

func tablesRounded(_ *oracle.Problem, t *oracle.Turn) bool {
	t.Round = bfloat16
	return true
}

// bfloat16 keeps the upper 16 bits of a float32, rounded to nearest even.
func bfloat16(v float64) float64 {
	b := math.Float32bits(float32(v))
	return float64(math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff))
}

// reordered puts the rows of each head into another order, where from says which row a place gets, by
// the rotation that they meet. Rows that are not rotated stay.
func reordered(from func(t oracle.Turn, place int) int, of func(*oracle.Linear) []*[]float64, which ...part) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		t := anyTurn(p)
		if t == nil || !severalPairs(t) {
			return false
		}
		had := false
		for _, one := range which {
			m := one(p.Layer)
			for _, values := range of(m) {
				had = had || len(*values) > 0
				*values = reorder(*values, m.Out, width(p.Layer), func(place int) int { return from(*t, place) })
			}
		}
		return had
	}
}

// reorder moves the rows of each head in a weight, or the numbers in a bias.
func reorder(was []float64, rows, width int, from func(place int) int) []float64 {
	values := slices.Clone(was)
	each := len(values) / rows
	for row := range rows {
		head := row / width * width
		copy(values[row*each:][:each], was[(head+from(row-head))*each:])
	}
	return values
}

func weightAndBias(m *oracle.Linear) []*[]float64 { return []*[]float64{&m.Weight, &m.Bias} }
func biasAlone(m *oracle.Linear) []*[]float64     { return []*[]float64{&m.Bias} }

// otherOrder stands rows in the order of the other style.
func otherOrder(t oracle.Turn, place int) int {
	if t.Interleaved {
		return fromPairs(t, place)
	}
	return fromHalves(t, place)
}

// onceMore changes the order of rows as it changed when they came from the other style.
func onceMore(t oracle.Turn, place int) int {
	if t.Interleaved {
		return fromHalves(t, place)
	}
	return fromPairs(t, place)
}

// fromHalves puts rows i and i + r/2 at 2i and 2i+1.
func fromHalves(t oracle.Turn, place int) int {
	if place >= t.Dim {
		return place
	}
	return place/2 + place%2*(t.Dim/2)
}

// fromPairs puts rows 2i and 2i+1 at i and i + r/2.
func fromPairs(t oracle.Turn, place int) int {
	if place >= t.Dim {
		return place
	}
	return place%(t.Dim/2)*2 + place/(t.Dim/2)
}

// anyTurn is the rotation of keys, or that of queries, whose pairs are the same; nil: none.
func anyTurn(p *oracle.Problem) *oracle.Turn {
	if p.Layer == nil || p.Layer.KeyTurn == nil && p.Layer.QueryTurn == nil {
		return nil
	}
	if p.Layer.KeyTurn == nil {
		return p.Layer.QueryTurn
	}
	return p.Layer.KeyTurn
}

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
		ID: "rope-missing", Title: "the rotation missing",
		Explanation: "Queries and keys are not rotated, so that a query does not know how far away a key is.",
		Fix:         "Rotate queries and keys by their positions before they meet.",
		Family:      RoPE, Kind: Missing, Stage: Projection, Needs: "RoPE", Refs: []string{"E01"},
		Evidence: "https://github.com/hustvl/ControlAR/issues/18",
		Plant:    unturned(queryTurn, keyTurn),
	},
	{
		ID: "rope-other-style", Title: "the rotation in the other style",
		Explanation: "Interleaved pairs 2i and 2i+1 are rotated in the place of the halves i and i + r/2, or the other way round.",
		Fix:         "Pair features as the checkpoint does: halves in Hugging Face's layers, interleaved in Meta's and GPT-J's.",
		Family:      RoPE, Kind: Altered, Stage: Projection, Needs: "RoPE of two pairs or more", Refs: []string{"E02"},
		Evidence: "https://github.com/huggingface/transformers/issues/25199",
		Plant:    turned(otherStyle, queryTurn, keyTurn),
	},
	{
		ID: "rope-weights-unpermuted", Title: "the rows of query and key in the order of the other style of rotation",
		Explanation: "The weights were not permuted when they were converted from one style of rotation to the other.",
		Fix:         "Permute the rows of each head of query and key, (2, r/2) to (r/2, 2) or back, or rotate in the style of the checkpoint.",
		Family:      RoPE, Kind: Parameters, Stage: Projection, Needs: "RoPE of two pairs or more", Refs: []string{"E21"},
		Evidence: "https://github.com/huggingface/nanotron/pull/427",
		Plant:    reordered(otherOrder, weightAndBias, queryOf, keyOf),
	},
	{
		ID: "rope-weights-permuted-twice", Title: "the rows of query and key permuted once more for the style of rotation",
		Explanation: "The weights stand in the right order already, and are permuted as if they came from the other style.",
		Fix:         "Permute the rows of query and key once, in one direction, when the checkpoint is converted.",
		Family:      RoPE, Kind: Parameters, Stage: Projection, Needs: "RoPE of two pairs or more", Refs: []string{"E21i"},
		Evidence: "https://github.com/naklecha/llama3-from-scratch/issues/20",
		Plant:    reordered(onceMore, weightAndBias, queryOf, keyOf),
	},
	{
		ID: "rope-biases-unpermuted", Title: "the biases of query and key in the order of the other style of rotation",
		Explanation: "The weights were permuted when they were converted, and the biases were not.",
		Fix:         "Permute the biases of query and key with the rows of the weights.",
		Family:      RoPE, Kind: Parameters, Stage: Projection, Needs: "RoPE of two pairs or more, and a bias of query or key", Refs: []string{"E22"},
		Evidence: "https://github.com/ooples/AiDotNet/pull/2074",
		Plant:    reordered(otherOrder, biasAlone, queryOf, keyOf),
	},
	{
		ID: "rope-query-permuted-alone", Title: "only the rows of the key in the order of the other style of rotation",
		Explanation: "The query's rows were permuted when they were converted, and the key's were not.",
		Fix:         "Permute the rows of the key with those of the query.",
		Family:      RoPE, Kind: Parameters, Stage: Projection, Needs: "RoPE of two pairs or more", Refs: []string{"E23"},
		Evidence: "https://github.com/ollama/ollama/pull/10716",
		Plant:    reordered(otherOrder, weightAndBias, keyOf),
	},
	{
		ID: "rope-query-one-ahead", Title: "the queries rotated one position ahead",
		Explanation: "A query is rotated by the position after its own, keys by their own.",
		Fix:         "Take the same positions for queries and keys: the first new one is that after the cache.",
		Family:      RoPE, Kind: Altered, Stage: Projection, Needs: "RoPE", Refs: []string{"E05"},
		Evidence: "https://github.com/fla-org/flash-linear-attention/issues/766",
		Plant:    turned(oneAhead, queryTurn),
	},
	{
		ID: "rope-base-wrong", Title: "a base of the rotation 50 times as large",
		Explanation: "Angles are powers of another base, as of a model for longer texts.",
		Fix:         "Read the base, rope_theta, from the checkpoint's configuration.",
		Family:      RoPE, Kind: Altered, Stage: Projection, Needs: "RoPE of two pairs or more", Refs: []string{"E06"},
		Evidence: "https://github.com/Avarok-Cybersecurity/atlas/pull/276",
		Plant:    turned(based(func(base float64) float64 { return 50 * base }), queryTurn, keyTurn),
	},
	{
		ID: "rope-base-default", Title: "the base 10000 of the rotation in place of the one that is set",
		Explanation: "The layer's own base is ignored.",
		Fix:         "Read the base, rope_theta, from the checkpoint's configuration.",
		Family:      RoPE, Kind: Altered, Stage: Projection, Needs: "RoPE of two pairs or more, of a base other than 10000", Refs: []string{"E06"},
		Evidence: "https://github.com/lyogavin/airllm/pull/369",
		Plant:    turned(based(func(float64) float64 { return 10000 }), queryTurn, keyTurn),
	},
	{
		ID: "rope-query-only", Title: "only the queries rotated",
		Explanation: "New keys are not rotated.",
		Fix:         "Rotate keys by their positions as queries are.",
		Family:      RoPE, Kind: Missing, Stage: Projection, Needs: "RoPE", Refs: []string{"E07"},
		Evidence: "https://github.com/kvcache-ai/sglang/pull/66",
		Plant:    unturned(keyTurn),
	},
	{
		ID: "rope-key-only", Title: "only the keys rotated",
		Explanation: "Queries are not rotated.",
		Fix:         "Rotate queries by their positions as keys are.",
		Family:      RoPE, Kind: Missing, Stage: Projection, Needs: "RoPE", Refs: []string{"E08"},
		Plant: unturned(queryTurn),
	},
	{
		ID: "rope-on-values", Title: "the values rotated, too",
		Explanation: "Values are rotated by their positions as keys are.",
		Fix:         "Rotate queries and keys alone.",
		Family:      RoPE, Kind: Altered, Stage: Projection, Needs: "RoPE", Refs: []string{"E09"},
		Plant: valuesTurned,
	},
	{
		ID: "rope-backwards", Title: "the rotation in the opposite direction",
		Explanation: "The sine has the other sign, so that positions count backwards.",
		Fix:         "Rotate (a, b) to (a cos - b sin, b cos + a sin).",
		Family:      RoPE, Kind: Altered, Stage: Projection, Needs: "RoPE", Refs: []string{"E10"},
		Evidence: "https://github.com/karpathy/nanochat/pull/489",
		Plant:    turned(backwards, queryTurn, keyTurn),
	},
	{
		ID: "rope-position-is-head", Title: "the head's number in the place of the position in the rotation",
		Explanation: "The rotation takes the positions from the axis of the heads, as where the heads stand after the sequence.",
		Fix:         "Rotate along the sequence: transpose to (B, H, T, E) first, or take the positions from the other axis.",
		Family:      RoPE, Kind: Altered, Stage: Projection, Needs: "RoPE", Refs: []string{"E12"},
		Evidence: "https://github.com/facebookresearch/xformers/issues/841",
		Plant:    turned(byHead, queryTurn, keyTurn),
	},
	{
		ID: "rope-exponent-halved", Title: "the exponent -i/r in the place of -2i/r in the rotation",
		Explanation: "Pair i is rotated by position times base^(-i/r): the later a pair, the more it is too fast.",
		Fix:         "Rotate pair i by position times base^(-2i/r).",
		Family:      RoPE, Kind: Altered, Stage: Projection, Needs: "RoPE of two pairs or more", Refs: []string{"E13"},
		Evidence: "https://github.com/rasbt/LLMs-from-scratch/issues/410",
		Plant:    turned(exponent(-1, 0), queryTurn, keyTurn),
	},
	{
		ID: "rope-exponent-odd", Title: "the exponent -(2i+1)/r in the place of -2i/r in the rotation",
		Explanation: "All pairs are too slow by the same factor: a formula for pairs counted from 1 is used for pairs counted from 0.",
		Fix:         "Rotate pair i by position times base^(-2i/r), the first, i = 0, by the position itself.",
		Family:      RoPE, Kind: Altered, Stage: Projection, Needs: "RoPE", Refs: []string{"E13b"},
		Evidence: "https://github.com/stanford-cs336/assignment1-basics/issues/22",
		Plant:    turned(exponent(-2, -1), queryTurn, keyTurn),
	},
	{
		ID: "rope-tables-interleaved", Title: "cosines and sines repeated element by element, and features rotated by halves",
		Explanation: "The tables are those of interleaved pairs, and rotate_half pairs features i and i + r/2, which have other angles then.",
		Fix:         "Write the tables twice side by side for halves, cat([angles, angles]), and repeat_interleave them for interleaved pairs.",
		Family:      RoPE, Kind: Altered, Stage: Projection, Needs: "RoPE of two pairs or more", Refs: []string{"E14"},
		Evidence: "https://github.com/raiyanyahya/how-to-train-your-gpt/issues/6",
		Plant:    turned(tablesInterleaved, queryTurn, keyTurn),
	},
	{
		ID: "rope-whole-head", Title: "the whole head rotated in place of a part",
		Explanation: "All features of a head are rotated.",
		Fix:         "Rotate the first r features and leave the others as they are: r is rotary_dim, or partial_rotary_factor times the head's width.",
		Family:      RoPE, Kind: Altered, Stage: Projection, Needs: "RoPE of a part of the head", Refs: []string{"E15"},
		Evidence: "https://github.com/AI-Hypercomputer/maxtext/issues/4616",
		Plant:    turned(wholeHead, queryTurn, keyTurn),
	},
	{
		ID: "rope-frequencies-of-head", Title: "the frequencies of the whole head in a rotation of a part of it",
		Explanation: "The exponent is -2i over the head's width in place of the rotated features' number.",
		Fix:         "Rotate pair i by position times base^(-2i/r), r the number of features that are rotated.",
		Family:      RoPE, Kind: Altered, Stage: Projection, Needs: "RoPE of two pairs or more, of a part of the head", Refs: []string{"E16"},
		Evidence: "https://github.com/pie-project/pie/pull/603",
		Plant:    turned(frequenciesOfHead, queryTurn, keyTurn),
	},
	{
		ID: "rope-factor-ignored", Title: "the positions of the rotation not divided by the factor",
		Explanation: "The scaling of the positions is missing.",
		Fix:         "Divide positions by the factor, rope_scaling, before they are multiplied by the frequencies.",
		Family:      RoPE, Kind: Missing, Stage: Projection, Needs: "RoPE with a factor other than 1", Refs: []string{"E17"},
		Evidence: "https://github.com/felafax/felafax/issues/59",
		Plant:    turned(factorIgnored, queryTurn, keyTurn),
	},
	{
		ID: "rope-before-split", Title: "all heads of a position rotated as one",
		Explanation: "The rotation comes before the heads are split: its pairs and frequencies are those of one head as wide as all.",
		Fix:         "Split the heads first, and rotate the last dimension of (B, H, T, E).",
		Family:      RoPE, Kind: Altered, Stage: Projection, Needs: "RoPE, and two heads or more", Refs: []string{"E24"},
		Plant: turned(beforeSplit, queryTurn, keyTurn),
	},
	{
		ID: "rope-tables-bfloat16", Title: "cosines and sines rounded to bfloat16",
		Explanation: "The rotation's tables were cast with the model's weights, and have three digits.",
		Fix:         "Keep the tables, or inv_freq, in float32, and cast the result.",
		Family:      RoPE, Kind: Altered, Stage: Projection, Needs: "RoPE", Refs: []string{"E20"},
		Evidence: "https://github.com/huggingface/transformers/pull/29285",
		Plant:    turned(tablesRounded, queryTurn, keyTurn),
	},
}

// turn is one of the rotations of a layer.
type turn func(*oracle.Layer) **oracle.Rotary

func queryTurn(l *oracle.Layer) **oracle.Rotary { return &l.QueryRotary }
func keyTurn(l *oracle.Layer) **oracle.Rotary   { return &l.KeyRotary }

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
func turned(change func(*oracle.Problem, *oracle.Rotary) bool, which ...turn) func(*oracle.Problem, *rand.Rand) bool {
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
func severalPairs(t *oracle.Rotary) bool { return t.Dim > 2 }

// partial says whether a rotation leaves features of a head as they are, all of which have a partner.
func partial(p *oracle.Problem, t *oracle.Rotary) bool {
	return t.Dim < headWidth(p) && headWidth(p)%2 == 0
}

func otherStyle(_ *oracle.Problem, t *oracle.Rotary) bool {
	t.Interleaved = !t.Interleaved
	return severalPairs(t)
}

func oneAhead(_ *oracle.Problem, t *oracle.Rotary) bool {
	t.First++
	return true
}

func based(other func(base float64) float64) func(*oracle.Problem, *oracle.Rotary) bool {
	return func(_ *oracle.Problem, t *oracle.Rotary) bool {
		was := t.Base
		t.Base = other(was)
		return t.Base != was && severalPairs(t)
	}
}

// valuesTurned rotates the new values. Their heads must be wide enough.
func valuesTurned(p *oracle.Problem, _ *rand.Rand) bool {
	l := p.Layer
	if l == nil || l.KeyRotary == nil || l.Value.Out/l.KVHeads < l.KeyRotary.Dim {
		return false
	}
	l.ValueRotary = l.KeyRotary
	return true
}

// backwards makes positions negative: they are divided by the factor.
func backwards(_ *oracle.Problem, t *oracle.Rotary) bool {
	t.Factor = -t.Factor
	return true
}

func byHead(_ *oracle.Problem, t *oracle.Rotary) bool {
	factor := t.Factor
	t.Position = func(head, _ int) float64 { return float64(head) / factor }
	return true
}

// exponent makes that of pair i (slope i + start) / r.
func exponent(slope, start float64) func(*oracle.Problem, *oracle.Rotary) bool {
	return func(_ *oracle.Problem, t *oracle.Rotary) bool {
		dim := float64(t.Dim)
		t.Exponent = func(pair, _ int) float64 { return (slope*float64(pair) + start) / dim }
		return start != 0 || severalPairs(t)
	}
}

// tablesInterleaved gives features 2i and 2i+1 the angle of pair i.
func tablesInterleaved(_ *oracle.Problem, t *oracle.Rotary) bool {
	dim := float64(t.Dim)
	t.Interleaved = false
	t.Exponent = func(_, feature int) float64 { return -2 * float64(feature/2) / dim }
	return severalPairs(t)
}

func wholeHead(p *oracle.Problem, t *oracle.Rotary) bool {
	applies := partial(p, t)
	t.Dim = headWidth(p)
	return applies
}

func frequenciesOfHead(p *oracle.Problem, t *oracle.Rotary) bool {
	width := float64(headWidth(p))
	t.Exponent = func(pair, _ int) float64 { return -2 * float64(pair) / width }
	return t.Dim < headWidth(p) && severalPairs(t)
}

func factorIgnored(_ *oracle.Problem, t *oracle.Rotary) bool {
	had := t.Factor != 1
	t.Factor = 1
	return had
}

// beforeSplit rotates queries, (B, T, H*E), and keys, (B, T, Hk*E). Norms are applied to each head, as they
// should be.
func beforeSplit(p *oracle.Problem, t *oracle.Rotary) bool {
	t.AcrossHeads = true
	return p.Layer.Heads > 1 && p.Layer.Key.Out%2 == 0
}

func tablesRounded(_ *oracle.Problem, t *oracle.Rotary) bool {
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
func reordered(from func(t oracle.Rotary, place int) int, of func(*oracle.Linear) []*[]float64, which ...part) func(*oracle.Problem, *rand.Rand) bool {
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
func otherOrder(t oracle.Rotary, place int) int {
	if t.Interleaved {
		return fromPairs(t, place)
	}
	return fromHalves(t, place)
}

// onceMore changes the order of rows as it changed when they came from the other style.
func onceMore(t oracle.Rotary, place int) int {
	if t.Interleaved {
		return fromHalves(t, place)
	}
	return fromPairs(t, place)
}

// fromHalves puts rows i and i + r/2 at 2i and 2i+1.
func fromHalves(t oracle.Rotary, place int) int {
	if place >= t.Dim {
		return place
	}
	return place/2 + place%2*(t.Dim/2)
}

// fromPairs puts rows 2i and 2i+1 at i and i + r/2.
func fromPairs(t oracle.Rotary, place int) int {
	if place >= t.Dim {
		return place
	}
	return place%(t.Dim/2)*2 + place/(t.Dim/2)
}

// anyTurn is the rotation of keys, or that of queries, whose pairs are the same; nil: none.
func anyTurn(p *oracle.Problem) *oracle.Rotary {
	if p.Layer == nil || p.Layer.KeyRotary == nil && p.Layer.QueryRotary == nil {
		return nil
	}
	if p.Layer.KeyRotary == nil {
		return p.Layer.QueryRotary
	}
	return p.Layer.KeyRotary
}

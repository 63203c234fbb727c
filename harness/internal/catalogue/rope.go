package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// rope holds mistakes with rotary positions. They change new queries and keys; cached keys stay
// right.
var rope = []Mistake{
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
		OnTables:    true,
		Plant:       onTables(nothingTurned, withoutRotary(queryRotary, keyRotary)),
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
		OnTables:    true,
		Plant:       onTables(tablesInOtherStyle, changeRotary(otherStyle, queryRotary, keyRotary)),
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
		Plant:    permuteRows(unpermutedRow, weightAndBias, qProj, kProj),
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
		Plant:       permuteRows(permutedTwiceRow, weightAndBias, qProj, kProj),
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
		Plant:       permuteRows(unpermutedRow, biasOnly, qProj, kProj),
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
		Plant:       permuteRows(unpermutedRow, weightAndBias, kProj),
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
		Plant:       changeRotary(oneAhead, queryRotary),
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
		Plant:       withoutRotary(keyRotary),
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
		Plant:       withoutRotary(queryRotary),
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
		Plant:       ropeOnValues,
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
		OnTables:    true,
		Plant:       onTables(tablesBackwards, changeRotary(backwards, queryRotary, keyRotary)),
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
		Plant:       changeRotary(positionIsHead, queryRotary, keyRotary),
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
		Plant:       changeRotary(withExponent(-1, 0), queryRotary, keyRotary),
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
		Plant:       changeRotary(withExponent(-2, -1), queryRotary, keyRotary),
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
		OnTables: true,
		Plant:    onTables(tablesOfNeighbours, changeRotary(tablesInterleaved, queryRotary, keyRotary)),
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
		Plant:    changeRotary(wholeHead, queryRotary, keyRotary),
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
		Plant:       changeRotary(frequenciesOfHead, queryRotary, keyRotary),
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
		Plant:       changeRotary(factorIgnored, queryRotary, keyRotary),
	},
	{
		ID:    "rope-one-axis-of-three",
		Title: "RoPE with interleaved sections for three axes, and no positions on two of them",
		Explanation: "Pairs 0, 3, 6 and so on turn with the position. " +
			"The pairs between belong to height and width, where every position is 0.",
		Fix: "Give text the same position on all three axes. " +
			"Sections, in blocks or interleaved, then change nothing.",
		Family:   RoPE,
		Kind:     Altered,
		Stage:    Projection,
		Needs:    "RoPE on two or more pairs",
		Evidence: "https://github.com/alibaba/MNN/pull/4133",
		Plant:    changeRotary(oneAxisOfThree, queryRotary, keyRotary),
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
		Plant:       changeRotary(beforeSplit, queryRotary, keyRotary),
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
		OnTables:    true,
		Plant:       onTables(tablesRounded, changeRotary(tablesBFloat16, queryRotary, keyRotary)),
	},
	{
		ID:          "rope-positions-ignored",
		Title:       "the given positions ignored: tokens counted from 0",
		Explanation: "Each token takes the row of the cos and sin tables at its index, not at its position.",
		Fix:         "Index the tables by the position ids: cos[position_ids], sin[position_ids].",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "a rotation by tables, with positions",
		OnTables:    true,
		Plant:       onTables(positionsIgnored, never),
	},
	{
		ID:          "rope-positions-of-first-batch-element",
		Title:       "the positions of the first batch element used for all elements",
		Explanation: "Every batch element is rotated by the angles of element 0.",
		Fix:         "Keep positions for each batch element, (B, T), and a cosine and a sine for each of them.",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "a rotation by tables, and two or more batch elements",
		OnTables:    true,
		Plant:       positionsOfFirstBatchElement,
	},
	{
		ID:          "rope-cos-sin-swapped",
		Title:       "the cos and sin tables exchanged",
		Explanation: "The sine is taken for the cosine, and the cosine for the sine.",
		Fix:         "Pass the tables in the order that the function expects, cos before sin in ONNX.",
		Family:      RoPE,
		Kind:        Altered,
		Stage:       Projection,
		Needs:       "a rotation by tables",
		OnTables:    true,
		Plant:       onTables(tablesSwapped, never),
	},
}

// rotary selects the RoPE of the queries or the keys.
type rotary func(*oracle.Layer) **oracle.Rotary

func queryRotary(l *oracle.Layer) **oracle.Rotary { return &l.QueryRotary }
func keyRotary(l *oracle.Layer) **oracle.Rotary   { return &l.KeyRotary }

// withoutRotary removes the given rotations. It applies if there is at least one of them.
func withoutRotary(which ...rotary) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		removed := false
		for _, of := range which {
			if p.Layer != nil && *of(p.Layer) != nil {
				removed, *of(p.Layer) = true, nil
			}
		}
		return removed
	}
}

// rotaryChange changes a rotation in place. It reports whether the mistake applies.
type rotaryChange func(p *oracle.Problem, t *oracle.Rotary) bool

// changeRotary changes copies of the given rotations: clones of a problem share the originals.
func changeRotary(change rotaryChange, which ...rotary) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		applies := false
		for _, of := range which {
			if p.Layer == nil || *of(p.Layer) == nil {
				continue
			}
			own := **of(p.Layer)
			if change(p, &own) {
				applies, *of(p.Layer) = true, &own
			}
		}
		return applies
	}
}

// hasPairs reports whether a rotation has two or more pairs. A single pair has no order, and its
// frequency is 1 for every base.
func hasPairs(t *oracle.Rotary) bool { return t.Dim > 2 }

func otherStyle(_ *oracle.Problem, t *oracle.Rotary) bool {
	t.Interleaved = !t.Interleaved
	return hasPairs(t)
}

func oneAhead(_ *oracle.Problem, t *oracle.Rotary) bool {
	t.First++
	return true
}

// ropeOnValues applies the keys' RoPE to new values. It applies only if value heads are wide
// enough.
func ropeOnValues(p *oracle.Problem, _ *rand.Rand) bool {
	l := p.Layer
	if l == nil || l.KeyRotary == nil || l.Value.Out/l.KVHeads < l.KeyRotary.Dim {
		return false
	}
	l.ValueRotary = l.KeyRotary
	return true
}

// backwards negates the positions: RoPE divides them by the factor.
func backwards(_ *oracle.Problem, t *oracle.Rotary) bool {
	t.Factor = -t.Factor
	return true
}

func positionIsHead(_ *oracle.Problem, t *oracle.Rotary) bool {
	factor := t.Factor
	t.Position = func(head, _ int) float64 { return float64(head) / factor }
	return true
}

// withExponent uses the exponent (slope*i + start) / r for pair i.
func withExponent(slope, start float64) rotaryChange {
	return func(_ *oracle.Problem, t *oracle.Rotary) bool {
		dim := float64(t.Dim)
		t.Exponent = func(pair, _ int) float64 { return (slope*float64(pair) + start) / dim }
		return start != 0 || hasPairs(t)
	}
}

// tablesInterleaved rotates halves, but gives features 2i and 2i+1 the angle of pair i.
func tablesInterleaved(_ *oracle.Problem, t *oracle.Rotary) bool {
	dim := float64(t.Dim)
	t.Interleaved = false
	t.Exponent = func(_, feature int) float64 { return -2 * float64(feature/2) / dim }
	return hasPairs(t)
}

// wholeHead applies if RoPE rotates only a part of the head, and the whole head splits into pairs.
func wholeHead(p *oracle.Problem, t *oracle.Rotary) bool {
	width := headWidth(p)
	applies := t.Dim < width && width%2 == 0
	t.Dim = width
	return applies
}

func frequenciesOfHead(p *oracle.Problem, t *oracle.Rotary) bool {
	width := float64(headWidth(p))
	t.Exponent = func(pair, _ int) float64 { return -2 * float64(pair) / width }
	return t.Dim < headWidth(p) && hasPairs(t)
}

func factorIgnored(_ *oracle.Problem, t *oracle.Rotary) bool {
	had := t.Factor != 1
	t.Factor = 1
	return had
}

// beforeSplit rotates queries of (B, T, H*E) and keys of (B, T, Hk*E). QK norms still apply to each
// head.
func beforeSplit(p *oracle.Problem, t *oracle.Rotary) bool {
	t.AcrossHeads = true
	return p.Layer.Heads > 1 && p.Layer.Key.Out%2 == 0
}

// oneAxisOfThree gives other pairs a frequency so low that they do not turn.
func oneAxisOfThree(_ *oracle.Problem, t *oracle.Rotary) bool {
	dim, still := float64(t.Dim), -300*math.Ln10/math.Log(t.Base)
	t.Exponent = func(pair, _ int) float64 {
		if pair%3 > 0 {
			return still
		}
		return -2 * float64(pair) / dim
	}
	return hasPairs(t) && t.Base > 1
}

func tablesBFloat16(_ *oracle.Problem, t *oracle.Rotary) bool {
	t.Round = roundToBFloat16
	return true
}

// onTables makes a mistake with a rotation by tables, or else another plant.
func onTables(change func(*oracle.Turn) bool, otherwise plant) plant {
	return func(p *oracle.Problem, r *rand.Rand) bool {
		if p.Turn == nil {
			return otherwise(p, r)
		}
		return change(p.Turn)
	}
}

// never applies to no problem.
func never(*oracle.Problem, *rand.Rand) bool { return false }

func nothingTurned(t *oracle.Turn) bool {
	t.Dim = 0
	return true
}

func tablesInOtherStyle(t *oracle.Turn) bool {
	t.Interleaved = !t.Interleaved
	return t.Dim > 2
}

func tablesBackwards(t *oracle.Turn) bool {
	for k, sin := range t.Sin {
		t.Sin[k] = oracle.Array{Shape: sin.Shape, Value: multiplied(sin.Value, -1)}
	}
	return true
}

// tablesOfNeighbours rotates halves, but gives features 2i and 2i+1 the angle of pair i.
func tablesOfNeighbours(t *oracle.Turn) bool {
	t.Interleaved = false
	for k := range t.Cos {
		for _, table := range []*oracle.Array{&t.Cos[k], &t.Sin[k]} {
			pairs, repeated := num.Last(table.Shape), slices.Clone(table.Value)
			for at := range repeated {
				i := at % pairs
				repeated[at] = table.Value[at-i+(i+k*pairs)/2]
			}
			table.Value = repeated
		}
	}
	return t.Dim > 2
}

func tablesRounded(t *oracle.Turn) bool {
	t.RoundTables(roundToBFloat16)
	return true
}

func positionsIgnored(t *oracle.Turn) bool {
	if !t.Given {
		return false
	}
	t.Row = func(_, token int) int { return token % t.Positions() }
	return true
}

// positionsOfFirstBatchElement finds no difference where all elements have the same positions.
func positionsOfFirstBatchElement(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Turn == nil || p.Query.Shape[0] == 1 {
		return false
	}
	row := p.Turn.Row
	p.Turn.Row = func(_, token int) int { return row(0, token) }
	return true
}

func tablesSwapped(t *oracle.Turn) bool {
	t.Cos, t.Sin = t.Sin, t.Cos
	return true
}

// roundToBFloat16 keeps the upper 16 bits of a float32, rounded to nearest even.
func roundToBFloat16(v float64) float64 {
	b := math.Float32bits(float32(v))
	return float64(math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff))
}

// rowOrder returns the row of a head that moves to row, given the RoPE of the head. Rows that are
// not rotated stay.
type rowOrder func(t oracle.Rotary, row int) int

// permuteRows permutes the rows of each head in the given projections. of selects the weight and
// the bias, or the bias alone.
func permuteRows(from rowOrder, of func(*oracle.Linear) []*[]float64, which ...projection) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		t := anyRotary(p)
		if t == nil || !hasPairs(t) {
			return false
		}
		permuted, width := false, layerHeadWidth(p.Layer)
		for _, proj := range which {
			m := proj(p.Layer)
			for _, values := range of(m) {
				permuted = permuted || len(*values) > 0
				*values = permuteHeads(*values, m.Out, width, func(row int) int { return from(*t, row) })
			}
		}
		return permuted
	}
}

// anyRotary returns the RoPE of the keys or else of the queries, which pair features alike. It
// returns nil if there is none.
func anyRotary(p *oracle.Problem) *oracle.Rotary {
	if p.Layer == nil {
		return nil
	}
	if p.Layer.KeyRotary == nil {
		return p.Layer.QueryRotary
	}
	return p.Layer.KeyRotary
}

// permuteHeads permutes the rows of each head in a weight of (rows, In) or a bias of (rows). A head
// has width rows.
func permuteHeads(right []float64, rows, width int, from func(row int) int) []float64 {
	values := slices.Clone(right)
	in := len(values) / rows
	for row := range rows {
		head := row / width * width
		copy(values[row*in:][:in], right[(head+from(row-head))*in:])
	}
	return values
}

func weightAndBias(m *oracle.Linear) []*[]float64 { return []*[]float64{&m.Weight, &m.Bias} }
func biasOnly(m *oracle.Linear) []*[]float64      { return []*[]float64{&m.Bias} }

// unpermutedRow leaves the rows in the order of the other RoPE style.
func unpermutedRow(t oracle.Rotary, row int) int {
	if t.Interleaved {
		return interleavedToHalves(t, row)
	}
	return halvesToInterleaved(t, row)
}

// permutedTwiceRow converts rows from the other RoPE style although they are in the right order.
func permutedTwiceRow(t oracle.Rotary, row int) int {
	if t.Interleaved {
		return halvesToInterleaved(t, row)
	}
	return interleavedToHalves(t, row)
}

// halvesToInterleaved moves rows i and i + r/2 to 2i and 2i+1.
func halvesToInterleaved(t oracle.Rotary, row int) int {
	if row >= t.Dim {
		return row
	}
	return row/2 + row%2*(t.Dim/2)
}

// interleavedToHalves moves rows 2i and 2i+1 to i and i + r/2.
func interleavedToHalves(t oracle.Rotary, row int) int {
	if row >= t.Dim {
		return row
	}
	return row%(t.Dim/2)*2 + row/(t.Dim/2)
}

package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// files are numbers read or written in another order than they stand.
var files = []Mistake{
	{
		ID:          "inputs-column-major",
		Title:       "the inputs read in column-major (Fortran) order",
		Explanation: "The first index was taken as the fastest in memory.",
		Fix:         "Read .npy files in the order given by fortran_order, and tensors by their strides.",
		Family:      Files,
		Kind:        Layout,
		Stage:       Projection,
		Refs:        []string{"K04"},
		Evidence:    "https://github.com/rogersce/cnpy/issues/7",
		Plant:       columnMajorInputs,
	},
	{
		ID:          "inputs-sequence-first",
		Title:       "the inputs laid out (T, B, D) and read as (B, T, D)",
		Explanation: "Batch and sequence are mixed up: one sequence gets rows of several.",
		Fix:         "Set batch_first as the PyTorch module does. The default of nn.MultiheadAttention is (T, B, D).",
		Family:      Files,
		Kind:        Layout,
		Stage:       Projection,
		Needs:       "three-dimensional inputs",
		Plant:       sequenceFirstInputs,
	},
	{
		ID:          "inputs-time-reversed",
		Title:       "the sequences of the inputs read backwards",
		Explanation: "The last position of each sequence comes first.",
		Fix:         "Read the positions in order.",
		Family:      Files,
		Kind:        Layout,
		Stage:       Projection,
		Plant:       timeReversedInputs,
	},
	{
		ID:    "weights-column-major",
		Title: "every weight stored in column-major (Fortran) order and read in row-major",
		Explanation: "The values are the state dict's. " +
			"They were stored with the first index fastest, but read with the last index fastest.",
		Fix:      "Read arrays in the order given by fortran_order, and tensors by their strides.",
		Family:   Files,
		Kind:     Parameters,
		Stage:    Projection,
		Needs:    "a layer",
		Refs:     []string{"A21"},
		Evidence: "https://github.com/rogersce/cnpy/issues/7",
		Plant:    weightsColumnMajor,
	},
	{
		ID:    "output-weight-column-major",
		Title: "the output weight stored in column-major (Fortran) order and read in row-major",
		Explanation: "The values are the state dict's. " +
			"They were stored with the first index fastest, but read with the last index fastest.",
		Fix:      "Read arrays in the order given by fortran_order, and tensors by their strides.",
		Family:   Files,
		Kind:     Parameters,
		Stage:    Context,
		Needs:    "a layer",
		Refs:     []string{"A21o"},
		Evidence: "https://github.com/tracel-ai/burn/issues/5383",
		Plant:    weightOf(outputOf, storedColumnMajor),
	},
	{
		ID:          "weights-bfloat16-as-float16",
		Title:       "bfloat16 weights decoded as float16",
		Explanation: "Both types have two bytes, but float16 has 5 exponent bits and bfloat16 has 8.",
		Fix:         "Decode each tensor with the dtype that the file gives.",
		Family:      Files,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "a layer",
		Refs:        []string{"A23"},
		Evidence:    "https://github.com/safetensors/safetensors/pull/452",
		Plant:       weightsAsFloat16,
	},
	{
		ID:          "weights-shifted-by-a-row",
		Title:       "the rows of every weight shifted by one",
		Explanation: "Row i of each weight holds row i-1, and the first row holds the last. The biases are right.",
		Fix:         "Start reading each weight at its own offset, after the header.",
		Family:      Files,
		Kind:        Parameters,
		Stage:       Projection,
		Needs:       "a layer",
		Refs:        []string{"A27r"},
		Plant:       weightsShifted,
	},
	{
		ID:          "output-shifted-by-a-row",
		Title:       "the rows of the output shifted by one position",
		Explanation: "Row t of the output holds row t-1, and the first row is zero.",
		Fix:         "Write row t of the result to position t. A shift for the next token belongs in the loss.",
		Family:      Files,
		Kind:        Layout,
		Stage:       Context,
		Refs:        []string{"K01"},
		Plant:       finishedBy(moved(before)),
	},
	{
		ID:          "output-sequence-first",
		Title:       "the output laid out (L, B, D) and read as (B, L, D)",
		Explanation: "Batch and sequence are mixed up in the result: one sequence gets rows of several.",
		Fix: "Return the result in the layout of the inputs. " +
			"Transpose the dimensions back instead of reshaping.",
		Family:   Files,
		Kind:     Layout,
		Stage:    Context,
		Needs:    "a three-dimensional output with two or more batch elements and positions",
		Refs:     []string{"K02"},
		Evidence: "https://github.com/meta-pytorch/opacus/pull/825",
		Plant:    outputSequenceFirst,
	},
	{
		ID:    "output-column-major",
		Title: "the output stored in column-major (Fortran) order and read in row-major",
		Explanation: "The values are right. " +
			"They were stored with the first index fastest, but read with the last index fastest.",
		Fix:      "Write arrays in row-major order, or set fortran_order.",
		Family:   Files,
		Kind:     Layout,
		Stage:    Context,
		Refs:     []string{"K03"},
		Evidence: "https://github.com/rogersce/cnpy/issues/7",
		Plant:    finishedBy(fieldStoredColumnMajor),
	},
	{
		ID:          "output-time-reversed",
		Title:       "the positions of the output reversed",
		Explanation: "The last position of each sequence comes first in the result.",
		Fix:         "Write the positions in order.",
		Family:      Files,
		Kind:        Layout,
		Stage:       Context,
		Needs:       "two or more positions",
		Refs:        []string{"K06"},
		Plant:       outputTimeReversed,
	},
	{
		ID:          "output-first-batch-only",
		Title:       "the first batch element alone, the others zero",
		Explanation: "Only batch element 0 was computed or copied back.",
		Fix:         "Loop over the whole batch, and copy the whole result back.",
		Family:      Files,
		Kind:        Layout,
		Stage:       Context,
		Needs:       "two or more batch elements",
		Refs:        []string{"K08"},
		Plant:       outputFirstBatch,
	},
}

func sequenceFirstInputs(p *oracle.Problem, _ *rand.Rand) bool {
	if len(p.Query.Shape) != 3 {
		return false
	}
	return rows(p, fromSequenceFirst)
}

func timeReversedInputs(p *oracle.Problem, _ *rand.Rand) bool {
	return rows(p, fromTheEnd)
}

// fromSequenceFirst is the row that stands in the place of another when memory holds t before b.
func fromSequenceFirst(batch, length, b, t int) (fromB, fromT int) {
	place := b*length + t
	return place % batch, place / batch
}

func fromTheEnd(_, length, b, t int) (fromB, fromT int) { return b, length - 1 - t }

// rows moves whole rows of the inputs. Whatever stands before the last two dimensions counts as
// the batch.
func rows(p *oracle.Problem, from func(batch, length, b, t int) (fromB, fromT int)) bool {
	for _, in := range []*oracle.Array{&p.Query, &p.Key, &p.Value} {
		length, width := in.Shape[len(in.Shape)-2], num.Last(in.Shape)
		batch := len(in.Value) / (length * width)
		moved := make([]float64, len(in.Value))
		for row := range batch * length {
			b, i := from(batch, length, row/length, row%length)
			copy(moved[row*width:][:width], in.Value[(b*length+i)*width:])
		}
		in.Value = moved
	}
	return true
}

func columnMajorInputs(p *oracle.Problem, _ *rand.Rand) bool {
	p.Query, p.Key, p.Value = columnMajor(p.Query), columnMajor(p.Key), columnMajor(p.Value)
	return true
}

// columnMajor reads the memory of an array as if its first index were the fastest.
func columnMajor(a oracle.Array) oracle.Array {
	out := make([]float64, len(a.Value))
	for i := range out {
		out[i] = a.Value[placeColumnMajor(a.Shape, i)]
	}
	return oracle.Array{Shape: a.Shape, Value: out}
}

// placeColumnMajor is where element i of an array, counted in row-major order, stands in column-major order.
func placeColumnMajor(shape []int, i int) int {
	place, stride := 0, 1
	for _, n := range shape {
		stride *= n
	}
	for d := len(shape) - 1; d >= 0; d-- {
		stride /= shape[d]
		place += i % shape[d] * stride
		i /= shape[d]
	}
	return place
}

// weightsAsFloat16 decodes every weight as the wrong type.
func weightsAsFloat16(p *oracle.Problem, _ *rand.Rand) bool {
	return eachWeight(p, func(_ *oracle.Layer, m oracle.Linear, _ *rand.Rand) []float64 {
		weight := make([]float64, len(m.Weight))
		for i, v := range m.Weight {
			weight[i] = bfloat16AsFloat16(v)
		}
		return weight
	})
}

// bfloat16AsFloat16 rounds to bfloat16, a float32's upper 16 bits, to nearest even, and takes those
// for a sign, 5 bits of exponent and 10 of fraction.
func bfloat16AsFloat16(v float64) float64 {
	b := math.Float32bits(float32(v))
	b = (b + 0x7fff + b>>16&1) >> 16
	sign, exponent, fraction := 1-2*float64(b>>15), int(b>>10&0x1f), float64(b&0x3ff)
	switch {
	case exponent == 0:
		return sign * math.Ldexp(fraction, -24)
	case exponent == 0x1f && fraction == 0:
		return sign * math.Inf(1)
	case exponent == 0x1f:
		return math.NaN()
	}
	return sign * math.Ldexp(0x400+fraction, exponent-25)
}

func weightsColumnMajor(p *oracle.Problem, _ *rand.Rand) bool {
	return eachWeight(p, storedColumnMajor)
}

func weightsShifted(p *oracle.Problem, _ *rand.Rand) bool {
	return eachWeight(p, func(_ *oracle.Layer, m oracle.Linear, _ *rand.Rand) []float64 {
		end := len(m.Weight) - m.In
		return slices.Concat(m.Weight[end:], m.Weight[:end])
	})
}

// eachWeight puts another weight in the place of each of the four. Biases stay.
func eachWeight(p *oracle.Problem, other func(*oracle.Layer, oracle.Linear, *rand.Rand) []float64) bool {
	if p.Layer == nil {
		return false
	}
	for _, m := range p.Layer.Linears() {
		m.Weight = other(p.Layer, *m, nil)
	}
	return true
}

// storedColumnMajor is the memory of a weight in column-major order.
func storedColumnMajor(_ *oracle.Layer, m oracle.Linear, _ *rand.Rand) []float64 {
	weight := make([]float64, len(m.Weight))
	for i, v := range m.Weight {
		weight[placeColumnMajor([]int{m.Out, m.In}, i)] = v
	}
	return weight
}

// finishedBy makes a mistake of where the numbers of the result stand.
func finishedBy(finish func(oracle.Field) oracle.Field) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		p.Finish = finish
		return true
	}
}

func fieldStoredColumnMajor(f oracle.Field) oracle.Field {
	out := f.Like()
	for i := range f.Value {
		out.Take(placeColumnMajor(f.Shape, i), f, i, 1)
	}
	return out
}

// before is the row before, of which the first has none.
func before(_, _, b, t int) (fromB, fromT int) { return b, t - 1 }

func outputSequenceFirst(p *oracle.Problem, r *rand.Rand) bool {
	if len(p.Query.Shape) != 3 || p.Query.Shape[0] == 1 || p.Query.Shape[1] == 1 {
		return false
	}
	return finishedBy(moved(fromSequenceFirst))(p, r)
}

func outputTimeReversed(p *oracle.Problem, r *rand.Rand) bool {
	if p.Query.Shape[len(p.Query.Shape)-2] == 1 {
		return false
	}
	return finishedBy(moved(fromTheEnd))(p, r)
}

func outputFirstBatch(p *oracle.Problem, r *rand.Rand) bool {
	batches := batchOf(p)
	if batches == 1 {
		return false
	}
	return finishedBy(func(f oracle.Field) oracle.Field {
		out := f.Like()
		out.Take(0, f, 0, len(f.Value)/batches)
		return out
	})(p, r)
}

// moved takes each row of a field from another, and leaves zero those that come from before the first.
func moved(from func(batch, length, b, t int) (fromB, fromT int)) func(oracle.Field) oracle.Field {
	return func(f oracle.Field) oracle.Field {
		out, length, width := f.Like(), f.Shape[len(f.Shape)-2], num.Last(f.Shape)
		batch := len(f.Value) / (length * width)
		for row := range batch * length {
			b, t := from(batch, length, row/length, row%length)
			if t >= 0 {
				out.Take(row*width, f, (b*length+t)*width, width)
			}
		}
		return out
	}
}

// batchOf is the number of batch elements: of a function all that stands before the heads.
func batchOf(p *oracle.Problem) int {
	if p.Layer != nil {
		return p.Query.Shape[0]
	}
	batch := 1
	for _, n := range p.Query.Shape[:len(p.Query.Shape)-3] {
		batch *= n
	}
	return batch
}

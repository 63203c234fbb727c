package catalogue

import (
	"math/rand/v2"

	"github.com/difftest/difftest/harness/oracle"
)

// files are numbers read or written in another order than they stand.
var files = []Mistake{
	{
		ID: "inputs-column-major", Title: "the inputs read in column-major (Fortran) order",
		Explanation: "The first index was taken for the fastest in memory.",
		Fix:         "Read .npy files in the order that fortran_order says, and tensors by their strides.",
		Family:      Files, Kind: Layout, Stage: Projection, Refs: []string{"K04"},
		Evidence: "https://github.com/rogersce/cnpy/issues/7",
		Plant:    columnMajorInputs,
	},
	{
		ID: "inputs-sequence-first", Title: "the inputs laid out (T, B, D) and read as (B, T, D)",
		Explanation: "Batch and sequence are mixed up: rows of one sequence come from several.",
		Fix:         "Say batch_first where PyTorch does: its default for nn.MultiheadAttention is (T, B, D).",
		Family:      Files, Kind: Layout, Stage: Projection, Needs: "inputs of three dimensions",
		Plant: sequenceFirstInputs,
	},
	{
		ID: "inputs-time-reversed", Title: "the sequences of the inputs read backwards",
		Explanation: "The last position of each sequence stands first.",
		Fix:         "Read positions in their order.",
		Family:      Files, Kind: Layout, Stage: Projection,
		Plant: timeReversedInputs,
	},
}

func sequenceFirstInputs(p *oracle.Problem, _ *rand.Rand) bool {
	if len(p.Query.Shape) != 3 {
		return false
	}
	return rows(p, func(batch, length, b, t int) (fromB, fromT int) {
		place := b*length + t // in memory that holds t before b
		return place % batch, place / batch
	})
}

func timeReversedInputs(p *oracle.Problem, _ *rand.Rand) bool {
	return rows(p, func(_, length, b, t int) (fromB, fromT int) { return b, length - 1 - t })
}

// rows moves whole rows of the inputs. Whatever stands before the last two dimensions counts as
// the batch.
func rows(p *oracle.Problem, from func(batch, length, b, t int) (fromB, fromT int)) bool {
	for _, in := range []*oracle.Array{&p.Query, &p.Key, &p.Value} {
		length, width := in.Shape[len(in.Shape)-2], last(in.Shape)
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
		from, rest, stride := 0, i, len(out)
		for d := len(a.Shape) - 1; d >= 0; d-- {
			stride /= a.Shape[d]
			from += rest % a.Shape[d] * stride
			rest /= a.Shape[d]
		}
		out[i] = a.Value[from]
	}
	return oracle.Array{Shape: a.Shape, Value: out}
}

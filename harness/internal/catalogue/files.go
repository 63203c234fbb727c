package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// files holds mistakes in reading inputs and weights from files, and in writing the output.
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
		OnTables:    true,
		Plant:       inputsColumnMajor,
	},
	{
		ID:    "inputs-stored-column-major",
		Title: "the inputs stored in column-major (Fortran) order and read in row-major",
		Explanation: "The values are the case's. " +
			"They were stored with the first index fastest, but read with the last index fastest.",
		Fix:      "Copy arrays into row-major order before their memory is read: numpy.ascontiguousarray.",
		Family:   Files,
		Kind:     Layout,
		Stage:    Projection,
		Evidence: "https://github.com/nmslib/nmslib/issues/230",
		Plant:    inputsStoredColumnMajor,
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
		Plant:       inputsSequenceFirst,
	},
	{
		ID:          "inputs-time-reversed",
		Title:       "the sequences of the inputs read backwards",
		Explanation: "The last position of each sequence comes first.",
		Fix:         "Read the positions in order.",
		Family:      Files,
		Kind:        Layout,
		Stage:       Projection,
		OnTables:    true,
		Plant:       inputsTimeReversed,
	},
	withVariants(Mistake{
		ID:    "inputs-of-the-next-element",
		Title: "each batch element computed from the inputs of the next",
		Explanation: "Masks, lengths and caches are right. " +
			"An element gets the query, key and value of another one.",
		Fix:    "Take the inputs, masks, lengths and caches of an element by the same index.",
		Family: Files,
		Kind:   Layout,
		Stage:  Projection,
		Needs:  "two or more batch elements, and masks, lengths or caches of their own",
		Plant:  inputsOfAnotherElement(func(batch, b int) int { return (b + 1) % batch }),
	}, variant{
		id:    "reversed",
		title: "the batch elements of the inputs in reverse order",
		plant: inputsOfAnotherElement(func(batch, b int) int { return batch - 1 - b }),
	}, variant{
		id:    "back",
		title: "each batch element computed from the inputs of the one before",
		plant: inputsOfAnotherElement(func(batch, b int) int { return (b + batch - 1) % batch }),
	}),
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
		Plant:    changeWeight(outProj, weightColumnMajor),
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
		Plant:       weightsBFloat16AsFloat16,
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
		Plant:       weightsShiftedByARow,
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
		OnTables:    true,
		Plant:       changeOutput(moveRows(previousRow)),
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
		OnTables: true,
		Plant:    changeOutput(fieldColumnMajor),
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
		OnTables:    true,
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
		OnTables:    true,
		Plant:       outputFirstBatchOnly,
	},
}

func inputsColumnMajor(p *oracle.Problem, _ *rand.Rand) bool {
	changeInputs(p, readColumnMajor)
	return true
}

// changeInputs changes query, key and value. Inputs that are one array stay one array.
func changeInputs(p *oracle.Problem, change func(oracle.Array) oracle.Array) {
	right := [3]oracle.Array{p.Query, p.Key, p.Value}
	wrong := []*oracle.Array{&p.Query, &p.Key, &p.Value}
	for i := range right {
		same := slices.IndexFunc(right[:i], right[i].Is)
		if same < 0 {
			*wrong[i] = change(right[i])
		} else {
			*wrong[i] = *wrong[same]
		}
	}
}

// readColumnMajor reads an array stored in row-major order as if it were in column-major order.
func readColumnMajor(a oracle.Array) oracle.Array {
	out := make([]float64, len(a.Value))
	for i := range out {
		out[i] = a.Value[columnMajorIndex(a.Shape, i)]
	}
	return oracle.Array{Shape: a.Shape, Value: out}
}

func inputsStoredColumnMajor(p *oracle.Problem, _ *rand.Rand) bool {
	changeInputs(p, storeColumnMajor)
	return true
}

// storeColumnMajor returns the memory of an array stored in column-major order.
func storeColumnMajor(a oracle.Array) oracle.Array {
	out := make([]float64, len(a.Value))
	for i, v := range a.Value {
		out[columnMajorIndex(a.Shape, i)] = v
	}
	return oracle.Array{Shape: a.Shape, Value: out}
}

// columnMajorIndex converts a flat index in row-major order to column-major order.
func columnMajorIndex(shape []int, i int) int {
	index, stride := 0, 1
	for _, n := range shape {
		stride *= n
	}
	for d := len(shape) - 1; d >= 0; d-- {
		stride /= shape[d]
		index += i % shape[d] * stride
		i /= shape[d]
	}
	return index
}

func inputsSequenceFirst(p *oracle.Problem, _ *rand.Rand) bool {
	if len(p.Query.Shape) != 3 {
		return false
	}
	return moveInputRows(p, sequenceFirstRow)
}

func inputsTimeReversed(p *oracle.Problem, _ *rand.Rand) bool {
	return moveInputRows(p, timeReversedRow)
}

// rowSource returns the row (fromB, fromT) that ends up at row t of batch element b. A negative
// fromT means that the row is zero.
type rowSource func(batch, length, b, t int) (fromB, fromT int)

// sequenceFirstRow reads memory laid out (T, B) as (B, T).
func sequenceFirstRow(batch, length, b, t int) (fromB, fromT int) {
	row := b*length + t
	return row % batch, row / batch
}

func timeReversedRow(_, length, b, t int) (fromB, fromT int) { return b, length - 1 - t }

// previousRow shifts rows by one position; the first row becomes zero.
func previousRow(_, _, b, t int) (fromB, fromT int) { return b, t - 1 }

// moveInputRows moves whole rows of the inputs. All dimensions before the last two count as the
// batch.
func moveInputRows(p *oracle.Problem, from rowSource) bool {
	changeInputs(p, func(in oracle.Array) oracle.Array {
		length, width := in.Shape[len(in.Shape)-2], num.Last(in.Shape)
		batch := len(in.Value) / (length * width)
		moved := make([]float64, len(in.Value))
		for row := range batch * length {
			b, t := from(batch, length, row/length, row%length)
			copy(moved[row*width:][:width], in.Value[(b*length+t)*width:])
		}
		return oracle.Array{Shape: in.Shape, Value: moved}
	})
	return true
}

// inputsOfAnotherElement gives each batch element the inputs of another one. It applies only where
// the elements have more than inputs of their own: elsewhere the output alone is in another order.
func inputsOfAnotherElement(source func(batch, b int) int) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		own := p.Past != nil || p.Padding != nil || p.Offsets != nil
		for _, m := range []*attention.Mask{p.Allow, p.Block} {
			own = own || m != nil && hasBatch(p, m.Shape)
		}
		own = own || p.Bias != nil && hasBatch(p, p.Bias.Shape)
		return own && batchSize(p) > 1 && moveInputRows(p, func(batch, _, b, t int) (fromB, fromT int) {
			rest := batch / batchSize(p) // heads, whose rows a function has one after another
			return source(batchSize(p), b/rest)*rest + b%rest, t
		})
	}
}

// hasBatch reports whether a mask of some shape differs between batch elements.
func hasBatch(p *oracle.Problem, shape []int) bool {
	return num.Size(shape) > 0 && len(shape) > 3 && num.Size(shape[:len(shape)-3]) > 1
}

func weightsColumnMajor(p *oracle.Problem, _ *rand.Rand) bool {
	return changeEveryWeight(p, weightColumnMajor)
}

// weightColumnMajor returns the memory of a weight stored in column-major order.
func weightColumnMajor(p *oracle.Problem, m oracle.Linear, _ *rand.Rand) []float64 {
	turned := p.Borrow(len(m.Weight))
	transpose(turned, m.Weight, m.Out, m.In)
	return turned
}

// transpose writes the transpose of a (rows, columns) matrix. A block of the matrix is as wide as
// a line of a processor's cache, and so never pushes itself out of the cache.
func transpose(turned, values []float64, rows, columns int) {
	const high, wide = 64, 8
	for left := 0; left < columns; left += wide {
		for top := 0; top < rows; top += high {
			for c := left; c < min(left+wide, columns); c++ {
				to := turned[c*rows:][:rows]
				for r := top; r < min(top+high, rows); r++ {
					to[r] = values[r*columns+c]
				}
			}
		}
	}
}

func weightsBFloat16AsFloat16(p *oracle.Problem, _ *rand.Rand) bool {
	return changeEveryWeight(p, func(p *oracle.Problem, m oracle.Linear, _ *rand.Rand) []float64 {
		weight := p.Borrow(len(m.Weight))
		for i, v := range m.Weight {
			weight[i] = bfloat16AsFloat16(v)
		}
		return weight
	})
}

// bfloat16AsFloat16 rounds v to bfloat16, the upper 16 bits of a float32, to nearest even. It then
// decodes these bits as float16: a sign, 5 exponent bits, 10 fraction bits.
func bfloat16AsFloat16(v float64) float64 {
	b := math.Float32bits(float32(v))
	b = (b + 0x7fff + b>>16&1) >> 16
	sign, exponent, fraction := 1-2*float64(b>>15), b>>10&0x1f, b&0x3ff
	switch {
	case exponent == 0:
		return sign * 0x1p-24 * float64(fraction)
	case exponent == 0x1f && fraction == 0:
		return sign * math.Inf(1)
	case exponent == 0x1f:
		return math.NaN()
	}
	return sign * 0x1p-25 * float64(uint(0x400+fraction)<<exponent)
}

// weightsShiftedByARow moves every row down by one, and the last row to the top.
func weightsShiftedByARow(p *oracle.Problem, _ *rand.Rand) bool {
	return changeEveryWeight(p, func(p *oracle.Problem, m oracle.Linear, _ *rand.Rand) []float64 {
		weight, end := p.Borrow(len(m.Weight)), len(m.Weight)-m.In
		copy(weight[m.In:], m.Weight[:end])
		copy(weight, m.Weight[end:])
		return weight
	})
}

// changeOutput plants a mistake that moves numbers of the result, or sets them to zero.
func changeOutput(change func(oracle.Field) oracle.Field) plant {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		p.Finish = change
		return true
	}
}

// fieldColumnMajor returns the memory of a field stored in column-major order.
func fieldColumnMajor(f oracle.Field) oracle.Field {
	out := f.ZerosLike()
	for i := range f.Value {
		out.Take(columnMajorIndex(f.Shape, i), f, i, 1)
	}
	return out
}

// moveRows moves whole rows of a field.
func moveRows(from rowSource) func(oracle.Field) oracle.Field {
	return func(f oracle.Field) oracle.Field {
		out, length, width := f.ZerosLike(), f.Shape[len(f.Shape)-2], num.Last(f.Shape)
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

func outputSequenceFirst(p *oracle.Problem, r *rand.Rand) bool {
	if len(p.Query.Shape) != 3 || p.Query.Shape[0] == 1 || p.Query.Shape[1] == 1 {
		return false
	}
	return changeOutput(moveRows(sequenceFirstRow))(p, r)
}

func outputTimeReversed(p *oracle.Problem, r *rand.Rand) bool {
	return queryCount(p) > 1 && changeOutput(moveRows(timeReversedRow))(p, r)
}

func outputFirstBatchOnly(p *oracle.Problem, r *rand.Rand) bool {
	batch := batchSize(p)
	if batch == 1 {
		return false
	}
	return changeOutput(func(f oracle.Field) oracle.Field {
		out := f.ZerosLike()
		out.Take(0, f, 0, len(f.Value)/batch)
		return out
	})(p, r)
}

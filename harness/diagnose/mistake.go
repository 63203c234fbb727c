package diagnose

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/oracle"
)

// Kind says what part of an implementation a mistake is in.
type Kind int

const (
	// Weights: the parameters are not those of the state dict.
	Weights Kind = iota
	// Missing: the weights are right and a mask, the scale or the biases are missing.
	Missing
	// Altered: the parameters are right and a mask hides the wrong keys.
	Altered
	// Layout: the parameters are right and features stand in the wrong places.
	Layout
)

// Mistake is one known way to get attention wrong, as a change to the oracle's problem.
type Mistake struct {
	ID    string
	Title string // follows "computed with"
	Kind  Kind
	Needs string // what a case must have for the mistake to be made on it

	// Random mistakes draw parameters, so that their outputs cannot be replayed: only their
	// size and direction say something.
	Random bool

	// Plant makes the mistake. It says false when the problem has nothing to get wrong so.
	Plant func(p *oracle.Problem, r *rand.Rand) bool
}

// Mistakes are those that every failing case is held against.
var Mistakes = []Mistake{
	{"weights-unit-normal", "weights left at N(0,1), never loaded", Weights, "parameters", true, unitNormal},
	{"weights-random", "other random weights of the case's own scale", Weights, "parameters", true, ownScale},
	{"weights-zero", "all weights zero", Weights, "parameters", false, zeroWeights},
	{"weights-transposed", "every weight transposed: x W in place of x W^T", Weights, "weights that are all square: others cannot be used transposed", false, transposedWeights},
	{"causal-missing", "the causal mask missing", Missing, "a causal mask", false, causalMissing},
	{"causal-inverted", "the causal mask inverted: only later keys are seen", Altered, "a causal mask", false, causal(func(i, j int) bool { return j > i })},
	{"causal-transposed", "the causal mask transposed: a query sees itself and later keys", Altered, "a causal mask", false, causal(func(i, j int) bool { return j >= i })},
	{"causal-self-hidden", "the causal mask off by one: a query does not see itself", Altered, "a causal mask", false, causal(func(i, j int) bool { return j < i })},
	{"causal-next-seen", "the causal mask off by one: a query sees the next key", Altered, "a causal mask", false, causal(func(i, j int) bool { return j <= i+1 })},
	{"causal-added", "a causal mask that does not belong", Altered, "no causal mask", false, causalAdded},
	{"padding-ignored", "the padding mask ignored", Missing, "padding", false, paddingIgnored},
	{"padding-inverted", "the padding mask inverted: only padding is seen", Altered, "padding", false, paddingInverted},
	{"mask-ignored", "the boolean mask ignored", Missing, "a boolean mask", false, maskIgnored},
	{"mask-inverted", "the boolean mask inverted: true taken for false", Altered, "a boolean mask", false, maskInverted},
	{"bias-ignored", "the additive mask ignored", Missing, "an additive mask", false, biasIgnored},
	{"scale-missing", "the scores not scaled by 1/sqrt(E)", Missing, "a scale other than 1", false, scaleMissing},
	{"biases-missing", "all biases missing", Missing, "biases", false, biasesMissing},
	{"inputs-column-major", "the inputs read in column-major (Fortran) order", Layout, "", false, columnMajorInputs},
	{"inputs-sequence-first", "the inputs laid out (T, B, D) and read as (B, T, D)", Layout, "inputs of three dimensions", false, sequenceFirstInputs},
	{"inputs-time-reversed", "the sequences of the inputs read backwards", Layout, "", false, timeReversedInputs},
	{"heads-split-untransposed", "the heads split by a reshape without the transpose", Layout, "a layer of two heads or more", false, rearranged(untransposed, nil)},
	{"heads-merge-untransposed", "the heads merged by a reshape without the transpose", Layout, "a layer of two heads or more", false, rearranged(nil, untransposed)},
	{"heads-untransposed", "the heads split and merged without transposes", Layout, "a layer of two heads or more", false, rearranged(untransposed, untransposed)},
	{"heads-split-strided", "features dealt out to the heads in turn when they are split", Layout, "a layer of two heads or more", false, rearranged(strided, nil)},
	{"heads-merge-strided", "features of the heads taken in turn when they are merged", Layout, "a layer of two heads or more", false, rearranged(nil, strided)},
	{"heads-merge-reversed", "the heads merged in reverse order", Layout, "a layer of two heads or more", false, rearranged(nil, reversed)},
	{"heads-strided", "features dealt out in turn and taken in turn", Layout, "a layer of two heads or more", false, rearranged(strided, strided)},
}

func unitNormal(p *oracle.Problem, r *rand.Rand) bool {
	return eachParameter(p, func(values []float64) { draw(values, 1, r) })
}

func ownScale(p *oracle.Problem, r *rand.Rand) bool {
	return eachParameter(p, func(values []float64) { draw(values, rms(values), r) })
}

func zeroWeights(p *oracle.Problem, _ *rand.Rand) bool {
	return eachParameter(p, func(values []float64) { clear(values) })
}

// transposedWeights can be made only where every weight is square; elsewhere it crashes.
func transposedWeights(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil {
		return false
	}
	for _, l := range p.Layer.Linears() {
		if l.In != l.Out {
			return false
		}
		was := slices.Clone(l.Weight)
		for i := range l.Weight {
			l.Weight[i] = was[i%l.In*l.In+i/l.In]
		}
	}
	return true
}

func causalMissing(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Causal != nil
	p.Causal = nil
	return had
}

// causal puts another mask in the place of the causal one.
func causal(sees func(query, key int) bool) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		had := p.Causal != nil
		p.Causal = sees
		return had
	}
}

func causalAdded(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Causal != nil
	p.Causal = func(query, key int) bool { return key <= query }
	return !had
}

func paddingIgnored(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Padding != nil
	p.Padding = nil
	return had
}

func paddingInverted(p *oracle.Problem, _ *rand.Rand) bool {
	p.Padding = inverted(p.Padding)
	return p.Padding != nil
}

func maskIgnored(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Allow != nil || p.Block != nil
	p.Allow, p.Block = nil, nil
	return had
}

func maskInverted(p *oracle.Problem, _ *rand.Rand) bool {
	p.Allow, p.Block = inverted(p.Allow), inverted(p.Block)
	return p.Allow != nil || p.Block != nil
}

func biasIgnored(p *oracle.Problem, _ *rand.Rand) bool {
	had := p.Bias != nil
	p.Bias = nil
	return had
}

func scaleMissing(p *oracle.Problem, _ *rand.Rand) bool {
	was := p.Scale
	p.Scale = 1
	return was != 1
}

func biasesMissing(p *oracle.Problem, _ *rand.Rand) bool {
	if p.Layer == nil || p.Layer.Query.Bias == nil {
		return false
	}
	for _, l := range p.Layer.Linears() {
		l.Bias = nil
	}
	return true
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

// rearranged makes a mistake of the places of the heads' features. One head has no other places.
func rearranged(split, merge func(s oracle.Sizes, head, t, feature int) int) func(*oracle.Problem, *rand.Rand) bool {
	return func(p *oracle.Problem, _ *rand.Rand) bool {
		if p.Layer == nil || p.Layer.Heads == 1 {
			return false
		}
		p.Layer.Split, p.Layer.Merge = split, merge
		return true
	}
}

// untransposed reads (T, H*E) as (H, T, E).
func untransposed(s oracle.Sizes, head, t, feature int) int {
	return (head*s.Length+t)*s.Width + feature
}

// reversed is the place of each head's features when the last head comes first.
func reversed(s oracle.Sizes, head, t, feature int) int {
	return s.Concatenated(s.Heads-1-head, t, feature)
}

// strided reads (T, H*E) as (T, E, H).
func strided(s oracle.Sizes, head, t, feature int) int {
	return (t*s.Width+feature)*s.Heads + head
}

// eachParameter changes all that a layer has learned. Without a layer there is nothing.
func eachParameter(p *oracle.Problem, change func([]float64)) bool {
	for _, values := range p.Parameters() {
		change(*values)
	}
	return p.Layer != nil
}

func draw(values []float64, scale float64, r *rand.Rand) {
	for i := range values {
		values[i] = scale * r.NormFloat64()
	}
}

func rms(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range values {
		sum += v * v
	}
	return math.Sqrt(sum / float64(len(values)))
}

func inverted(m *attention.Mask) *attention.Mask {
	if m == nil {
		return nil
	}
	n := &attention.Mask{Shape: m.Shape, Data: slices.Clone(m.Data)}
	for i, v := range n.Data {
		n.Data[i] = !v
	}
	return n
}

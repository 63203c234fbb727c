package edits

import (
	"math"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// rotaryNumbers are the numbers behind the tables of a rotary embedding.
var rotaryNumbers = []Number{
	{
		Number: catalogue.Number{
			ID: "model-rope-base", Title: "RoPE base",
			Fix:   "Read rope_theta from the configuration of this layer.",
			Usual: []float64{1e3, 1e4, 1e5, 1.6e5, 2.5e5, 5e5, 1e6, 5e6, 8e6, 1e7},
		},
		At: func(v *graph.View, n graph.Node) (float64, bool) {
			t, ok := turnOf(v, n)
			return t.base, ok && t.pairs() > 1 // one pair turns alike with every base
		},
		turn: func(t *turn, value float64) { t.base = value },
		Span: between(1.5, 1e9),
	},
	{
		Number: catalogue.Number{
			ID: "model-rope-factor", Title: "factor that divides RoPE positions", Periodic: true,
			Fix:   "Read the factor of rope_scaling from the configuration of this layer.",
			Usual: []float64{1, 2, 4, 8, 16, 32},
		},
		At: func(v *graph.View, n graph.Node) (float64, bool) {
			t, ok := turnOf(v, n)
			return t.factor, ok
		},
		Span: times(64),
		turn: func(t *turn, value float64) { t.factor = value },
	},
}

// Both returns an edit that gives nodes other values of two numbers. It is nil for numbers that do
// not stand in the same tables.
func Both(a, b Number, x, y float64) graph.Edit {
	if a.turn == nil || b.turn == nil {
		return nil
	}
	return turned(func(t *turn, _ float64) {
		a.turn(t, x)
		b.turn(t, y)
	})(0)
}

// turn holds the numbers behind the tables of a rotary embedding: pair i turns by
// position / factor * base^(-i / pairs). Positions count from 0 in the dimension before the last.
type turn struct {
	shape        []int
	halves       bool // a pair has one feature from each half, and not two neighbours
	base, factor float64
}

// turnOf returns the turn behind the tables of a rotary embedding. It reports false unless the turn
// gives the tables, to the rounding of frequencies in float32.
func turnOf(v *graph.View, n graph.Node) (t turn, ok bool) {
	if n.Op != "rotary" {
		return t, false
	}
	cos, sin := v.Constant(n.Operands[1]), v.Constant(n.Operands[2])
	if cos == nil || sin == nil || len(cos.Shape) < 2 || len(sin.Data) != len(cos.Data) {
		return t, false
	}
	t = turn{shape: cos.Shape, halves: n.Attributes.Pairs == "halves"}
	pairs, tokens := t.pairs(), cos.Shape[len(cos.Shape)-2]
	if pairs < 1 || tokens < 2 || cos.Shape[len(cos.Shape)-1] != 2*pairs {
		return t, false
	}
	// The second row has position 1, whose angles are the frequencies.
	row := 2 * pairs
	frequency := func(pair int) float64 {
		i := row + t.feature(pair)
		return math.Atan2(sin.Data[i], cos.Data[i])
	}
	first, second := frequency(0), frequency(min(1, pairs-1))
	if !(first > 0) || !(second > 0) {
		return t, false
	}
	t.factor, t.base = rounded(1/first), 1e4
	if pairs > 1 {
		t.base = rounded(math.Pow(first/second, float64(pairs)))
	}
	if pairs <= 2 && t.factor != 1 {
		return t, false // one or two frequencies always have a base and a factor
	}
	return t, t.base > 1 && t.gives(cos, sin)
}

// rounded returns the number with three digits that a value is, to the rounding of float32, or
// otherwise the value.
func rounded(value float64) float64 {
	const near = 1e-5
	size := math.Pow(10, 2-math.Floor(math.Log10(value)))
	if round := math.Round(value*size) / size; math.Abs(round/value-1) < near {
		return round
	}
	return value
}

func (t turn) pairs() int { return t.shape[len(t.shape)-1] / 2 }

// feature returns the first feature of a pair.
func (t turn) feature(pair int) int {
	if t.halves {
		return pair
	}
	return 2 * pair
}

// angle returns the angle of an element of the tables.
func (t turn) angle(i int) float64 {
	width, tokens := 2*t.pairs(), t.shape[len(t.shape)-2]
	pair := i % width / 2
	if t.halves {
		pair = i % t.pairs()
	}
	position := float64(i / width % tokens)
	return position / t.factor * math.Pow(t.base, -float64(pair)/float64(t.pairs()))
}

// gives reports whether the turn gives the tables.
func (t turn) gives(cos, sin *graph.Tensor[float64]) bool {
	const near = 2e-7 // of the angle: frequencies in float32
	for i := range cos.Data {
		a := t.angle(i)
		off := math.Hypot(cos.Data[i]-math.Cos(a), sin.Data[i]-math.Sin(a))
		if !(off <= near*(1+a)) {
			return false
		}
	}
	return true
}

// turned returns an edit that computes the tables again with another number.
func turned(change func(t *turn, value float64)) func(float64) graph.Edit {
	return func(value float64) graph.Edit {
		return func(v *graph.View, n graph.Node) []graph.Node {
			t, _ := turnOf(v, n)
			change(&t, value)
			table := func(part int, of func(float64) float64) graph.Node {
				values := make([]float64, len(v.Constant(n.Operands[1]).Data))
				for i := range values {
					values[i] = of(t.angle(i))
				}
				return n.Table(part, &graph.Tensor[float64]{Shape: t.shape, Data: values})
			}
			cos, sin := table(1, math.Cos), table(2, math.Sin)
			return nodes(cos, sin, n.With(n.Operands[0], graph.Value(cos.Name), graph.Value(sin.Name)))
		}
	}
}

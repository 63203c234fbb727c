package edits

import (
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// Number is a number in the graph of a model that an implementation may have wrong. A search finds
// its value from an output. The embedded number has no Set and no Range, which are about attention
// alone.
type Number struct {
	catalogue.Number

	// At returns the number of a node, and whether the node has one.
	At func(v *graph.View, n graph.Node) (right float64, ok bool)
	// To returns an edit that gives nodes with the number another value of it.
	To func(value float64) graph.Edit
	// Span returns the least and the greatest value to search.
	Span func(v *graph.View, n graph.Node, right float64) (least, most float64)
	// ByClass means that modules of different classes have different numbers.
	ByClass bool
	// turn sets the number behind the tables of a rotary embedding; nil for other numbers.
	turn func(t *turn, value float64)
	// Alike returns a sentence about other changes that give the same output by their mathematics,
	// "" if there are none. It is nil for a number without such changes.
	Alike func(v *graph.View, n graph.Node) string
}

// Numbers are the numbers that a search can find from the output of a model.
var Numbers = func() []Number {
	all := slices.Concat(normNumbers, attentionNumbers, rotaryNumbers, factorNumbers, otherNumbers)
	for i := range all {
		all[i].Number = all[i].InModelsAlone()
		if change := all[i].turn; change != nil {
			all[i].To = turned(change)
		}
	}
	return all
}()

// NumberByID returns a number by its id, and whether there is one.
func NumberByID(id string) (Number, bool) {
	for _, n := range append(slices.Clone(Numbers), parameterFactor) {
		if n.ID == id {
			return n, true
		}
	}
	return Number{}, false
}

// normNumbers are the numbers of norms.
var normNumbers = []Number{{
	Number: catalogue.Number{
		ID: "norm-eps", Title: "epsilon of the norms",
		Fix:      "Read the epsilon from the configuration: rms_norm_eps, layer_norm_eps or norm_eps.",
		Usual:    []float64{1e-3, 1e-5, 1e-6, 1e-8, 1e-12},
		Vanishes: true,
	},
	At:    epsOf,
	Alike: scaledInput,
	To: func(value float64) graph.Edit {
		return func(v *graph.View, n graph.Node) []graph.Node {
			if n.Attributes.Eps > 0 {
				return nodes(n.Set(func(a *graph.Attributes) { a.Eps = value }))
			}
			return nodes(withNumber(v, n, value))
		}
	},
	Span: between(1e-14, 1e2),
}}

// epsOf returns the epsilon of a norm, or of a norm that is written as small operations.
func epsOf(v *graph.View, n graph.Node) (float64, bool) {
	if n.Attributes.Eps > 0 {
		return n.Attributes.Eps, true
	}
	const largest = 0.01
	value, ok := numberOf(v, n)
	users := v.Users(n.Name)
	rooted := len(users) == 1 && slices.Contains([]string{"rsqrt", "sqrt"}, users[0].Op)
	return value, ok && n.Op == "add" && rooted && value > 0 && value <= largest
}

// scaledInput says that a factor of a norm's input has the effect of another epsilon: the norm of
// s x divides by the root of the mean square of x plus eps / s^2. Nothing else may read the input.
func scaledInput(v *graph.View, n graph.Node) string {
	if n.Attributes.Eps == 0 || len(v.Users(n.Operands[0].Name)) > 1 {
		return ""
	}
	return "an input of the norm multiplied by a factor would give the same"
}

// always returns a sentence that holds for every node.
func always(text string) func(*graph.View, graph.Node) string {
	return func(*graph.View, graph.Node) string { return text }
}

// otherNumbers are the numbers of positions, clamps and sums.
var otherNumbers = []Number{
	{
		Number: catalogue.Number{
			ID: "position-offset", Title: "number added to every position", Step: 1,
			Fix: countPositions,
		},
		At: func(v *graph.View, n graph.Node) (float64, bool) { return 0, isPositions(v, n) },
		To: moved,
		Span: func(v *graph.View, n graph.Node, _ float64) (least, most float64) {
			const furthest = 64
			rows := float64(v.Shape(n.Operands[0])[0])
			return max(-furthest, -rows), min(furthest, rows)
		},
	},
	{
		Number: catalogue.Number{
			ID: "clamp-limit", Title: "limit of the clamp", Usual: []float64{1, 6, 7, 8, 10, 20},
			Fix: "Read the limit from the configuration: swiglu_limit or clip_qkv.",
		},
		At:      limitOf,
		To:      func(value float64) graph.Edit { return clampedAt(value) },
		Span:    times(1e4),
		ByClass: true,
	},
	{
		Number: catalogue.Number{
			ID: "term", Title: "number that is added", Added: true,
			Fix: "Compare the number with the model's source.",
		},
		At: func(v *graph.View, n graph.Node) (float64, bool) {
			value, ok := numberOf(v, n)
			_, isEps := epsOf(v, n)
			return value, ok && !isEps && (n.Op == "add" || n.Op == "sub" && n.Operands[1].Name == "")
		},
		To: setNumber,
		Span: func(_ *graph.View, _ graph.Node, right float64) (least, most float64) {
			reach := 10 * max(1, math.Abs(right))
			return right - reach, right + reach
		},
		ByClass: true,
	},
}

// limitOf returns the limit of a clamp, without its sign. Limits on both sides must be alike.
func limitOf(_ *graph.View, n graph.Node) (limit float64, ok bool) {
	if n.Op != "clamp" {
		return 0, false
	}
	for _, o := range n.Operands[1:] {
		if o.Absent || o.Name != "" || o.Number == 0 || math.IsInf(o.Number, 0) {
			continue
		}
		if limit != 0 && math.Abs(o.Number) != limit {
			return 0, false
		}
		limit = math.Abs(o.Number)
	}
	return limit, limit != 0
}

func clampedAt(limit float64) graph.Edit {
	return func(_ *graph.View, n graph.Node) []graph.Node {
		operands := slices.Clone(n.Operands)
		for i, o := range operands[1:] {
			if !o.Absent && o.Name == "" && o.Number != 0 && !math.IsInf(o.Number, 0) {
				operands[i+1] = graph.Number(math.Copysign(limit, o.Number))
			}
		}
		return nodes(n.With(operands...))
	}
}

// between is the span of a number that nothing limits.
func between(least, most float64) func(*graph.View, graph.Node, float64) (float64, float64) {
	return func(*graph.View, graph.Node, float64) (float64, float64) { return least, most }
}

// times is the span from the right number divided by a factor to the right number times it.
func times(factor float64) func(*graph.View, graph.Node, float64) (float64, float64) {
	return func(_ *graph.View, _ graph.Node, right float64) (least, most float64) {
		return right / factor, right * factor
	}
}

// numberOf returns the only operand of a node that is a number, or a constant without dimensions.
func numberOf(v *graph.View, n graph.Node) (value float64, ok bool) {
	i := numberPlace(v, n)
	if i < 0 {
		return 0, false
	}
	if t := v.Constant(n.Operands[i]); t != nil {
		return t.Data[0], true
	}
	return n.Operands[i].Number, true
}

// numberPlace returns the place of the operand of [numberOf], -1 if there is none.
func numberPlace(v *graph.View, n graph.Node) int {
	place := -1
	for i, o := range n.Operands {
		t := v.Constant(o)
		if o.Absent || o.Name != "" && (t == nil || len(t.Data) != 1 || len(t.Shape) > 0) {
			continue
		}
		if place >= 0 {
			return -1
		}
		place = i
	}
	if len(n.Operands) != 2 {
		return -1
	}
	return place
}

// withNumber returns a node with another number as its operand.
func withNumber(v *graph.View, n graph.Node, value float64) graph.Node {
	operands := slices.Clone(n.Operands)
	operands[numberPlace(v, n)] = graph.Number(value)
	return n.With(operands...)
}

// setNumber returns an edit that replaces the number among the operands.
func setNumber(value float64) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node { return nodes(withNumber(v, n, value)) }
}

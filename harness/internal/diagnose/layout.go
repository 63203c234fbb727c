package diagnose

import (
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/reorder"
)

// otherShape decides if the output has another shape. The finding names the
// order that makes the output right, if there is one.
func otherShape(in *input) *finding {
	c := in.comparison
	if c.SameShape() {
		return nil
	}
	got, want := attention.FormatShape(c.GotShape), attention.FormatShape(c.WantShape)
	if orders := in.orders(); len(orders) > 0 {
		return inOrder(findingf(WrongLayout, "the output has shape %s, want %s", got, want), orders)
	}
	f := findingf(Unclear, "the output has shape %s, want %s: no number was compared", got, want)
	if len(in.got) == len(in.truth.Value) {
		f.because("it has as many elements, but no order of axes, heads or rows makes it right")
	}
	return f
}

// reordered decides if the output has the expected values in another order. Sorted, such an output
// equals the truth, and elements are far from their places.
func reordered(in *input) *finding {
	if orders := in.orders(); len(orders) > 0 {
		return inOrder(&finding{class: WrongLayout}, orders)
	}
	const far = 1000 // times the noise
	got, want := slices.Sorted(slices.Values(in.got)), slices.Sorted(slices.Values(in.truth.Value))
	noise := in.comparison.Limits.Z * slices.Max(in.truth.Sigma)
	moved := 0.0
	for i := range got {
		if !(math.Abs(got[i]-want[i]) <= noise) {
			return nil
		}
		moved = math.Max(moved, math.Abs(in.got[i]-in.truth.Value[i]))
	}
	if moved <= far*noise {
		return nil
	}
	return findingf(WrongLayout, "the output holds the expected values in another order: "+
		"a layout or the order of reading is wrong, not the weights")
}

// orders returns the orders of axes and indices that make the output right. They refer to the
// case's own order of dimensions, in which people see the output.
func (in *input) orders() []reorder.Order {
	own := func(values []float64) oracle.Array {
		return oracle.FromBatchFirst(in.layout, oracle.Array{Shape: in.whole.Shape, Value: values})
	}
	truth := own(in.whole.Value)
	want := compare.Expected{
		Shape: truth.Shape, Value: truth.Value, Sigma: own(in.whole.Sigma).Value, Measured: in.whole.Measured,
		Padded: in.whole.Padded,
	}
	if !in.comparison.SameShape() {
		return reorder.Find(in.comparison.GotShape, in.got, want)
	}
	return reorder.Find(truth.Shape, own(in.output).Value, want)
}

// inOrder adds to a finding which orders make the output right.
func inOrder(f *finding, orders []reorder.Order) *finding {
	f.orders = orders
	const shown = 3
	var words []string
	for _, o := range orders[:min(shown, len(orders))] {
		words = append(words, o.String())
	}
	if more := len(orders) - shown; more > 0 {
		words = append(words, "one of more orders")
	}
	f.because("every expected value is there: %s is the expected output", strings.Join(words, ", or "))
	f.because("residual %.2g (max z %.2g)", orders[0].Residual, orders[0].MaxZ)
	if len(orders) > 1 {
		f.because("expected values repeat, so this case cannot tell these apart")
	}
	return f
}

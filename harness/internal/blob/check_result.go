package blob

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/pattern"
	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/reorder"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/trace"
)

var classes = []diagnose.Class{
	"", diagnose.Right, diagnose.Rounding, diagnose.MissingFeature, diagnose.WrongWeights, diagnose.WrongNumber,
	diagnose.WrongLayout, diagnose.Dead, diagnose.NonFinite, diagnose.Unclear,
}

var stages = []pattern.Stage{
	"", pattern.MaskStage, pattern.SoftmaxStage, pattern.ScaleStage, pattern.HeadsStage, pattern.ScoreStage,
	pattern.ValueStage,
}

// mostFindings bounds the findings of one kind. The search for causes compares each with all
// others.
const mostFindings = 1000

// checkResult refuses a result that no run gives on a case: reports and the search for causes take
// for granted that its parts fit together.
func checkResult(r report.Result, c *fixture.Case) error {
	if r.Purpose != printable.Marked(c.Purpose) {
		return wrong("Purpose", "of another case")
	}
	if err := checkVerdict(r); err != nil {
		return err
	}
	if r.Comparison.WantShape == nil {
		if !reflect.ValueOf(r.Comparison).IsZero() || r.Got != nil || !reflect.ValueOf(r.Diagnosis).IsZero() {
			return wrong("Comparison", "missing")
		}
		return nil
	}
	// A run keeps no elements of right outputs.
	withoutValues := r.Verdict == report.Pass && r.Got == nil && r.Comparison.Z == nil && r.PyTorch.Z == nil
	size := num.Size(c.Output.Shape)
	if withoutValues {
		size = 0
	}
	if err := checkComparison(r.Comparison, c.Output.Shape, size); err != nil {
		return wrong("Comparison", "%w", err)
	}
	if n, err := attention.Size(r.Comparison.GotShape); err != nil || n != len(r.Got) && !withoutValues {
		shape := attention.FormatShape(r.Comparison.GotShape)
		return wrong("Got", "%d elements, and the shape is %s", len(r.Got), shape)
	}
	if err := checkComparison(r.PyTorch, c.Output.Shape, size); err != nil || !r.PyTorch.SameShape() {
		return errors.Join(wrong("PyTorch", "no comparison of the case"), err)
	}
	if err := checkExpected(r.Want, c.Output.Shape, r.Wrong()); err != nil {
		return wrong("Want", "%w", err)
	}
	for _, m := range r.Masks {
		if m.Queries < 1 || m.Keys < 1 || len(m.Sees) > report.MaskLimit || !isProduct(len(m.Sees), m.Queries, m.Keys) {
			return wrong("Masks", "%d queries, %d keys, %d elements", m.Queries, m.Keys, len(m.Sees))
		}
	}
	if r.Config != "" && r.Config != printable.Marked(strings.Join(c.Configuration(), "\n")) {
		return wrong("Config", "of another case")
	}
	if err := checkParameters(r, c); err != nil {
		return wrong("Parameters", "%w", err)
	}
	if err := checkTrace(r.Trace); err != nil {
		return wrong("Trace", "%w", err)
	}
	if len(r.Joint) > 0 || len(r.RuledOut) > 0 {
		return wrong("Joint, RuledOut", "found only when all shards are there")
	}
	return checkDiagnosis(r.Diagnosis, c)
}

// checkParameters refuses a list that is no list of the parameters of the case.
func checkParameters(r report.Result, c *fixture.Case) error {
	var keys []string
	if r.Verdict == report.Fail {
		keys = slices.Sorted(maps.Keys(c.State))
	}
	same := slices.EqualFunc(r.Parameters, keys, func(p report.Parameter, key string) bool {
		return p.Key == printable.Marked(key) && slices.Equal(p.Shape, c.State[key].Shape)
	})
	if !same {
		return fmt.Errorf("not the %d of the case", len(keys))
	}
	return nil
}

// checkVerdict refuses a verdict that contradicts the comparison.
func checkVerdict(r report.Result) error {
	compared := r.Comparison.WantShape != nil
	ok := false
	switch r.Verdict {
	case report.Pass:
		ok = r.Right() && len(r.Findings) == 0
	case report.Fail:
		ok = compared && (r.Wrong() || len(r.Findings) > 0)
	case report.Error, report.Skip:
		ok = !compared
	}
	if !ok || r.Known != "" {
		return wrong("Verdict", "%.200q does not fit the rest", r.Verdict)
	}
	return nil
}

// checkComparison refuses a comparison that no output of a shape gives, or that has another number
// of distances z if the output has that shape.
func checkComparison(c compare.Comparison, shape []int, distances int) error {
	if !slices.Equal(c.WantShape, shape) {
		return wrong("WantShape", "%s, want %s", attention.FormatShape(c.WantShape), attention.FormatShape(shape))
	}
	size := num.Size(shape)
	limits := compare.Expected{Measured: c.Measured}.Limits()
	switch {
	case c.Limits != limits:
		return wrong("Limits", "%v, want %v", c.Limits, limits)
	case !between(0, size, c.Elements, c.Outside, c.NonFinite, c.Rows), !between(0, c.Rows, c.Padded):
		return errors.New("counts larger than the output")
	case c.SameShape() && len(c.Z) != distances, !c.SameShape() && len(c.Z) != 0:
		return wrong("Z", "%d elements", len(c.Z))
	case c.SameShape() && !isElement(c.Worst, shape):
		return wrong("Worst", "no element of the output")
	case slices.ContainsFunc(c.First, func(e compare.Element) bool { return !isElement(e, shape) }):
		return wrong("First", "no elements of the output")
	}
	return nil
}

// isElement reports whether the index of an element lies in a shape.
func isElement(e compare.Element, shape []int) bool {
	return len(e.Index) == len(shape) && !slices.ContainsFunc(num.UpTo(len(shape)), func(d int) bool {
		return e.Index[d] < 0 || e.Index[d] >= shape[d]
	})
}

// checkExpected refuses a truth of another shape. Outputs that are right have none.
func checkExpected(e compare.Expected, shape []int, wanted bool) error {
	if !wanted {
		if !reflect.ValueOf(e).IsZero() {
			return errors.New("not missing")
		}
		return nil
	}
	size := num.Size(shape)
	if !slices.Equal(e.Shape, shape) || len(e.Value) != size || len(e.Sigma) != size {
		return fmt.Errorf("shape %s, %d values, %d sigmas", attention.FormatShape(e.Shape), len(e.Value), len(e.Sigma))
	}
	if n := len(e.Padded); n > 0 && !isProduct(n, shape[:max(0, len(shape)-1)]...) {
		return wrong("Padded", "%d rows", n)
	}
	return nil
}

func checkTrace(t *trace.Trace) error {
	switch {
	case t == nil:
		return nil
	case t.First < -1 || t.First >= len(t.Lines):
		return wrong("First", "%d of %d lines", t.First, len(t.Lines))
	case printable.Marked(string(t.Cut)) != string(t.Cut):
		return wrong("Cut", "not printable")
	}
	for _, line := range t.Lines {
		shape := line.Comparison.WantShape
		if line.Problem != "" {
			if !reflect.ValueOf(line.Comparison).IsZero() {
				return fmt.Errorf("%s: compared, and not compared", line.Path)
			}
			continue
		}
		if _, err := attention.Size(shape); err != nil {
			return fmt.Errorf("%s: %w", line.Path, err)
		}
		if err := checkComparison(line.Comparison, shape, num.Size(shape)); err != nil {
			return fmt.Errorf("%s: %w", line.Path, err)
		}
	}
	return checkMatches(t.Matches)
}

func checkDiagnosis(d diagnose.Diagnosis, c *fixture.Case) error {
	if !slices.Contains(classes, d.Class) || !slices.Contains(stages, d.Stage) {
		return wrong("Class, Stage", "%.200q, %.200q", d.Class, d.Stage)
	}
	for _, n := range []int{len(d.Matches), len(d.Numbers), len(d.Fits), len(d.Orders)} {
		if n > mostFindings {
			return fmt.Errorf("%d findings of one kind", n)
		}
	}
	if err := checkStructure(d.Structure); err != nil {
		return wrong("Structure", "%w", err)
	}
	for _, o := range d.Orders {
		if err := checkOrder(o); err != nil {
			return wrong("Orders", "%w", err)
		}
	}
	if p := d.Pattern; p != nil {
		size := len(p.Recovered)
		if !isProduct(size, p.Heads, p.Queries, p.Keys) || size == 0 || len(p.Expected) != size ||
			len(p.Uncertainty) != size || !between(0, p.Heads-1, p.Shown) || !between(1, p.Heads, p.PerBatch) {
			return wrong("Pattern", "%d heads, %d queries, %d keys, %d weights", p.Heads, p.Queries, p.Keys, size)
		}
	}
	for _, n := range d.Numbers {
		if err := checkNumber(n, c); err != nil {
			return wrong("Numbers", "%s: %w", n.Number.ID, err)
		}
	}
	return checkMatches(d.Matches)
}

func checkStructure(s diagnose.Structure) error {
	if len(s.Wrong) != len(s.Visible) || !isProduct(len(s.Wrong), s.Lead...) && len(s.Wrong) > 0 {
		return fmt.Errorf("%d and %d groups of rows, want %v", len(s.Wrong), len(s.Visible), s.Lead)
	}
	for g := range s.Wrong {
		if len(s.Wrong[g]) != s.Rows || len(s.Visible[g]) != s.Rows {
			return fmt.Errorf("%d and %d rows, want %d", len(s.Wrong[g]), len(s.Visible[g]), s.Rows)
		}
	}
	if len(s.Wrong) == 0 && len(s.WrongRows) > 0 {
		return errors.New("wrong rows without a picture")
	}
	return nil
}

// checkOrder refuses axes and indices that a view does not have.
func checkOrder(o reorder.Order) error {
	axes := slices.Sorted(slices.Values(o.Axes))
	if len(o.View) != len(o.Axes) || !slices.Equal(axes, num.UpTo(len(o.View))) {
		return fmt.Errorf("axes %v of the view %v", o.Axes, o.View)
	}
	return nil
}

// checkNumber refuses a value outside the range that is searched on the case. The search for causes
// computes other cases with it.
func checkNumber(n replay.NumberMatch, c *fixture.Case) error {
	for _, v := range []float64{n.Value, n.Right, n.Least, n.Most} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return errors.New("a value that is not finite")
		}
	}
	if len(n.With) > 1 || strings.Contains(n.Where, "\n") {
		return errors.New("more than one mistake or line")
	}
	if other := n.Beside; other != nil {
		if c.Op != fixture.Module || other.Beside != nil {
			return errors.New("more numbers than a search finds at once")
		}
		if err := checkNumber(*other, c); err != nil {
			return err
		}
	}
	if c.Op == fixture.Module {
		return nil
	}
	p := oracle.FromCase(c)
	right, ok := n.Number.Get(p)
	if !ok {
		return errors.New("the case has no such number")
	}
	least, most := n.Number.Range(p)
	inside := least <= n.Value && n.Value <= most && n.Least <= n.Most
	if step := n.Number.Step; n.Right != right || !inside || step > 0 && math.Mod(n.Value, float64(step)) != 0 {
		return fmt.Errorf("%g in place of %g, which is %g between %g and %g", n.Value, n.Right, right, least, most)
	}
	return replayable(n.With)
}

func checkMatches(all []replay.Match) error {
	for _, m := range all {
		if n := len(m.Mistakes); n < 1 || n > 2 || strings.Contains(m.Where, "\n") {
			return wrong("Matches", "not one mistake or two")
		}
	}
	return nil
}

// replayable refuses mistakes that have no single output.
func replayable(mistakes []catalogue.Mistake) error {
	for _, m := range mistakes {
		if !m.Replayable() {
			return fmt.Errorf("%s has no single output", m.ID)
		}
	}
	return nil
}

// between reports whether all values lie between two limits.
func between(least, most int, values ...int) bool {
	return !slices.ContainsFunc(values, func(v int) bool { return v < least || v > most })
}

// isProduct reports whether n is the product of some sizes that are not negative.
func isProduct(n int, sizes ...int) bool {
	size, err := attention.Size(sizes)
	return err == nil && size == n
}

package review

import (
	"fmt"
	"math"
	"path"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness"
	"github.com/difftest/difftest/harness/compare"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/report"
)

// What rounding may do; the package comment says why.
const (
	maxTruth   = 1e-12 // of the largest value
	maxWeights = 4     // times as far from the truth as the old ones
	maxSigma   = 2     // times as large, or as small
)

// array compares two .npy files.
func (r *reviewer) array(file string, before, after []byte) (File, error) {
	a, err := fixture.ParseNPY(before)
	if err != nil {
		return File{}, r.before.fail(file, err)
	}
	b, err := fixture.ParseNPY(after)
	if err != nil {
		return File{}, r.after.fail(file, err)
	}
	f := File{Path: file, Kind: Changed, Excess: math.Inf(1)}
	if a.DType != b.DType || !slices.Equal(a.Shape, b.Shape) {
		f.Detail = fmt.Sprintf("%s %s became %s %s", a.DType, attention.FormatShape(a.Shape), b.DType, attention.FormatShape(b.Shape))
		return f, nil
	}
	f.Excess, f.Detail, err = r.excess(file, a, b)
	f.Kind = Rounding
	if !(f.Excess <= 1) {
		f.Kind = Moved
	}
	return f, err
}

// excess says how far an array moved, in units of what rounding may do and in words.
func (r *reviewer) excess(file string, a, b *fixture.Array) (excess float64, detail string, err error) {
	before, errA := a.Float64s()
	after, errB := b.Float64s()
	if errA != nil || errB != nil {
		return discrete(a, b)
	}
	m := measure(a.DType, a.Shape, before, after)
	if m.differing == 0 {
		return 0, sameValues, nil
	}
	c, err := r.roles(file)
	if err != nil {
		return 0, "", err
	}
	excess, allowed := math.Inf(1), "it may not move"
	switch c.of(file) {
	case "truth", "weights_truth":
		moved := m.largest / largest(before)
		excess, allowed = moved/maxTruth, fmt.Sprintf("%.2g of its largest value (at most %.0e)", moved, maxTruth)
	case "output":
		excess, allowed, err = r.judged(c.name, b.Shape, after)
	case "weights":
		excess, allowed, err = r.fromTruth(c, before, after)
	case "sigma":
		factor := norm(after) / norm(before)
		excess, allowed = math.Max(factor, 1/factor)/maxSigma, fmt.Sprintf("%.2f times as large (at most %d)", factor, maxSigma)
	}
	return excess, m.String() + "; " + allowed, err
}

const sameValues = "the same values in other bytes"

// discrete compares arrays of other types than floating-point numbers, which no rounding moves.
func discrete(a, b *fixture.Array) (excess float64, detail string, err error) {
	before, errA := a.Mask()
	after, errB := b.Mask()
	if errA != nil || errB != nil {
		return math.Inf(1), "other bytes; it may not move", nil
	}
	n := 0
	for i, v := range before.Data {
		if v != after.Data[i] {
			n++
		}
	}
	if n == 0 {
		return 0, sameValues, nil
	}
	return math.Inf(1), fmt.Sprintf("%d of %d elements; it may not move", n, len(before.Data)), nil
}

// judged holds a new output against the old case. The verdict decides; z only says by how much.
func (r *reviewer) judged(name string, shape []int, got []float64) (excess float64, said string, err error) {
	c, err := fixture.Read(r.before.FS, name)
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", r.before.Name, err)
	}
	result, err := harness.Judge(c, shape, got)
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", r.before.Name, err)
	}
	z := result.Comparison
	excess = math.Max(z.MaxZ/compare.MaxZ, z.RMSZ/compare.MaxRMSZ)
	if result.Verdict == report.Pass {
		excess = math.Min(excess, 1)
	} else {
		excess = math.Max(excess, math.Nextafter(1, 2))
	}
	return excess, fmt.Sprintf("max z %.3g, rms z %.3g (old %.3g, %.3g)", z.MaxZ, z.RMSZ, result.PyTorch.MaxZ, result.PyTorch.RMSZ), nil
}

// fromTruth compares how far old and new attention weights are from the old float64 ones.
func (r *reviewer) fromTruth(c roles, before, after []float64) (excess float64, said string, err error) {
	file := path.Join(c.name, c.Expected["weights_truth"])
	data, err := r.before.read(file)
	if err != nil {
		return 0, "", err
	}
	a, err := fixture.ParseNPY(data)
	if err != nil {
		return 0, "", r.before.fail(file, err)
	}
	truth, err := a.Float64s()
	if err == nil && len(truth) != len(before) {
		err = fmt.Errorf("%d elements, the weights have %d", len(truth), len(before))
	}
	if err != nil {
		return 0, "", r.before.fail(file, err)
	}
	oldRMS, oldMost := offset(before, truth)
	newRMS, newMost := offset(after, truth)
	factor := math.Max(newRMS/oldRMS, newMost/oldMost)
	return factor / maxWeights, fmt.Sprintf("%.2f times as far from the float64 ones (at most %d)", factor, maxWeights), nil
}

// offset is how far values are from others: the root of the sum of squares, and the largest.
func offset(values, truth []float64) (root, most float64) {
	off := make([]float64, len(values))
	for i, v := range values {
		off[i] = distance(v, truth[i])
		most = math.Max(most, off[i])
	}
	return norm(off), most
}

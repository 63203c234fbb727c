package review

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// The limits of rounding; the package comment gives the reasons.
const (
	maxTruth = 1e-12 // of the largest value
	maxSigma = 2     // a factor, up or down
)

// array compares two .npy files.
func (r *reviewer) array(file string, before, after []byte) (File, error) {
	a, err := parse(before)
	if err != nil {
		return File{}, r.before.fail(file, err)
	}
	b, err := parse(after)
	if err != nil {
		return File{}, r.after.fail(file, err)
	}
	f := File{Path: file, Kind: Changed, Excess: math.Inf(1)}
	if a.DType != b.DType || !slices.Equal(a.Shape, b.Shape) {
		f.Detail = fmt.Sprintf("%s %s became %s %s",
			a.DType, attention.FormatShape(a.Shape), b.DType, attention.FormatShape(b.Shape))
		return f, nil
	}
	f.Excess, f.Detail, err = r.excess(file, a, b)
	f.Kind = Rounding
	if !(f.Excess <= 1) {
		f.Kind = Moved
	}
	return f, err
}

// parse reads a .npy file. In a suite, uint16 has one meaning: the bits of bfloat16.
func parse(data []byte) (*npy.Array, error) {
	a, err := npy.Parse(data)
	if err == nil && a.DType == fixture.Uint16 {
		return a.BFloat16()
	}
	return a, err
}

// excess returns how far an array moved, as a multiple of the limit and in words.
func (r *reviewer) excess(file string, a, b *npy.Array) (excess float64, detail string, err error) {
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
		excess = moved / maxTruth
		allowed = fmt.Sprintf("%.2g of its largest value (at most %.0e)", moved, maxTruth)
	case "output":
		excess, allowed, err = r.judge(c.name, b.Shape, after)
	case "weights":
		excess, allowed, err = r.judgeWeights(c.name, b.Shape, after)
	case "sigma":
		factor := norm(after) / norm(before)
		excess = math.Max(factor, 1/factor) / maxSigma
		allowed = fmt.Sprintf("%.2f times as large (at most %d)", factor, maxSigma)
	}
	return excess, m.String() + "; " + allowed, err
}

const sameValues = "the same values in other bytes"

// discrete compares arrays of integers or booleans, which rounding does not move.
func discrete(a, b *npy.Array) (excess float64, detail string, err error) {
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

// judge judges a new output by the old case.
func (r *reviewer) judge(name string, shape []int, got []float64) (excess float64, said string, err error) {
	c, err := fixture.Read(r.before.FS, name)
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", r.before.Name, err)
	}
	referee, err := judge.New(context.Background(), c, oracle.Precision{})
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", r.before.Name, err)
	}
	result, err := referee.Compare(shape, got)
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", r.before.Name, err)
	}
	z, old := result.Comparison, result.PyTorch
	said = fmt.Sprintf("max z %.3g (at most %g; old %.3g), rms z %.3g (at most %g; old %.3g)",
		z.MaxZ, z.Limits.Z, old.MaxZ, z.RMSZ, z.Limits.RMS, old.RMSZ)
	return math.Max(z.MaxZ/z.Limits.Z, z.RMSZ/z.Limits.RMS), said, nil
}

// judgeWeights judges new attention weights by the old case.
func (r *reviewer) judgeWeights(name string, shape []int, got []float64) (excess float64, said string, err error) {
	c, err := fixture.Read(r.before.FS, name)
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", r.before.Name, err)
	}
	findings, err := judge.Weights(c, oracle.Precision{}, shape, got)
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", r.before.Name, err)
	}
	if len(findings) > 0 {
		return math.Inf(1), strings.Join(findings, "; "), nil
	}
	return 0, "within the noise", nil
}

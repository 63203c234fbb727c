package oracle_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/x448/float16"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/variant"
)

// calibration is a run of every correct implementation on random cases.
type calibration struct {
	name      string
	seed      uint64
	cases     int // in a full campaign
	draw      func(*rand.Rand) *oracle.Problem
	precision oracle.Precision
	// lower makes an implementation compute in the precision.
	lower func(variant.Variant) variant.Variant

	// The rms z of every output must lie within least and most. The noisiest output of every case
	// must reach noisiest.
	least, most, noisiest float64
}

var calibrations = []calibration{
	{"layers", 20260101, 2000, randomLayer, oracle.Precision{}, exactly, 0.12, 1.2, 0.2},
	{"decoders", 20260101, 1500, randomDecoder, oracle.Precision{}, exactly, 0.12, 1.2, 0.2},
	{"layers in float16", 20260102, 300, randomLayer, oracle.Float16, storing(toFloat16), 0.1, 1.5, 0},
	{"layers in bfloat16", 20260102, 300, randomLayer, oracle.BFloat16, storing(variant.BFloat16), 0.1, 1.5, 0},
	{
		"layers in TensorFloat-32", 20260102, 300, randomLayer,
		oracle.TensorFloat32, multiplying(variant.TensorFloat32), 0.1, 1.5, 0,
	},
}

// The noise model is calibrated. Over random shapes, weights, inputs and masks no correct
// implementation is refused, and rms z stays near one. A model that allows too much would show as a
// small rms z. A full campaign must also measure what CALIBRATION.md says.
func TestCalibration(t *testing.T) {
	campaign.SkipShort(t)
	for _, c := range calibrations {
		t.Run(c.name, func(t *testing.T) {
			all := c.run(t, casesOf(c.cases))
			t.Logf("largest z %.2f, rms z from %.3f to %.3f, of the noisiest outputs from %.3f",
				all.maxZ, all.least, all.most, all.noisiest)
			if !(all.least >= c.least && all.most <= c.most) {
				t.Errorf("rms z from %.3f to %.3f, want within %g to %g", all.least, all.most, c.least, c.most)
			}
			if !(all.noisiest >= c.noisiest) {
				t.Errorf("rms z of the noisiest outputs from %.3f, want at least %g", all.noisiest, c.noisiest)
			}
			if campaign.Full() {
				text, err := os.ReadFile("../../CALIBRATION.md")
				require.NoError(t, err)
				require.Contains(t, string(text), c.tableRow(all), "CALIBRATION.md")
			}
		})
	}
}

// casesOf returns how many cases of a full campaign are drawn.
func casesOf(full int) int {
	switch {
	case campaign.Full():
		return full
	case testing.Short():
		return full / 40
	}
	return full / 25
}

// tableRow returns the row of CALIBRATION.md.
func (c calibration) tableRow(all extremes) string {
	return fmt.Sprintf("| %s | %d | %d | %d | %.1f | %.2f to %.2f | %.0e to %.0e |",
		c.name, c.seed, c.cases, c.cases*len(variant.Correct),
		all.maxZ, all.least, all.most, all.leastSigma, all.mostSigma)
}

// exactly leaves a variant in float32.
func exactly(v variant.Variant) variant.Variant { return v }

// storing rounds every value that is stored.
func storing(round func(float32) float32) func(variant.Variant) variant.Variant {
	return func(v variant.Variant) variant.Variant {
		v.Store = round
		return v
	}
}

func toFloat16(x float32) float32 { return float16.Fromfloat32(x).Float32() }

// multiplying rounds both factors of every product.
func multiplying(round func(float32) float32) func(variant.Variant) variant.Variant {
	all := func(values []float32) []float32 {
		out := make([]float32, len(values))
		for i, v := range values {
			out[i] = round(v)
		}
		return out
	}
	return func(v variant.Variant) variant.Variant {
		dot := v.Dot
		if dot == nil {
			dot = variant.Sequential
		}
		v.Dot = func(a, b []float32) float32 { return dot(all(a), all(b)) }
		v.BiasFirst = false // a bias is no factor
		return v
	}
}

// extremes are taken over the outputs of all implementations on all cases.
type extremes struct {
	maxZ        float64
	least, most float64 // rms z of an output
	// noisiest is the smallest rms z, over the cases, of the noisiest output of a case. A sum that
	// ends with a large bias has far less noise than one that begins with it.
	noisiest float64
	// leastSigma and mostSigma are the extremes of RMS(sigma) / RMS(truth).
	leastSigma, mostSigma float64
}

// run compares every implementation with the truth on so many cases.
func (c calibration) run(t *testing.T, cases int) extremes {
	t.Helper()
	results := make([]extremes, cases)
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for n := w; n < cases; n += workers {
				results[n] = c.runCase(t, n)
			}
		})
	}
	wg.Wait()
	all := results[0]
	for _, e := range results[1:] {
		all.maxZ, all.noisiest = math.Max(all.maxZ, e.maxZ), math.Min(all.noisiest, e.noisiest)
		all.least, all.most = math.Min(all.least, e.least), math.Max(all.most, e.most)
		all.leastSigma = math.Min(all.leastSigma, e.leastSigma)
		all.mostSigma = math.Max(all.mostSigma, e.mostSigma)
	}
	return all
}

func (c calibration) runCase(t *testing.T, n int) extremes {
	t.Helper()
	p := c.draw(rand.New(rand.NewPCG(c.seed, uint64(n))))
	truth := p.In(c.precision).Run().Expected()
	sigma := num.RMS(truth.Sigma) / num.RMS(truth.Value)
	e := extremes{least: math.Inf(1), leastSigma: sigma, mostSigma: sigma}
	for _, v := range variant.Correct {
		got := compare.Outputs(truth.Shape, c.lower(v).Run(p), truth)
		if !got.OK() {
			t.Errorf("case %d, %s: max z %.3g, rms z %.3g: false alarm", n, v.Name, got.MaxZ, got.RMSZ)
		}
		e.maxZ = math.Max(e.maxZ, got.MaxZ)
		e.least, e.most = math.Min(e.least, got.RMSZ), math.Max(e.most, got.RMSZ)
	}
	e.noisiest = e.most
	return e
}

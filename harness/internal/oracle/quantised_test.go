package oracle_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/variant"
)

// Numbers of the types of 8 bits are rounded as their definition says: significant bits, the step
// below the smallest normal number, the largest number, ties to even.
func TestFloat8(t *testing.T) {
	for in, want := range map[float64]float64{
		1.0625: 1, 1.1875: 1.25, -1.3: -1.25, 0: 0, 1000: 448, -1000: -448,
		0x1p-9: 0x1p-9, 0x1.8p-10: 0x1p-9, 0x1p-11: 0,
	} {
		require.Equal(t, want, oracle.ToE4M3(in), "e4m3 of %g", in)
	}
	for in, want := range map[float64]float64{
		1.125: 1, 1.375: 1.5, -1.3: -1.25, 1e6: 57344, 0x1p-16: 0x1p-16, 0x1p-18: 0,
	} {
		require.Equal(t, want, oracle.ToE5M2(in), "e5m2 of %g", in)
	}
}

// toInt8 rounds each group of neighbouring values to 127 steps of its largest.
func toInt8(values []float64, group int) []float64 {
	var out []float64
	for at := 0; at < len(values); at += group {
		step := 0.0
		for _, v := range values[at:][:group] {
			step = math.Max(step, math.Abs(v)/127)
		}
		for _, v := range values[at:][:group] {
			out = append(out, step*math.RoundToEven(v/step))
		}
	}
	return out
}

func each(values []float64, round func(float64) float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = round(v)
	}
	return out
}

// A cache of 8 bits is within the noise of its declaration, whatever its scales are for, and
// outside float32's. Values of another sign are outside both.
func TestADeclaredCacheOfFewerBits(t *testing.T) {
	tried := 0
	for n := uint64(0); tried < 12; n++ {
		p := randomDecoder(rand.New(rand.NewPCG(20261104, n)))
		if p.Past == nil {
			continue
		}
		tried++
		width := p.Past.Key.Shape[3]
		head, all := width*p.Past.Key.Shape[2], len(p.Past.Key.Value)
		for name, way := range map[string]struct {
			declared oracle.Precision
			round    func([]float64) []float64
		}{
			"int8 by token":  {oracle.Int8Cache, func(v []float64) []float64 { return toInt8(v, width) }},
			"int8 by head":   {oracle.Int8Cache, func(v []float64) []float64 { return toInt8(v, head) }},
			"int8 by tensor": {oracle.Int8Cache, func(v []float64) []float64 { return toInt8(v, all) }},
			"e4m3":           {oracle.E4M3Cache, func(v []float64) []float64 { return each(v, oracle.ToE4M3) }},
			"e5m2":           {oracle.E5M2Cache, func(v []float64) []float64 { return each(v, oracle.ToE5M2) }},
		} {
			q := p.Fork()
			q.Past = &oracle.Past{
				Key:   oracle.Array{Shape: p.Past.Key.Shape, Value: way.round(p.Past.Key.Value)},
				Value: oracle.Array{Shape: p.Past.Value.Shape, Value: way.round(p.Past.Value.Value)},
			}
			got := variant.Variant{}.Run(q)
			wide, narrow := p.In(way.declared).Run().Expected(), p.Run().Expected()
			c := compare.Outputs(wide.Shape, got, wide)
			require.True(t, c.OK(), "%s, case %d: max z %g, rms z %g", name, n, c.MaxZ, c.RMSZ)
			require.False(t, compare.Outputs(narrow.Shape, got, narrow).OK(), "%s, case %d", name, n)
			q.Past.Value.Value = each(p.Past.Value.Value, func(v float64) float64 { return -v })
			require.False(t, compare.Outputs(wide.Shape, variant.Variant{}.Run(q), wide).OK(), "%s, case %d", name, n)
		}
	}
}

package harness

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/compare"
	"github.com/difftest/difftest/harness/diagnose"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/internal/variant"
	"github.com/difftest/difftest/harness/oracle"
	"github.com/difftest/difftest/harness/report"
)

func TestZZ(t *testing.T) {
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	for _, name := range names {
		r, err := newReferee(readCase(t, name))
		require.NoError(t, err)
		if r.reference == nil || r.c.Op == fixture.SDPA {
			continue
		}
		for m := range 4 {
			for _, what := range []string{"whole", "head", "bias"} {
				p := oracle.FromCase(r.c).Clone()
				if !redrawPart(p, m, what) {
					continue
				}
				start := time.Now()
				res := judgedOutput(t, r, variant.Variant{}.Run(p))
				if res.Verdict == report.Pass {
					continue
				}
				d := res.Diagnosis
				var holds []string
				for _, f := range d.Fits {
					if f.Explains() {
						holds = append(holds, f.Freed)
					}
				}
				fmt.Printf("%-40s %d %-6s class %-15s matches %v stage %s %dms\n    holds %s\n     %s\n", name, m, what, d.Class, matchedIDs(d), d.Stage, time.Since(start).Milliseconds(), strings.Join(holds, " | "), strings.Join(d.Reasons, "\n     "))
			}
		}
	}
}

// judgedOutput is the verdict on an output in the oracle's order.
func judgedOutput(t *testing.T, r *referee, y []float64) report.Result {
	t.Helper()
	shape := oracle.FromCase(r.c).Run().Shape
	arranged := inOrder(r.c, compare.Expected{Shape: shape, Value: y, Sigma: y})
	res, err := r.judge(t.Context(), arranged.Shape, arranged.Value)
	require.NoError(t, err)
	return res
}

// redrawPart draws a map, the part of its last head, or its bias anew, of the same size.
func redrawPart(p *oracle.Problem, m int, what string) bool {
	l := p.Layer
	linear := l.Linears()[m]
	r := rand.New(rand.NewPCG(11, uint64(m)))
	heads := l.Heads
	if m == 1 || m == 2 {
		heads = l.KVHeads
	}
	if what == "bias" && linear.Bias == nil || what == "head" && heads == 1 {
		return false
	}
	values := linear.Weight
	if what == "bias" {
		values = linear.Bias
	}
	var squares float64
	for _, w := range values {
		squares += w * w
	}
	std := math.Sqrt(squares / float64(len(values)))
	for i := range values {
		inHead := i/linear.In*heads/linear.Out == heads-1
		if m == 3 {
			inHead = i%linear.In*heads/linear.In == heads-1
		}
		if what != "head" || inHead {
			values[i] = float64(float32(std * r.NormFloat64()))
		}
	}
	return true
}

var _ = slices.Clone[[]int]
var _ diagnose.Class

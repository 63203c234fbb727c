package fit

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/variant"
)

// fault is a wrong output of a layer whose value and output parameters are right.
type fault struct {
	name string
	// problem changes the computation; nil if the fault is in the output alone. It reports false if
	// there is nothing to change.
	problem func(p *oracle.Problem) bool
	// below is the first projection that must not be named: 0, unless scores have other parameters.
	below Projection
	// output changes the output; nil if it does not.
	output func(p *oracle.Problem, t oracle.Trace, y []float64)
}

// faults are mistakes of the masks and of the softmax, some of them in no catalogue, and random
// noise.
func faults() []fault {
	list := slices.Concat(hiddenKeys(), noises())
	for _, m := range catalogue.Mistakes {
		if (m.Family == catalogue.Masks || m.Family == catalogue.Softmax) && m.Replayable() {
			list = append(list, fault{name: m.ID, problem: func(p *oracle.Problem) bool { return m.Plant(p, nil) }})
		}
	}
	return list
}

// hiddenKeys hide a key that should be seen.
func hiddenKeys() []fault {
	hide := func(name string, hidden func(p *oracle.Problem, batch, key int) bool) fault {
		return fault{name: name, problem: func(p *oracle.Problem) bool {
			keys := p.Key.Shape[1]
			if p.Past != nil {
				return false
			}
			padding := attention.NewMask(p.Key.Shape[0], keys)
			for i := range padding.Data {
				was := p.Padding != nil && p.Padding.Data[i]
				padding.Data[i] = was || hidden(p, i/keys, i%keys)
			}
			p.Padding = padding
			return true
		}}
	}
	zero := func(m Projection) fault {
		return fault{name: m.String() + " weight zero", below: ValueProjection, problem: func(p *oracle.Problem) bool {
			clear(p.Layer.Projections()[m].Weight)
			return true
		}}
	}
	return []fault{
		zero(QueryProjection), zero(KeyProjection),
		hide("the last key hidden", func(p *oracle.Problem, _, key int) bool { return key == p.Key.Shape[1]-1 }),
		hide("key 1 hidden", func(_ *oracle.Problem, _, key int) bool { return key == 1 }),
		hide("the last but one hidden in one element", func(p *oracle.Problem, batch, key int) bool {
			return batch == 1 && key == p.Key.Shape[1]-2
		}),
		hide("keys 2 and 3 hidden in two elements", func(_ *oracle.Problem, batch, key int) bool {
			return batch < 2 && (key == 2 || key == 3)
		}),
	}
}

// noises add random numbers to a part of the right output, in several sizes.
func noises() []fault {
	var list []fault
	for _, size := range []float64{1e-4, 0.05, 1} {
		for where, within := range map[string]func(p *oracle.Problem, batch, row, feature int) bool{
			"one element": func(_ *oracle.Problem, batch, _, _ int) bool { return batch == 1 },
			"one row":     func(_ *oracle.Problem, batch, row, _ int) bool { return batch == 1 && row == 2 },
			"one feature": func(_ *oracle.Problem, _, _, feature int) bool { return feature == 3 },
			"all rows 2":  func(_ *oracle.Problem, _, row, _ int) bool { return row == 2 },
		} {
			list = append(list, fault{
				name: fmt.Sprintf("noise of %g in %s", size, where),
				output: func(p *oracle.Problem, _ oracle.Trace, y []float64) {
					r := rand.New(rand.NewPCG(3, uint64(1e6*size)))
					by, rows, width := size*num.RMS(finite(y)), p.Query.Shape[1], p.Layer.Output.Out
					for i := range y {
						if within(p, i/width/rows, i/width%rows, i%width) {
							y[i] = float64(float32(y[i] + by*r.NormFloat64()))
						}
					}
				},
			})
		}
		list = append(list, fault{name: fmt.Sprintf("noise of %g in one head", size), output: noisyHead(size)})
	}
	slices.SortFunc(list, func(a, b fault) int { return strings.Compare(a.name, b.name) })
	return list
}

// noisyHead adds random numbers to the context of the last head.
func noisyHead(size float64) func(p *oracle.Problem, t oracle.Trace, y []float64) {
	return func(p *oracle.Problem, t oracle.Trace, y []float64) {
		r := rand.New(rand.NewPCG(4, uint64(1e6*size)))
		by, w := size*num.RMS(finite(t.Context)), p.Layer.Output
		for row := range len(y) / w.Out {
			for c := w.In - t.ValueWidth; c < w.In; c++ {
				d := by * r.NormFloat64()
				for o := range w.Out {
					y[row*w.Out+o] += d * w.Weight[o*w.In+c]
				}
			}
		}
		for i, v := range y {
			y[i] = float64(float32(v))
		}
	}
}

// finite returns the values that are numbers.
func finite(values []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v != v })
}

// made computes a fault in float32; nil if there is nothing to get wrong.
func (f fault) made(p *oracle.Problem, t oracle.Trace) []float64 {
	wrong := p.Clone()
	if f.problem != nil && !f.problem(wrong) {
		return nil
	}
	var y []float64
	if variant.Expresses(wrong) {
		y = variant.Variant{}.Run(wrong)
	} else {
		y = wrong.Run().Value
		for i, v := range y {
			y[i] = float64(float32(v))
		}
	}
	if f.output != nil {
		f.output(p, t, y)
	}
	return y
}

// No parameter is blamed for a mistake of the masks or of the softmax, or for random noise, on
// cases that are padded or whose memory is another sequence: there, keys that few rows see leave
// least squares much freedom.
func TestFaultsThatAreNoParameters(t *testing.T) {
	campaign.SkipShort(t)
	seen, all := 0, layers(t)
	for n, name := range slices.Sorted(maps.Keys(all)) {
		p := all[name]
		if !strings.Contains(name, "padding") && !strings.Contains(name, "cross") {
			continue
		}
		trace := p.Trace()
		for k, f := range faults() {
			if (n+k)%oneIn(30) > 0 {
				continue
			}
			got := f.made(p, trace)
			if got == nil {
				continue
			}
			at, wrong := localised(p, trace, got)
			if wrong {
				seen++
			}
			for _, m := range at.named() {
				require.Less(t, m, f.below, "%s, %s: %v", name, f.name, at.reasons())
			}
		}
	}
	t.Logf("%d outputs", seen)
	if campaign.Full() {
		require.GreaterOrEqual(t, seen, 120)
	} else {
		require.GreaterOrEqual(t, seen, 20)
	}
}

// oneIn returns the step from one trial to the next: 6 in a full campaign, and plain otherwise.
func oneIn(plain int) int {
	if campaign.Full() {
		return 6
	}
	return plain
}

// parameterChange changes a projection, or a part of it. It reports false if there is no such part.
type parameterChange struct {
	name   string
	change func(l *oracle.Linear, r *rand.Rand) bool
}

var changes = []parameterChange{
	{"all of it", func(l *oracle.Linear, r *rand.Rand) bool {
		size := num.RMS(l.Weight)
		for i := range l.Weight {
			l.Weight[i] = size * r.NormFloat64()
		}
		return true
	}},
	{"one row", func(l *oracle.Linear, r *rand.Rand) bool {
		size, o := num.RMS(l.Weight), r.IntN(l.Out)
		for i := range l.In {
			l.Weight[o*l.In+i] = size * r.NormFloat64()
		}
		return true
	}},
	{"one column", func(l *oracle.Linear, r *rand.Rand) bool {
		size, i := num.RMS(l.Weight), r.IntN(l.In)
		for o := range l.Out {
			l.Weight[o*l.In+i] = size * r.NormFloat64()
		}
		return true
	}},
	{"one element", func(l *oracle.Linear, r *rand.Rand) bool {
		l.Weight[r.IntN(len(l.Weight))] += num.RMS(l.Weight)
		return true
	}},
	{"a little", func(l *oracle.Linear, r *rand.Rand) bool {
		size := num.RMS(l.Weight)
		for i := range l.Weight {
			l.Weight[i] += 1e-3 * size * r.NormFloat64()
		}
		return true
	}},
	{"half as large", func(l *oracle.Linear, _ *rand.Rand) bool {
		for i := range l.Weight {
			l.Weight[i] /= 2
		}
		return true
	}},
	{"bias", func(l *oracle.Linear, r *rand.Rand) bool {
		size := num.RMS(l.Bias)
		for i := range l.Bias {
			l.Bias[i] = size * r.NormFloat64()
		}
		return l.Bias != nil
	}},
	{"one element of the bias", func(l *oracle.Linear, r *rand.Rand) bool {
		if l.Bias == nil {
			return false
		}
		l.Bias[r.IntN(len(l.Bias))] += num.RMS(l.Weight)
		return true
	}},
}

// A parameter that is another is named, alone or with others that the case cannot tell apart: all
// of it, a row, a column, an element, or all of it a little.
func TestOtherParametersAreNamed(t *testing.T) {
	campaign.SkipShort(t)
	var named atomic.Int64
	t.Run("cases", func(t *testing.T) {
		all := layers(t)
		for n, name := range slices.Sorted(maps.Keys(all)) {
			if strings.HasPrefix(name, "samples/") {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for k, c := range changes {
					for m := QueryProjection; m <= OutputProjection; m++ {
						if (n+k+int(m))%oneIn(72) == 0 {
							named.Add(c.tried(t, all[name], m, rand.New(rand.NewPCG(uint64(n), uint64(k)))))
						}
					}
				}
			})
		}
	})
	t.Logf("%d named", named.Load())
	if campaign.Full() {
		require.GreaterOrEqual(t, named.Load(), int64(120))
	} else {
		require.GreaterOrEqual(t, named.Load(), int64(6))
	}
}

// tried makes a change and requires that no other parameter is named alone. It returns 1 if the
// changed parameter is named.
func (c parameterChange) tried(t *testing.T, p *oracle.Problem, m Projection, r *rand.Rand) int64 {
	wrong := p.Clone()
	if !c.change(wrong.Layer.Projections()[m], r) {
		return 0
	}
	at, seen := localised(p, p.Trace(), variant.Variant{}.Run(wrong))
	if named := at.named(); seen && len(named) > 0 {
		// A smaller value weight is a smaller output weight, which an uncertain fit does not show.
		either := c.name == "half as large" && m >= ValueProjection && named[0] >= ValueProjection
		if !slices.Contains(named, m) && !either {
			t.Errorf("the %s has another %s, and the fits say: %v", m, c.name, at.reasons())
		}
		return 1
	}
	return 0
}

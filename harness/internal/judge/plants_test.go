package judge

// These tests judge deliberately wrong implementations of many kinds, and check the diagnosis of
// each.

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/variant"
)

// plant is a wrong implementation: a float32 variant of a changed problem, with a changed output.
type plant struct {
	name    string
	variant variant.Variant
	// change changes the problem. It reports false if there is nothing to change on the case.
	change func(p *oracle.Problem) bool
	output func(shape []int, y []float64)
	// residual adds the query to the output, and bypass returns the query instead of it.
	residual, bypass bool

	classes []diagnose.Class // the classes that are right; unclear and dead always are
	match   string           // the mistake that must be named; "" for none
	// unsure allows an output without a name: its own rounding may hide the mistake, or the case
	// may have too few numbers to tell.
	unsure bool
}

var (
	unclear  = []diagnose.Class{diagnose.Unclear}
	layout   = []diagnose.Class{diagnose.WrongLayout}
	rounding = []diagnose.Class{diagnose.Rounding}
	// Parameters that are slightly off look like rounding unless they are found.
	slightlyOff = []diagnose.Class{diagnose.Rounding, diagnose.WrongWeights}
	// A mask of finfo.min overflows when it is rounded to fewer bits.
	lowPrecision = []diagnose.Class{diagnose.Rounding, diagnose.NonFinite}
	missing      = []diagnose.Class{diagnose.MissingFeature}
	dead         = []diagnose.Class{diagnose.Dead}

	// Some scrambled weights leave the output as far off as random ones do, and some do not. A gain
	// of the output, or of one feature, looks like another output weight.
	weights = []diagnose.Class{diagnose.WrongWeights, diagnose.Unclear}
	// A number of the case may give the output: another window, or a shifted diagonal.
	number = []diagnose.Class{diagnose.MissingFeature, diagnose.Unclear, diagnose.WrongNumber}
)

// Every plant is named by its mistake, or not at all. If a case cannot tell several mistakes apart,
// all of them are named. A case that cannot see the plant passes it.
//
// The full campaign judges each plant on every third case and on the representative ones. If pairs
// of mistakes are searched, it stops after eight representative cases that see the plant. The plain
// run stops after one or two.
func TestClassesOfPlants(t *testing.T) {
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	var all, few []*Referee
	for n, name := range names {
		isFew := slices.Contains(representative, name)
		if !isFew && (n%3 > 0 || !campaign.Full()) || harnesstest.IsModule(name) {
			continue
		}
		r, err := New(t.Context(), harnesstest.ReadCase(t, name), oracle.Precision{})
		require.NoError(t, err)
		all = append(all, r)
		if isFew {
			few = append(few, r)
		}
	}
	require.Len(t, few, len(representative))
	for n, p := range plants() {
		t.Run(p.name, func(t *testing.T) {
			if p.searched() && testing.Short() {
				t.Skip("pairs take minutes with the race detector")
			}
			t.Parallel()
			referees, enough, least := all, len(all), 2
			if p.searched() || testing.Short() {
				referees, enough = rotated(few, 5*n), 8
			}
			if !campaign.Full() {
				referees, enough = rotated(few, 5*n), 2
				if p.searched() {
					enough, least = 1, 1
				}
			}
			seen, named := p.judgeOn(t, referees, enough)
			require.GreaterOrEqual(t, seen, least, "too few cases see it")
			if p.unsure && campaign.Full() {
				require.GreaterOrEqual(t, 4*named, 3*seen, "a name on %d of %d cases that see it", named, seen)
			}
		})
	}
}

// judgeOn judges and checks the plant, until enough cases have seen it.
func (p plant) judgeOn(t *testing.T, referees []*Referee, enough int) (seen, named int) {
	t.Helper()
	for _, referee := range referees {
		r, applies := p.judge(t, referee)
		if !applies || r.Verdict == report.Pass {
			continue
		}
		seen++
		p.check(t, referee.c, r)
		if len(r.Diagnosis.Matches) > 0 {
			named++
		}
		if seen == enough {
			break
		}
	}
	return seen, named
}

// rotated begins a list at another place.
func rotated[T any](list []T, by int) []T {
	by %= len(list)
	return slices.Concat(list[by:], list[:by])
}

// representative cases are one or two of every family. On them every pair of mistakes is tried.
var representative = []string{
	"decoder/cache", "decoder/gemma", "decoder/qwen-biases", "layouts/gpt", "mha/causal-left-padding",
	"mha/cross-kdim", "mha/fast-left-padding", "mha/hot", "mha/sequence-first", "mha/unmasked",
	"samples/forward-batch-packed-mask", "sdpa/bool-mask", "sdpa/bool-mask-whole",
	"sdpa/causal-rectangular", "sdpa/float-mask", "sdpa/float-mask-keys",
}

// searched reports whether no single mistake explains the plant, so that pairs are tried.
func (p plant) searched() bool { return p.match == "" || p.unsure || strings.Contains(p.match, "+") }

func (p plant) check(t *testing.T, c *fixture.Case, r report.Result) {
	t.Helper()
	d, named := r.Diagnosis, strings.Fields(matchedIDs(r.Diagnosis))
	may := append(p.classes, diagnose.Unclear, diagnose.Dead)
	if c.EmptyRow() == attention.EmptyNaN && p.match == "" {
		may = append(may, diagnose.NonFinite) // the plant moves NaN to where no mistake brings it
	}
	if !slices.Contains(may, d.Class) {
		t.Errorf("%s: class %s: %s", r.Case, d.Class, d.Reasons)
	}
	if d.Class == diagnose.Dead {
		return // a proof that needs no name: the output is constant
	}
	if len(named) > 0 && !slices.Contains(named, p.match) && !p.same(c, d.Matches[0]) {
		t.Errorf("%s: named %s: %s", r.Case, named, d.Reasons)
	}
	if len(named) == 0 && p.match != "" && !p.unsure {
		t.Errorf("%s: not named: %s", r.Case, d.Reasons)
	}
	explained := len(named) > 0 || slices.ContainsFunc(d.Fits, fit.Fit.Explains)
	told := d.Class != diagnose.Unclear && d.Class != diagnose.MissingFeature
	if d.Unexplained == (explained || told) {
		t.Errorf("%s: class %s, named %s, unexplained %t", r.Case, d.Class, named, d.Unexplained)
	}
}

// same reports whether a match is this plant on this case: the oracle gives both the same output.
// For instance, three keys ahead may be all keys.
func (p plant) same(c *fixture.Case, m replay.Match) bool {
	changesMore := p.output != nil || p.residual || p.bypass ||
		p.variant.SplitIndex != nil || p.variant.MergeIndex != nil
	if p.change == nil || changesMore {
		return false
	}
	problem := oracle.FromCase(c)
	planted, mistaken := problem.Clone(), problem.Clone()
	p.change(planted)
	for _, mistake := range m.Mistakes {
		mistake.Plant(mistaken, nil)
	}
	return slices.Equal(planted.Run().Value, mistaken.Run().Value)
}

func (p plant) judge(t *testing.T, by *Referee) (r report.Result, applies bool) {
	t.Helper()
	c := by.c
	problem := oracle.FromCase(c).Clone()
	if p.change != nil && !p.change(problem) {
		return r, false
	}
	shape := oracle.FromCase(c).Run().Shape
	y := p.variant.Run(problem)
	if p.output != nil {
		p.output(shape, y)
	}
	if p.residual || p.bypass {
		query := problem.Query.Value
		if len(query) != len(y) {
			return r, false
		}
		for i, v := range query {
			if p.bypass {
				y[i] = 0
			}
			y[i] += v
		}
	}
	arranged := inLayout(c, compare.Expected{Shape: shape, Value: y, Sigma: y})
	r, err := by.Judge(t.Context(), arranged.Shape, arranged.Value)
	require.NoError(t, err)
	return r, true
}

// rounded returns a dot product that rounds both factors of every product first.
func rounded(to func(float32) float32, dot func(a, b []float32) float32) func(a, b []float32) float32 {
	all := func(values []float32) []float32 {
		out := make([]float32, len(values))
		for i, v := range values {
			out[i] = to(v)
		}
		return out
	}
	return func(a, b []float32) float32 { return dot(all(a), all(b)) }
}

// split returns a variant that splits heads in its own way, and splitAndMerge one that merges them
// in the same way.
func split(place func(s variant.Sizes, h, t, e int) int) variant.Variant {
	return variant.Variant{SplitIndex: place}
}

func splitAndMerge(place func(s variant.Sizes, h, t, e int) int) variant.Variant {
	return variant.Variant{SplitIndex: place, MergeIndex: place}
}

func plants() []plant {
	untransposed := func(s variant.Sizes, h, t, e int) int { return (h*s.Length+t)*s.Width + e }
	strided := func(s variant.Sizes, h, t, e int) int { return (t*s.Width+e)*s.Heads + h }
	reversed := func(s variant.Sizes, h, t, e int) int { return (t*s.Heads+s.Heads-1-h)*s.Width + e }
	return []plant{
		{name: "causal mask missing", change: causalMask(nil), classes: missing, match: "causal-missing"},
		{name: "only later keys", change: causalMask(func(i, j int) bool { return j > i }),
			classes: missing, match: "causal-inverted"},
		{name: "triu", change: causalMask(func(i, j int) bool { return j >= i }),
			classes: missing, match: "causal-transposed"},
		{name: "diagonal hidden", change: causalMask(func(i, j int) bool { return j < i }),
			classes: missing, match: "causal-self-hidden"},
		{name: "one key ahead", change: causalMask(func(i, j int) bool { return j < i+2 }),
			classes: missing, match: "causal-next-seen"},
		{name: "three keys ahead", change: causalMask(func(i, j int) bool { return j <= i+3 }), classes: number},
		{name: "window of two", change: causalMask(func(i, j int) bool { return j <= i && j > i-2 }), classes: number},
		{name: "causal where it does not belong", change: func(p *oracle.Problem) bool {
			had := p.Causal != nil
			p.Causal = past
			return !had
		}, classes: missing, match: "causal-added"},
		{name: "padding ignored", change: func(p *oracle.Problem) bool {
			had := p.Padding != nil
			p.Padding = nil
			return had
		}, classes: missing, match: "padding-ignored"},
		{name: "boolean mask ignored", change: func(p *oracle.Problem) bool {
			had := p.Allow != nil
			p.Allow = nil
			return had
		}, classes: missing, match: "mask-ignored"},
		{name: "additive mask ignored", change: func(p *oracle.Problem) bool {
			had := p.Bias != nil
			p.Bias = nil
			return had
		}, classes: missing, match: "bias-ignored"},
		{name: "scale missing", change: func(p *oracle.Problem) bool { p.Scale = 1; return true },
			classes: missing, match: "scale-missing"},
		{name: "padding and causal mask missing", change: func(p *oracle.Problem) bool {
			had := p.Padding != nil && p.Causal != nil
			p.Padding, p.Causal = nil, nil
			return had
		}, classes: missing, match: "causal-missing+padding-ignored"},
		{name: "heads split strided without the scale", variant: split(strided), change: func(p *oracle.Problem) bool {
			was := p.Scale
			p.Scale = 1
			return p.Layer != nil && was != 1
		}, classes: unclear, match: "heads-split-strided+scale-missing"},

		{name: "scale applied twice", change: func(p *oracle.Problem) bool {
			was := p.Scale
			p.Scale *= was
			return was != 1
		}, classes: missing, match: "scale-twice"},
		{name: "scale 0.1 % off", change: func(p *oracle.Problem) bool { p.Scale *= 1.001; return true },
			classes: number},
		{name: "half as many heads", change: halfTheHeads, classes: unclear},
		{name: "heads split untransposed", variant: split(untransposed), change: layer(nil),
			classes: layout, match: "heads-split-untransposed"},
		{name: "heads merged untransposed", variant: variant.Variant{MergeIndex: untransposed}, change: layer(nil),
			classes: layout, match: "heads-merge-untransposed"},
		{name: "heads untransposed", variant: splitAndMerge(untransposed), change: layer(nil),
			classes: layout, match: "heads-untransposed"},
		{name: "heads split strided", variant: split(strided), change: layer(nil),
			classes: layout, match: "heads-split-strided"},
		{name: "heads merged strided", variant: variant.Variant{MergeIndex: strided}, change: layer(nil),
			classes: layout, match: "heads-merge-strided"},
		{name: "heads strided", variant: splitAndMerge(strided), change: layer(nil),
			classes: layout, match: "heads-strided"},

		{name: "query weights random", change: layer(func(l *oracle.Layer) { redraw(&l.Query) }), classes: weights},
		{name: "value weights random", change: layer(func(l *oracle.Layer) { redraw(&l.Value) }), classes: weights},
		{name: "output weights random", change: layer(func(l *oracle.Layer) { redraw(&l.Output) }), classes: weights},
		{name: "all weights random", change: layer(func(l *oracle.Layer) {
			for _, m := range l.Projections() {
				redraw(m)
			}
		}), classes: weights},
		{name: "query and value swapped", change: layer(func(l *oracle.Layer) {
			l.Query.Weight, l.Value.Weight = l.Value.Weight, l.Query.Weight
		}), classes: weights},
		{name: "value and output swapped", change: layer(func(l *oracle.Layer) {
			l.Output.Weight, l.Value.Weight = l.Value.Weight, l.Output.Weight
		}), classes: weights},
		{name: "all weights transposed", change: func(p *oracle.Problem) bool {
			notSquare := func(m *oracle.Linear) bool { return m.In != m.Out }
			if p.Layer == nil || slices.ContainsFunc(p.Layer.Projections(), notSquare) {
				return false
			}
			for _, m := range p.Layer.Projections() {
				for i := range m.Out {
					for j := range i {
						a, b := &m.Weight[i*m.In+j], &m.Weight[j*m.In+i]
						*a, *b = *b, *a
					}
				}
			}
			return true
		}, classes: []diagnose.Class{diagnose.WrongWeights}, match: "weights-transposed"},
		{name: "inputs in column-major order", change: func(p *oracle.Problem) bool {
			p.Query, p.Key, p.Value = inColumnMajor(p.Query), inColumnMajor(p.Key), inColumnMajor(p.Value)
			return true
		}, classes: layout, match: "inputs-column-major"},
		{name: "biases missing", change: func(p *oracle.Problem) bool {
			had := p.Layer != nil && p.Layer.Query.Bias != nil
			if had {
				for _, m := range p.Layer.Projections() {
					m.Bias = nil
				}
			}
			return had
		}, classes: missing, match: "biases-missing"},
		{name: "output 0.1 % too large", output: func(_ []int, y []float64) {
			for i := range y {
				y[i] *= 1.001
			}
		}, classes: weights},
		{name: "output bias slightly off", change: layer(func(l *oracle.Layer) {
			bias := slices.Clone(l.Output.Bias)
			if bias == nil {
				bias = make([]float64, l.Output.Out)
			}
			for i := range bias {
				bias[i] += 1e-4 * float64(i%5-2)
			}
			l.Output.Bias = bias
		}), classes: weights},

		{name: "bfloat16", variant: variant.Variant{Store: variant.BFloat16},
			classes: lowPrecision, match: "precision-bfloat16", unsure: true},
		{name: "float16", variant: variant.Variant{}.In(oracle.Float16),
			classes: lowPrecision, match: "precision-float16", unsure: true},
		{name: "products in TensorFloat-32",
			variant: variant.Variant{Dot: rounded(variant.TensorFloat32, variant.Sequential)},
			classes: lowPrecision, match: "precision-tf32", unsure: true},
		{name: "products in bfloat16, added pairwise",
			variant: variant.Variant{Dot: rounded(variant.BFloat16, variant.Pairwise)},
			classes: lowPrecision, match: "precision-bfloat16-factors", unsure: true},
		{name: "truncated products in TensorFloat-32, in lanes",
			variant: variant.Variant{Dot: variant.Lanes}.In(oracle.TruncatedTensorFloat32),
			classes: lowPrecision, match: "precision-tf32-truncated", unsure: true},
		{name: "truncated bfloat16, tile by tile",
			variant: variant.Variant{Tile: 5}.In(oracle.TruncatedBFloat16),
			classes: lowPrecision, match: "precision-bfloat16-truncated", unsure: true},
		{name: "the causal mask missing in bfloat16",
			variant: variant.Variant{Store: variant.BFloat16}, change: causalMask(nil),
			classes: missing, match: "causal-missing+precision-bfloat16", unsure: true},
		{name: "the scale missing in float16, tile by tile",
			variant: variant.Variant{Tile: 4}.In(oracle.Float16),
			change:  func(p *oracle.Problem) bool { p.Scale = 1; return true },
			classes: missing, match: "scale-missing+precision-float16", unsure: true},
		{name: "weights of bfloat16", change: layer(func(l *oracle.Layer) {
			for _, m := range l.Projections() {
				for _, values := range [][]float64{m.Weight, m.Bias} {
					for i, v := range values {
						values[i] = float64(variant.BFloat16(float32(v)))
					}
				}
			}
		}), classes: rounding, match: "weights-bfloat16", unsure: true},
		{name: "an output of bfloat16", output: func(_ []int, y []float64) {
			for i, v := range y {
				y[i] = float64(variant.BFloat16(float32(v)))
			}
		}, classes: rounding, match: "output-bfloat16", unsure: true},

		{name: "zeros", output: func(_ []int, y []float64) { clear(y) }, classes: dead},
		{name: "a constant", output: func(_ []int, y []float64) {
			for i := range y {
				y[i] = 0.25
			}
		}, classes: dead},
		{name: "one row again and again", output: func(shape []int, y []float64) {
			width := shape[len(shape)-1]
			for at := width; at < len(y); at += width {
				copy(y[at:], y[:width])
			}
		}, classes: dead},
		{name: "NaN", output: func(_ []int, y []float64) { y[len(y)/2] = math.NaN() },
			classes: []diagnose.Class{diagnose.NonFinite}},
		{name: "first batch element alone",
			change:  func(p *oracle.Problem) bool { return p.Layer != nil || len(p.Query.Shape) == 4 },
			output:  func(shape []int, y []float64) { clear(y[len(y)/shape[0]:]) },
			classes: layout, match: "output-first-batch-only"},
		{name: "half as large again", output: func(_ []int, y []float64) {
			for i := range y {
				y[i] *= 1.5
			}
		}, classes: weights},
		{name: "a gain of two millionths", output: func(_ []int, y []float64) {
			for i := range y {
				y[i] *= 1 + 2e-6
			}
		}, classes: []diagnose.Class{diagnose.WrongWeights, diagnose.Unclear, diagnose.Right}},
		{name: "one element off", output: func(_ []int, y []float64) { y[len(y)/2] += 1e-3 * slices.Max(y) },
			classes: unclear},
		{name: "one feature a little too large", output: func(shape []int, y []float64) {
			for i := 3; i < len(y); i += shape[len(shape)-1] {
				y[i] *= 1.005
			}
		}, classes: weights},
		{name: "query weights of one head a little too large", change: layer(func(l *oracle.Layer) {
			enlarge(l.Query.Weight[:len(l.Query.Weight)/l.Heads], 1.005)
		}), classes: slightlyOff},
		{name: "value weights of one head a little too large", change: layer(func(l *oracle.Layer) {
			enlarge(l.Value.Weight[:len(l.Value.Weight)/l.Heads], 1.005)
		}), classes: slightlyOff},
		{name: "output weights of one feature a little too large", change: layer(func(l *oracle.Layer) {
			enlarge(l.Output.Weight[:l.Output.In], 1.005)
		}), classes: slightlyOff},
		{name: "query bias a little too large", change: func(p *oracle.Problem) bool {
			has := p.Layer != nil && p.Layer.Query.Bias != nil
			if has {
				enlarge(p.Layer.Query.Bias, 1.02)
			}
			return has
		}, classes: slightlyOff},
		{name: "residual added", residual: true, classes: unclear},
		{name: "the query itself", bypass: true, classes: unclear},
		{name: "the last token alone", output: func(shape []int, y []float64) {
			rows, width := shape[len(shape)-2], shape[len(shape)-1]
			for i := range y {
				if i/width%rows != rows-1 {
					y[i] = 0
				}
			}
		}, classes: unclear},
		{name: "the last row everywhere", output: func(shape []int, y []float64) {
			rows, width := shape[len(shape)-2], shape[len(shape)-1]
			for at := 0; at < len(y); at += width {
				last := at/(rows*width)*rows*width + (rows-1)*width
				copy(y[at:at+width], y[last:last+width])
			}
		}, classes: unclear},
		{name: "sequences backwards", change: func(p *oracle.Problem) bool {
			moveRows(p, func(batch, length, row int) int { return row/length*length + length - 1 - row%length })
			return true
		}, classes: layout, match: "inputs-time-reversed"},
		{name: "sequence first", change: layerProblem(func(p *oracle.Problem) {
			moveRows(p, func(batch, length, row int) int { return row%batch*length + row/batch })
		}), classes: layout, match: "inputs-sequence-first"},
		{name: "heads merged in reverse", variant: variant.Variant{MergeIndex: reversed},
			change: layer(nil), classes: layout, match: "heads-merge-reversed"},
		{name: "batch elements rolled", change: func(p *oracle.Problem) bool {
			own := p.Layer != nil && (p.Past != nil || p.Padding != nil)
			if own {
				moveRows(p, func(batch, length, row int) int { return (row + length) % (batch * length) })
			}
			return own
		}, classes: layout, match: "inputs-of-the-next-element"},
		{name: "rows reversed", output: func(_ []int, y []float64) { slices.Reverse(y) }, classes: layout},
		{name: "Fortran order", output: func(shape []int, y []float64) {
			width := shape[len(shape)-1]
			rows := len(y) / width
			was := slices.Clone(y)
			for i := range y {
				y[i] = was[i%width*rows+i/width]
			}
		}, classes: layout},
	}
}

// inColumnMajor reads an array as if it were stored in column-major order.
func inColumnMajor(t oracle.Array) oracle.Array {
	out := oracle.Array{Shape: t.Shape, Value: make([]float64, len(t.Value))}
	at := 0
	var walk func(dim, place, stride int)
	// The last index is walked fastest, and is slowest in memory.
	walk = func(dim, place, stride int) {
		if dim == len(t.Shape) {
			out.Value[at] = t.Value[place]
			at++
			return
		}
		for i := range t.Shape[dim] {
			walk(dim+1, place+i*stride, stride*t.Shape[dim])
		}
	}
	walk(0, 0, 1)
	return out
}

// past is the right causal mask.
func past(i, j int) bool { return j < i+1 }

// causalMask replaces the causal mask by another, or by none.
func causalMask(sees func(i, j int) bool) func(*oracle.Problem) bool {
	return func(p *oracle.Problem) bool {
		had := p.Causal != nil
		p.Causal = sees
		return had
	}
}

// halfTheHeads makes heads of twice the width. It leaves out cases with any other property of a
// head.
func halfTheHeads(p *oracle.Problem) bool {
	l := p.Layer
	if l == nil || l.KVHeads%2 != 0 || l.QueryNorm != nil || p.Past != nil ||
		p.Sinks != nil || p.Slopes != nil || p.Relative != nil {
		return false
	}
	l.Heads, l.KVHeads = l.Heads/2, l.KVHeads/2
	return true
}

// layer changes the layer of a case that has one, unless the change does not fit its widths.
func layer(change func(*oracle.Layer)) func(*oracle.Problem) bool {
	return func(p *oracle.Problem) bool {
		if p.Layer == nil {
			return false
		}
		if change != nil {
			l := p.Layer
			before := []int{l.Query.In, l.Value.In}
			change(l)
			return l.Value.In == len(l.Value.Weight)/l.Value.Out && l.Query.In == len(l.Query.Weight)/l.Query.Out &&
				slices.Equal(before, []int{l.Query.In, l.Value.In})
		}
		return true
	}
}

// layerProblem changes the problem of a case that has a layer.
func layerProblem(change func(*oracle.Problem)) func(*oracle.Problem) bool {
	return func(p *oracle.Problem) bool {
		if p.Layer != nil {
			change(p)
		}
		return p.Layer != nil
	}
}

// moveRows fills each row of the inputs from another.
func moveRows(p *oracle.Problem, from func(batch, length, row int) int) {
	move := func(t oracle.Array) oracle.Array {
		out := oracle.Array{Shape: t.Shape, Value: slices.Clone(t.Value)}
		n := len(t.Shape)
		length, width := t.Shape[n-2], t.Shape[n-1]
		rows := len(t.Value) / width
		for row := range rows {
			source := from(rows/length, length, row)
			for i := range width {
				out.Value[row*width+i] = t.Value[source*width+i]
			}
		}
		return out
	}
	p.Query, p.Key, p.Value = move(p.Query), move(p.Key), move(p.Value)
}

func enlarge(values []float64, by float64) {
	for i := range values {
		values[i] *= by
	}
}

// redraw draws new weights with the same standard deviation.
func redraw(m *oracle.Linear) {
	r := rand.New(rand.NewPCG(3, uint64(len(m.Weight))))
	var squares float64
	for _, w := range m.Weight {
		squares += w * w
	}
	std := math.Sqrt(squares / float64(len(m.Weight)))
	for i := range m.Weight {
		m.Weight[i] = float64(float32(std * r.NormFloat64()))
	}
}

package diagnose

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/catalogue"
	"github.com/difftest/difftest/harness/compare"
	"github.com/difftest/difftest/harness/oracle"
)

// draws is how often a random mistake is made on a case, to see how much its outputs vary.
const draws = 8

// Band is what one mistake looks like on this case, against the truth: least and greatest over
// its draws.
type Band struct {
	Mistake catalogue.Mistake
	Rel     Range
	Gain    Range
	Cosine  Range
}

// Range is from the least to the greatest of some values.
type Range struct{ Min, Max float64 }

func (r *Range) add(v float64) {
	r.Min, r.Max = math.Min(r.Min, v), math.Max(r.Max, v)
}

// replay is one mistake made on the case.
type replay struct {
	mistake catalogue.Mistake
	outputs []compare.Expected   // one, or one for each draw
	against []compare.Comparison // each output against the truth
}

// visible says whether the case can see the mistake: its output is outside the noise.
func (r replay) visible() bool {
	return slices.ContainsFunc(r.against, func(c compare.Comparison) bool { return !c.OK() })
}

func (r replay) band() Band {
	first := r.against[0]
	b := Band{r.mistake, Range{first.Rel, first.Rel}, Range{first.Gain, first.Gain}, Range{first.Cosine, first.Cosine}}
	for _, c := range r.against[1:] {
		b.Rel.add(c.Rel)
		b.Gain.add(c.Gain)
		b.Cosine.add(c.Cosine)
	}
	return b
}

// replays makes every mistake that applies to the case.
func replays(p *oracle.Problem, truth compare.Expected) []replay {
	var all []replay
	shared := p.Shared()
	for _, m := range catalogue.Mistakes {
		r := replay{mistake: m}
		n := 1
		if m.Random {
			n = draws
		}
		for i := range n {
			wrong := planting(shared, m)
			if !m.Plant(wrong, rand.New(rand.NewPCG(1, uint64(i)))) {
				break
			}
			out := expected(wrong.Run())
			r.outputs = append(r.outputs, out)
			r.against = append(r.against, compare.Outputs(out.Shape, out.Value, truth))
		}
		if len(r.outputs) > 0 {
			all = append(all, r)
		}
	}
	return all
}

// planting is a copy of a problem for a mistake: it shares what comes before the mistake.
func planting(shared *oracle.Problem, m catalogue.Mistake) *oracle.Problem {
	if m.Stage == catalogue.Score {
		return shared.Later()
	}
	return shared.Clone()
}

func expected(f oracle.Field) compare.Expected {
	return compare.Expected{Shape: f.Shape, Value: f.Value, Sigma: f.Sigma()}
}

// visibleReplays are those that the case can see.
func (r *Reference) visibleReplays() []replay {
	var seen []replay
	for _, made := range r.replays() {
		if made.visible() {
			seen = append(seen, made)
		}
	}
	return seen
}

package trace

import (
	"context"

	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/replay"
)

// Named lists the explanations of a module's value. Each entry gives the value, and the case cannot
// tell them apart.
type Named struct {
	// Matches are mistakes.
	Matches []replay.Match
	// Numbers are numbers of the configuration with other values. They are looked for if neither a
	// mistake nor another input gives the value. Parameters in wrong places come last.
	Numbers []replay.NumberMatch
	// Wirings are other inputs of the module.
	Wirings []replay.Wiring
	// Values are parameters of the first wrong module with other values, looked for if nothing else
	// gives its value.
	Values []replay.ValueMatch
	// Cut says what was not tried.
	Cut replay.Cut
}

// empty reports whether nothing gives the value.
func (n Named) empty() bool { return len(n.Matches)+len(n.Numbers)+len(n.Wirings)+len(n.Values) == 0 }

// explain looks for all that gives the value of the first wrong module, at a place in all modules.
// If nothing does, a value of a module around it in the same layer may have an explanation: a
// program may compute the parts of a module in another order than PyTorch.
func (j judge) explain(ctx context.Context, t *Trace, first int) {
	if t.Lines[t.First].Comparison.NonFinite > 0 {
		return
	}
	path := j.all[first].Path
	if t.Named = j.named(ctx, first); t.Cut != "" {
		return
	}
	for i, e := range j.expected {
		got := j.values[path]
		if sameRows(e.Shape, j.expected[first].Shape) && compare.Outputs(e.Shape, got.Data, e).OK() {
			t.Same = append(t.Same, j.all[i].Path)
		}
	}
	if !t.empty() {
		return
	}
	part, output := j.part(first)
	if t.Values, t.Cut = part.FindOtherValues(ctx, output); t.Cut != "" || !t.empty() {
		return
	}
	for _, around := range j.around(first) {
		if named := j.named(ctx, around); named.Cut != "" || !named.empty() {
			t.Named, t.Around = named, j.all[around].Path
			return
		}
	}
}

// around lists the modules around a module, up to its layer, whose values are known and wrong. A
// right value is also the value of every mistake that this case cannot see.
func (j judge) around(first int) []int {
	var places []int
	path := j.all[first].Path
	for i, o := range j.all {
		sameLayer := graph.LayerPath(path) == "" || graph.Within(o.Path, graph.LayerPath(path))
		if i == first || !graph.Within(path, o.Path) || !sameLayer {
			continue
		}
		got, want := j.values[o.Path], j.expected[i]
		if got == nil || got.Problem != "" || !comparableShapes(got.Shape, want.Shape) {
			continue
		}
		if c := compare.Outputs(want.Shape, got.Data, want); !c.OK() && c.NonFinite == 0 {
			places = append(places, i)
		}
	}
	return places
}

// named looks for all that gives the value of a module.
func (j judge) named(ctx context.Context, place int) Named {
	part, output := j.part(place)
	n := Named{}
	if n.Matches, n.Cut = part.Find(ctx, output); n.Cut != "" {
		return n
	}
	n.Matches = j.refuted(n.Matches, place)
	if n.Wirings, n.Cut = part.Rewired(ctx, j.all[place].Path, output); n.Cut != "" || !n.empty() {
		return n
	}
	if n.Numbers, n.Cut = part.FindNumbers(ctx, output); n.Cut != "" || !n.empty() {
		return n
	}
	if n.Matches, n.Cut = part.FindParameters(ctx, output); n.Cut == "" {
		n.Matches = j.refuted(n.Matches, place)
	}
	return n
}

// part returns the model up to a module's output, and this output in the program.
func (j judge) part(place int) (*replay.Module, []float64) {
	o, expected := j.all[place], j.expected[place]
	return j.module.Until(o, expected), expected.Blank(j.values[o.Path].Data)
}

// refuted takes back the mistakes that do not give the later values of the layer of a module. They
// look like another mistake in its value alone. A mistake that gives the later values at all of its
// places is better than one that gives them at some. If several are left, the later values of all
// layers may tell them apart: zeros for one layer's parameter, and for every layer's. The mistakes
// that stay have the names that the whole model gives them.
func (j judge) refuted(found []replay.Match, place int) []replay.Match {
	layer := graph.LayerPath(j.all[place].Path)
	if layer == "" || len(found) == 0 {
		return j.module.NamedAsInWhole(found)
	}
	kept, _ := j.agreeing(found, place, j.later(place, layer))
	if len(kept) > 1 {
		if throughout, how := j.agreeing(kept, place, j.later(place, "")); how == replay.Throughout {
			kept = throughout
		}
	}
	return j.module.NamedAsInWhole(kept)
}

// later lists the values in a module behind one of the modules, and all values for the root "".
func (j judge) later(place int, around string) []replay.Later {
	var later []replay.Later
	for i := place + 1; i < len(j.all); i++ {
		o, got := j.all[i], j.values[j.all[i].Path]
		inside := around == "" || graph.Within(o.Path, around)
		if got != nil && got.Problem == "" && inside && comparableShapes(got.Shape, j.expected[i].Shape) {
			later = append(later, replay.Later{Output: o, Got: got.Data})
		}
	}
	return later
}

// agreeing returns the mistakes that agree best with later values, and how.
func (j judge) agreeing(found []replay.Match, place int, later []replay.Later) ([]replay.Match, replay.Agreement) {
	best := replay.OnlyInPart
	var kept []replay.Match
	for _, m := range found {
		m, how := j.module.Agrees(m, j.all[place], later)
		if how > best {
			best, kept = how, nil
		}
		if how == best {
			kept = append(kept, m)
		}
	}
	return kept, best
}

package sites

import (
	"context"
	"errors"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/parallel"
)

// Mistakes returns the known mistakes of attention that can be made at a site, as edits of a graph.
// Where the graph is more than one site, their titles say that they are made in attention.
func Mistakes(g *graph.Graph, found []*Site) []catalogue.Mistake {
	inside := len(found) != 1 || found[0].Output != g.Output
	zeros := withZeros(found)
	made := make([][]catalogue.Mistake, len(catalogue.WithVariants))
	parallel.Each(len(made), func(i int) {
		if m := catalogue.WithVariants[i]; m.Replayable() {
			made[i] = inPlaces(found, zeros, m, inside)
		}
	})
	return slices.Concat(made...)
}

// inPlaces returns a mistake as an edit, and a second edit where queries that see no key give
// zeros. inside reports whether the graph is more than one site.
func inPlaces(found, zeros []*Site, m catalogue.Mistake, inside bool) []catalogue.Mistake {
	if m.Edit = Edit(found, m); m.Edit == nil {
		return nil
	}
	if inside {
		m.Title += ", in attention"
	}
	all := []catalogue.Mistake{m}
	if m.Edit = editWithZeros(found, zeros, m); m.Edit != nil {
		m.Title += ", with zeros for queries that see no key"
		all = append(all, m)
	}
	return all
}

// withZeros returns the sites of a graph with zeros for queries that see no key, where the graph
// gives them the mean of all values. Programs of both kinds are right. It returns nil if the graph
// gives no such mean.
func withZeros(found []*Site) []*Site {
	if !slices.ContainsFunc(found, func(s *Site) bool { return s.problem.EmptyMean }) {
		return nil
	}
	var others []*Site
	for _, s := range found {
		other := *s
		if s.problem.EmptyMean {
			other.problem = s.problem.Uncached()
			other.problem.EmptyMean = false
		}
		others = append(others, &other)
	}
	setAlike(others)
	return others
}

// editWithZeros returns the edit that makes a mistake at the sites of [withZeros]. It returns nil
// if the zeros stay in rows that do not matter.
func editWithZeros(found, zeros []*Site, m catalogue.Mistake) graph.Edit {
	for i, other := range zeros {
		if found[i].problem.EmptyMean && found[i].reaches(other, m) {
			return Edit(zeros, m)
		}
	}
	return nil
}

// reaches reports whether two sites differ in rows that see a key without the mistake, or whether
// the mistake changes the number of keys that a query sees.
func (s *Site) reaches(other *Site, m catalogue.Mistake) bool {
	a, ok := s.wrong(s.problem, m)
	b, okOther := other.wrong(other.problem, m)
	if !ok || !okOther {
		return false
	}
	right := s.problem.Visible()
	if !slices.Equal(right, a.Visible()) {
		return true
	}
	x, err := a.Rows(context.Background(), nil, oracle.ValuesAlone)
	y, errOther := b.Rows(context.Background(), nil, oracle.ValuesAlone)
	if err != nil || errOther != nil || len(x.Value) != len(y.Value) {
		return false
	}
	width := len(x.Value) / len(right)
	for row, keys := range right {
		if keys > 0 && !slices.Equal(x.Value[row*width:][:width], y.Value[row*width:][:width]) {
			return true
		}
	}
	return false
}

// Edit returns the edit that makes mistakes of attention, one after the other, at every site where
// one of them applies. It returns nil if there is no such site, or if one mistake does not apply
// after the others at a site where it applies alone.
func Edit(found []*Site, mistakes ...catalogue.Mistake) graph.Edit {
	at, fits := map[string]*Site{}, map[*Site][]catalogue.Mistake{}
	for _, s := range found {
		fit, known := fits[s.first]
		if !known {
			var together bool
			if fit, together = s.first.applicable(mistakes); !together {
				return nil
			}
			fits[s.first] = fit
		}
		if len(fit) > 0 {
			at[s.Output] = s
		}
	}
	if len(at) == 0 {
		return nil
	}
	return func(_ *graph.View, n graph.Node) []graph.Node {
		if s := at[n.Name]; s != nil {
			return []graph.Node{s.with(n, fits[s.first]...)}
		}
		return nil
	}
}

// applicable returns the mistakes that apply to a site alone. It reports whether they also apply
// one after the other.
func (s *Site) applicable(mistakes []catalogue.Mistake) (fit []catalogue.Mistake, together bool) {
	for _, m := range mistakes {
		if _, ok := s.wrong(s.problem, m); ok {
			fit = append(fit, m)
		}
	}
	if len(fit) < 2 {
		return fit, true
	}
	_, together = s.wrong(s.problem, fit...)
	return fit, together
}

// wrong makes mistakes in a problem of the site. It returns false if one of them does not apply.
func (s *Site) wrong(p *oracle.Problem, mistakes ...catalogue.Mistake) (*oracle.Problem, bool) {
	wrong, ok := catalogue.Make(p, nil, mistakes...)
	if !ok || !s.unprojected {
		return wrong, ok
	}
	own, right := wrong.Layer.Output, p.Layer.Output
	if own.Skipped || own.Bias != nil || len(own.Weight) != len(right.Weight) || &own.Weight[0] != &right.Weight[0] {
		return nil, false // there is no output projection to be mistaken about
	}
	return wrong, true
}

// with returns the node of the site's output with mistakes.
func (s *Site) with(n graph.Node, mistakes ...catalogue.Mistake) graph.Node {
	var operands []graph.Operand
	for _, in := range s.inputs {
		operands = append(operands, graph.Value(in.name))
	}
	n = n.Become("site", operands...)
	n.Computed = func(in []*graph.Tensor[float64], rounding graph.Rounding) (*graph.Tensor[float64], []float64, error) {
		detail := oracle.ValuesAlone
		if rounding == graph.WithRounding {
			detail = oracle.WithNoise
		}
		wrong, ok := s.wrong(s.given(in), mistakes...)
		if !ok {
			return nil, nil, errNotApplicable
		}
		f, err := wrong.Rows(context.Background(), nil, detail)
		if err != nil || len(f.Value) != num.Size(n.Shape) {
			return nil, nil, errors.Join(err, errNotApplicable)
		}
		value := &graph.Tensor[float64]{Shape: n.Shape, Data: ordered(s.rows, f.Value)}
		if detail == oracle.ValuesAlone {
			return value, nil, nil
		}
		return value, ordered(s.rows, f.Sigma()), nil
	}
	return n
}

var errNotApplicable = errors.New("the mistake does not apply to these inputs")

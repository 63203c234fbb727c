package sites

import (
	"context"
	"errors"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Mistakes returns the known mistakes of attention that can be made at a site, as edits of a graph.
// Where the graph is more than one site, their titles say that they are made in attention.
func Mistakes(g *graph.Graph, found []*Site) []catalogue.Mistake {
	inside := len(found) != 1 || found[0].Output != g.Output
	var all []catalogue.Mistake
	for _, m := range catalogue.WithVariants {
		if !m.Replayable() {
			continue
		}
		if m.Edit = Edit(found, m); m.Edit == nil {
			continue
		}
		if inside {
			m.Title += ", in attention"
		}
		all = append(all, m)
		if m.Edit = withZeros(found, m); m.Edit != nil {
			m.Title += ", with zeros for queries that see no key"
			all = append(all, m)
		}
	}
	return all
}

// withZeros returns the edit that makes a mistake where queries that see no key give zeros, though
// the graph gives them the mean of all values. Programs of both kinds are right. withZeros returns
// nil if the difference stays in rows that do not matter.
func withZeros(found []*Site, m catalogue.Mistake) graph.Edit {
	var others []*Site
	matters := false
	for _, s := range found {
		if !s.problem.EmptyMean {
			others = append(others, s)
			continue
		}
		other := *s
		other.problem = s.problem.Uncached()
		other.problem.EmptyMean = false
		others = append(others, &other)
		matters = matters || s.reaches(&other, m)
	}
	if !matters {
		return nil
	}
	return Edit(others, m)
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
	at, made := map[string]*Site{}, map[string][]catalogue.Mistake{}
	for _, s := range found {
		var fit []catalogue.Mistake
		for _, m := range mistakes {
			if _, ok := s.wrong(s.problem, m); ok {
				fit = append(fit, m)
			}
		}
		if len(fit) == 0 {
			continue
		}
		if _, ok := s.wrong(s.problem, fit...); !ok {
			return nil
		}
		at[s.Output], made[s.Output] = s, fit
	}
	if len(at) == 0 {
		return nil
	}
	return func(_ *graph.View, n graph.Node) []graph.Node {
		if s := at[n.Name]; s != nil {
			return []graph.Node{s.with(n, made[n.Name]...)}
		}
		return nil
	}
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

package sites

import (
	"context"
	"errors"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Mistakes returns the known mistakes of attention that can be made at a site, as edits of the
// graph.
func Mistakes(found []*Site) []catalogue.Mistake {
	var all []catalogue.Mistake
	for _, m := range catalogue.WithVariants {
		if !m.Replayable() {
			continue
		}
		fits := map[string]*Site{}
		for _, s := range found {
			if _, ok := s.wrong(s.problem, m); ok {
				fits[s.Output] = s
			}
		}
		if len(fits) == 0 {
			continue
		}
		m.Edit = func(_ *graph.View, n graph.Node) []graph.Node {
			if s := fits[n.Name]; s != nil {
				return []graph.Node{s.with(m, n)}
			}
			return nil
		}
		all = append(all, m)
	}
	return all
}

// wrong makes a mistake in a problem of the site. It returns false if the mistake does not apply.
func (s *Site) wrong(p *oracle.Problem, m catalogue.Mistake) (*oracle.Problem, bool) {
	wrong, ok := catalogue.Make(p, nil, m)
	if !ok || !s.unprojected {
		return wrong, ok
	}
	own, right := wrong.Layer.Output, p.Layer.Output
	if own.Skipped || own.Bias != nil || len(own.Weight) != len(right.Weight) || &own.Weight[0] != &right.Weight[0] {
		return nil, false // there is no output projection to be mistaken about
	}
	return wrong, true
}

// with returns the node of the site's output with a mistake.
func (s *Site) with(m catalogue.Mistake, n graph.Node) graph.Node {
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
		wrong, ok := s.wrong(s.given(in), m)
		if !ok {
			return nil, nil, errNotApplicable
		}
		f, err := wrong.Rows(context.Background(), nil, detail)
		if err != nil || len(f.Value) != num.Size(n.Shape) {
			return nil, nil, errors.Join(err, errNotApplicable)
		}
		value := &graph.Tensor[float64]{Shape: n.Shape, Data: s.ordered(f.Value)}
		if detail == oracle.ValuesAlone {
			return value, nil, nil
		}
		return value, s.ordered(f.Sigma()), nil
	}
	return n
}

var errNotApplicable = errors.New("the mistake does not apply to these inputs")

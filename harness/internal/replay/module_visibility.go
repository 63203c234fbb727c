package replay

import (
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
)

// Visibility makes every known edit at all of its places in the graph and sorts the mistakes. It
// leaves out variants, and mistakes of attention inside the module.
func (m *Module) Visibility() Visibility {
	var v Visibility
	var groups []moduleGroup
	for _, mistake := range m.known() {
		if isOfAttention(mistake) {
			continue
		}
		made := m.at(mistake, everywhere)
		if len(made) == 0 {
			v.Absent = append(v.Absent, mistake)
			continue
		}
		h := made[0]
		if why := m.hides(&h); why != "" {
			v.Blind = append(v.Blind, Blindness{mistake, why})
			continue
		}
		v.Seen = append(v.Seen, mistake)
		groups = m.grouped(groups, h)
	}
	for _, g := range groups {
		if len(g.alike) > 1 {
			v.Alike = append(v.Alike, g.alike)
		}
	}
	return v
}

// hides computes a hypothesis and returns what hides the mistake, "" if the mistake shows.
func (m *Module) hides(h *hypothesis) string {
	if h.output = m.outputOf(*h); h.output == nil {
		return "nothing can be computed with it here"
	}
	if compare.Same(h.output.Data, m.Output().Data) {
		return "it changes nothing here"
	}
	if compare.Outputs(m.Truth.Shape, h.output.Data, m.Truth).OK() {
		return "its change is within the noise"
	}
	return ""
}

// moduleGroup is mistakes that give the same output of a module.
type moduleGroup struct {
	alike []catalogue.Mistake
	first hypothesis
	want  compare.Expected // the first output with its noise, empty until another comes near
}

// grouped adds a mistake to the group with the same output, within the noise and near, or begins a
// group.
func (m *Module) grouped(groups []moduleGroup, h hypothesis) []moduleGroup {
	for i := range groups {
		g := &groups[i]
		if !(compare.Residual(h.output.Data, g.first.output.Data) <= compare.MaxResidual) {
			continue
		}
		if g.want.Value == nil {
			want, err := m.expected(m.edited(g.first), g.first.output)
			if err != nil {
				continue
			}
			g.want = want
		}
		if compare.Outputs(g.want.Shape, h.output.Data, g.want).OK() {
			g.alike = append(g.alike, h.mistake)
			return groups
		}
	}
	return append(groups, moduleGroup{alike: []catalogue.Mistake{h.mistake}, first: h})
}

package sites

import "github.com/difftest/difftest/harness/internal/graph"

// Span returns the names of the nodes whose work the site's problem does: all that its output needs
// and that are not behind its inputs. An edit at one of them changes the problem.
func (s *Site) Span(v *graph.View) map[string]bool {
	span, outside := map[string]bool{}, map[string]bool{}
	for _, in := range s.inputs {
		outside[in.name] = true
	}
	var walk func(name string)
	walk = func(name string) {
		n := v.Maker(graph.Value(name))
		if n == nil || outside[name] || span[name] {
			return
		}
		span[name] = true
		for _, o := range n.Operands {
			walk(o.Name)
		}
	}
	walk(s.Output)
	return span
}

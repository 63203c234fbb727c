package sites

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// sitesOf returns the sites of an embedded model.
func sitesOf(t *testing.T, name string) []*Site {
	t.Helper()
	g, values := computed(t, fixtures.FS, name)
	return Find(graph.NewView(g, values), values)
}

// A mistake applies to a site if it applies to the first site that is alike.
func TestTheFirstSiteAnswersForOthers(t *testing.T) {
	shared := 0
	for _, name := range []string{"models/bert", "models/gemma2", "models/gpt2", "models/llama"} {
		for _, s := range sitesOf(t, name) {
			if s.first == s {
				continue
			}
			shared++
			for _, m := range catalogue.WithVariants {
				if !m.Replayable() {
					continue
				}
				_, first := s.first.wrong(s.first.problem, m)
				_, own := s.wrong(s.problem, m)
				assert.Equal(t, first, own, "%s %s %s", name, s.Module, m.ID)
			}
		}
	}
	assert.Greater(t, shared, 4)
}

// Sites of other masks, sizes, biases or inputs are not alike.
func TestSitesThatAreNotAlike(t *testing.T) {
	s := sitesOf(t, "models/llama")[0]
	for what, change := range map[string]func(p *oracle.Problem){
		"causal": func(p *oracle.Problem) { p.Causal = func(query, key int) bool { return key <= query+1 } },
		"none":   func(p *oracle.Problem) { p.Causal = nil },
		"window": func(p *oracle.Problem) { p.Window = 2 },
		"scale":  func(p *oracle.Problem) { p.Scale *= 2 },
		"bias":   func(p *oracle.Problem) { p.Layer.Query.Bias = make([]float64, p.Layer.Query.Out) },
		"heads":  func(p *oracle.Problem) { p.Layer.KVHeads = 1 },
		"mask":   func(p *oracle.Problem) { p.Allow = &attention.Mask{Shape: []int{1}, Data: []bool{true}} },
		"input": func(p *oracle.Problem) {
			p.Query.Value = slices.Clone(p.Query.Value)
			p.Query.Value[0]++
		},
	} {
		other := *s
		other.problem = s.problem.Uncached()
		assert.True(t, s.alike(&other))
		change(other.problem)
		assert.False(t, s.alike(&other), what)
	}
	other := *s
	other.unprojected = !s.unprojected
	assert.False(t, s.alike(&other))
}

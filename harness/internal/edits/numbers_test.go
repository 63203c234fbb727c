package edits_test

import (
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/graph"
)

// Numbers have ids of their own, and texts that fit their places in a sentence.
func TestNumbersAreNamedLikeMistakes(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range edits.Numbers {
		_, isMistake := edits.ByID(n.ID)
		_, isNumber := catalogue.NumberByID(n.ID)
		require.False(t, isMistake || isNumber || seen[n.ID], n.ID)
		seen[n.ID] = true
		require.Regexp(t, regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`), n.ID)
		require.True(t, strings.HasSuffix(n.Fix, "."), n.ID)
		_, has := n.Get(nil)
		require.False(t, has)
	}
}

// oneNode returns the view of a graph with one node, whose operands are constants.
func oneNode(n graph.Node, constants map[string]*graph.Tensor[float64]) *graph.View {
	g := &graph.Graph{Nodes: []graph.Node{n}, Output: n.Name}
	for name := range constants {
		g.Constants = append(g.Constants, name)
	}
	return graph.NewView(g, graph.Values[float64](constants))
}

// A base is read from tables that are made of a base and a factor alone.
func TestTheBaseBehindTables(t *testing.T) {
	const tokens, width = 6, 8
	base, _ := edits.NumberByID("model-rope-base")
	factor, _ := edits.NumberByID("model-rope-factor")
	tables := func(frequency func(pair int) float64) *graph.View {
		cos := &graph.Tensor[float64]{Shape: []int{1, 1, tokens, width}}
		sin := &graph.Tensor[float64]{Shape: cos.Shape}
		for i := range tokens * width {
			a := float64(i/width) * frequency(i%(width/2))
			cos.Data, sin.Data = append(cos.Data, math.Cos(a)), append(sin.Data, math.Sin(a))
		}
		n := graph.Node{Name: "r", Op: "rotary", Operands: []graph.Operand{graph.Value("x"), graph.Value("c"), graph.Value("s")}}
		n.Attributes.Pairs = "halves"
		return oneNode(n, map[string]*graph.Tensor[float64]{"c": cos, "s": sin})
	}
	plain := func(pair int) float64 { return math.Pow(1e4, -float64(pair)/4) }
	for name, tc := range map[string]struct {
		frequency    func(pair int) float64
		base, factor float64
	}{
		"plain":     {plain, 1e4, 1},
		"stretched": {func(pair int) float64 { return plain(pair) / 4 }, 1e4, 4},
		"float32":   {func(pair int) float64 { return float64(float32(plain(pair))) }, 1e4, 1},
		"llama 3":   {func(pair int) float64 { return plain(pair) / []float64{1, 1, 2, 8}[pair] }, 0, 0},
	} {
		v := tables(tc.frequency)
		got, ok := base.At(v, v.Nodes[0])
		require.Equal(t, tc.base > 0, ok, name)
		if !ok {
			continue
		}
		assert.Equal(t, tc.base, got, name)
		got, _ = factor.At(v, v.Nodes[0])
		assert.Equal(t, tc.factor, got, name)
	}
}

// One pair of features turns alike with every base, and by a factor of its own.
func TestTheFactorBehindTablesOfOnePair(t *testing.T) {
	const tokens = 6
	base, _ := edits.NumberByID("model-rope-base")
	factor, _ := edits.NumberByID("model-rope-factor")
	tables := func(frequency float64) *graph.View {
		cos := &graph.Tensor[float64]{Shape: []int{1, 1, tokens, 2}}
		sin := &graph.Tensor[float64]{Shape: cos.Shape}
		for i := range tokens * 2 {
			a := float64(i/2) * frequency
			cos.Data, sin.Data = append(cos.Data, math.Cos(a)), append(sin.Data, math.Sin(a))
		}
		n := graph.Node{Name: "r", Op: "rotary", Operands: []graph.Operand{graph.Value("x"), graph.Value("c"), graph.Value("s")}}
		n.Attributes.Pairs = "halves"
		return oneNode(n, map[string]*graph.Tensor[float64]{"c": cos, "s": sin})
	}
	for frequency, ok := range map[float64]bool{1: true, 0.9: false} {
		v := tables(frequency)
		_, has := base.At(v, v.Nodes[0])
		assert.False(t, has)
		got, has := factor.At(v, v.Nodes[0])
		assert.Equal(t, ok, has)
		if !ok {
			continue
		}
		assert.Equal(t, 1.0, got)
		sin, _, err := factor.To(4)(v, v.Nodes[0])[1].Computed(nil, graph.NoRounding)
		require.NoError(t, err)
		assert.InDelta(t, math.Sin(5.0/4), sin.Data[2*5+1], 1e-15)
	}
}

// A window is read from a mask that a window gives, with padded keys, and from no other.
func TestTheWindowOfAMask(t *testing.T) {
	const tokens = 5
	window, _ := edits.NumberByID("model-window")
	view := func(seen func(query, key int) bool) *graph.View {
		mask := &graph.Tensor[float64]{Shape: []int{1, 1, tokens, tokens}, Bool: true}
		for i := range tokens * tokens {
			x := 0.0
			if seen(i/tokens, i%tokens) {
				x = 1
			}
			mask.Data = append(mask.Data, x)
		}
		n := graph.Node{Name: "a", Op: "attention", Operands: []graph.Operand{
			graph.Value("q"), graph.Value("k"), graph.Value("v"), graph.Value("m"),
		}}
		return oneNode(n, map[string]*graph.Tensor[float64]{"m": mask})
	}
	for name, tc := range map[string]struct {
		seen  func(query, key int) bool
		width float64
	}{
		"causal":      {func(q, k int) bool { return k <= q && q-k < 3 }, 3},
		"padded":      {func(q, k int) bool { return k <= q && q-k < 2 && k != 4 }, 2},
		"both sides":  {func(q, k int) bool { return k-q < 2 && q-k < 2 }, 2},
		"none":        {func(q, k int) bool { return k <= q }, 0},
		"one key off": {func(q, k int) bool { return k <= q && q-k < 3 && (q != 3 || k != 2) }, 0},
	} {
		v := view(tc.seen)
		got, ok := window.At(v, v.Nodes[0])
		require.Equal(t, tc.width > 0, ok, name)
		if ok {
			assert.Equal(t, tc.width, got, name)
		}
	}
}

// Another epsilon has the effect of a factor of the norm's input, unless something else reads the
// input.
func TestAnEpsilonLikeAFactorOfTheInput(t *testing.T) {
	eps, known := edits.NumberByID("norm-eps")
	require.True(t, known)
	norm := graph.Node{Name: "norm", Op: "rms_norm", Operands: []graph.Operand{graph.Value("x")}}
	norm.Attributes.Eps = 1e-6
	sum := graph.Node{Name: "sum", Op: "add", Operands: []graph.Operand{graph.Value("x"), graph.Value("norm")}}
	for _, tc := range []struct {
		nodes []graph.Node
		want  string
	}{
		{[]graph.Node{norm}, "an input of the norm multiplied by a factor would give the same"},
		{[]graph.Node{norm, sum}, ""},
	} {
		g := &graph.Graph{Nodes: tc.nodes, Output: tc.nodes[len(tc.nodes)-1].Name}
		require.Equal(t, tc.want, eps.Alike(graph.NewView(g, graph.Values[float64]{}), norm))
	}
}

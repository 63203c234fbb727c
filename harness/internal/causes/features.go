package causes

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// feature is a property that a case has or lacks.
type feature struct {
	id   string // "window"
	what string // follows "have": "a window"
	has  func(*fixture.Case) bool

	// instead says what others have that all lack the feature; nil if that is all to say.
	instead func(others []*fixture.Case) string
}

// size is a number that every function and layer has. Modules of other kinds have none.
type size struct {
	id        string // "keys"
	one, many string // follow "have", with a relation and a number: "%s %d keys"
	of        func(*fixture.Case) int
}

// features lists what the failures may share, in the order of preference.
var features = slices.Concat(scoreFeatures, inputFeatures, layerFeatures, kindFeatures)

// scoreFeatures are about scores, masks and heads. Functions and layers have them alike.
var scoreFeatures = []feature{
	{id: "window", what: "a window", has: func(c *fixture.Case) bool {
		return either(c, c.Options.Window, c.Layer.Window) > 0
	}},
	{id: "softcap", what: "a softcap", has: func(c *fixture.Case) bool {
		return either(c, c.Options.Softcap, c.Layer.Softcap) > 0
	}},
	{id: "alibi", what: "ALiBi", has: func(c *fixture.Case) bool {
		return either(c, c.Options.ALiBi, c.Layer.ALiBi)
	}},
	{id: "sinks", what: "sinks", has: func(c *fixture.Case) bool {
		return either(c, c.Options.Sinks != nil, c.Layer.Sinks)
	}},
	{id: "scale", what: "a scale of their own", has: func(c *fixture.Case) bool {
		return either(c, c.Options.Scale, c.Layer.Scale) != 0
	}},
	{id: "grouped-heads", what: "grouped heads", has: func(c *fixture.Case) bool {
		heads, kv := headCounts(c)
		return kv < heads
	}},
	{id: "one-kv-head", what: "one key and value head for all queries", has: func(c *fixture.Case) bool {
		heads, kv := headCounts(c)
		return kv == 1 && heads > 1
	}},
	{id: "causal", what: "a causal mask", has: func(c *fixture.Case) bool {
		return either(c, c.Options.Causality != attention.NotCausal, !c.Layer.Bidirectional)
	}},
	{id: "causal-lower-right", what: "a causal mask aligned to the last key", has: func(c *fixture.Case) bool {
		return c.Op == fixture.SDPA && c.Options.Causality == attention.LowerRight
	}},
	{id: "boolean-mask", what: "a boolean mask", has: func(c *fixture.Case) bool {
		return either(c, c.Options.Allow != nil, c.Inputs.Block != nil)
	}},
	{id: "float-mask", what: "a float mask", has: func(c *fixture.Case) bool {
		return either(c, c.Options.Bias, c.Inputs.Bias) != nil
	}},
	{id: "mask-per-head", what: "a mask of each head", has: maskPerHead},
	{id: "padding", what: "padded keys", has: func(c *fixture.Case) bool { return c.Inputs.Padding != nil }},
	{id: "left-padding", what: "padding before the first token", has: func(c *fixture.Case) bool {
		p := c.Inputs.Padding
		return p != nil && slices.ContainsFunc(rowStarts(p), func(b bool) bool { return b })
	}},
	{id: "no-key", what: "a query that sees no key", has: seesNoKey},
}

// inputFeatures are about the shapes and the values of the inputs.
var inputFeatures = []feature{
	{id: "cache", what: "cached keys and values", has: func(c *fixture.Case) bool { return pastKeys(c) != nil }},
	{id: "key-lengths", what: "a number of valid keys for each batch element", has: func(c *fixture.Case) bool {
		return c.Options.KeyLengths != nil
	}},
	{id: "first-positions", what: "a first position for each batch element", has: func(c *fixture.Case) bool {
		return c.Options.FirstPositions != nil
	}},
	{id: "float16", what: "inputs in float16", has: func(c *fixture.Case) bool {
		return c.Precision == fixture.Float16
	}},
	{id: "bfloat16", what: "inputs in bfloat16", has: func(c *fixture.Case) bool {
		return c.Precision == fixture.BFloat16
	}},
	{id: "float64", what: "inputs in float64", has: func(c *fixture.Case) bool {
		return c.Precision == fixture.Float64
	}},
	{id: "more-keys", what: "more keys than queries", has: func(c *fixture.Case) bool {
		return keyCount(c) > queryCount(c)
	}},
	{id: "more-queries", what: "more queries than keys", has: func(c *fixture.Case) bool {
		return keyCount(c) < queryCount(c)
	}},
	{id: "cross", what: "keys that are not computed from the queries' input", has: func(c *fixture.Case) bool {
		return c.Op == fixture.MultiHead && c.Inputs.Key != c.Inputs.Query
	}},
	{id: "own-values", what: "values that are not computed from the keys' input", has: func(c *fixture.Case) bool {
		return c.Op == fixture.MultiHead && c.Inputs.Value != c.Inputs.Key
	}},
	{id: "value-width", what: "values of another width than the keys", has: func(c *fixture.Case) bool {
		return c.Op == fixture.SDPA && num.Last(c.Inputs.Value.Shape) != num.Last(c.Inputs.Key.Shape)
	}},
	{id: "no-batch", what: "no batch dimension", has: func(c *fixture.Case) bool {
		return attends(c) && either(c, len(c.Inputs.Query.Shape) < 4, c.Layer.InputLayout == attention.Unbatched)
	}},
	{id: "sequence-first", what: "the sequence before the batch", has: func(c *fixture.Case) bool {
		return c.Op == fixture.MultiHead && c.Layer.InputLayout == attention.SequenceFirst
	}},
	{id: "heads-no-power-of-two", what: "a number of heads that is no power of two", has: func(c *fixture.Case) bool {
		heads, _ := headCounts(c)
		return heads&(heads-1) != 0
	}},
	{id: "head-size-no-multiple", what: "a head size that is no multiple of 8", has: func(c *fixture.Case) bool {
		return headSize(c)%8 != 0
	}},
}

// layerFeatures are options of a layer.
var layerFeatures = []feature{
	{id: "rope", what: "RoPE", has: func(c *fixture.Case) bool { return c.Layer.RoPE != nil }},
	{id: "rope-half", what: "RoPE on halves of a head", has: func(c *fixture.Case) bool {
		return c.Layer.RoPE != nil && c.Layer.RoPE.Style == attention.HalfSplit
	}},
	{id: "rope-interleaved", what: "RoPE on neighbouring features", has: func(c *fixture.Case) bool {
		return c.Layer.RoPE != nil && c.Layer.RoPE.Style == attention.Interleaved
	}},
	{id: "rope-partial", what: "RoPE on a part of a head", has: func(c *fixture.Case) bool {
		return c.Layer.RoPE != nil && c.Layer.RoPE.Dim != 0 && c.Layer.RoPE.Dim < headSize(c)
	}},
	{id: "rope-factor", what: "a factor that divides RoPE positions", has: func(c *fixture.Case) bool {
		return c.Layer.RoPE != nil && c.Layer.RoPE.Factor > 1
	}},
	{id: "qk-norm", what: "norms of queries and keys", has: func(c *fixture.Case) bool {
		return c.Layer.QKNorm != nil
	}},
	{id: "relative-bias", what: "a learned relative bias", has: func(c *fixture.Case) bool {
		return c.Layer.RelativeBias > 0
	}},
	{id: "bias-kv", what: "a learned key and value, bias_k and bias_v", has: func(c *fixture.Case) bool {
		return c.Layer.BiasKV
	}},
	{id: "zero-attn", what: "an appended key and value of zeros", has: func(c *fixture.Case) bool {
		return c.Layer.ZeroAttn
	}},
	{id: "biases", what: "biases of the projections", has: hasBiases},
	{id: "weights", what: "attention weights to return", has: func(c *fixture.Case) bool {
		return c.Layer.NeedWeights != attention.NoWeights
	}},
	{id: "head-width", what: "heads that do not add up to the embedding", has: func(c *fixture.Case) bool {
		heads, _ := headCounts(c)
		return c.Op == fixture.MultiHead && heads*headSize(c) != c.Layer.EmbedDim
	}},
	{id: "key-width", what: "keys or values of another width than the embedding", has: func(c *fixture.Case) bool {
		l := c.Layer
		return c.Op == fixture.MultiHead && (other(l.KDim, l.EmbedDim) || other(l.VDim, l.EmbedDim))
	}},
	{id: "prefix", what: "a prefix of the parameters' names", has: func(c *fixture.Case) bool {
		return c.Layer.Prefix != ""
	}},
	layoutFeature("torch", "PyTorch's names of parameters", attention.TorchLayout),
	layoutFeature("torch-separate", "three separate projections under PyTorch's names", attention.TorchSeparateLayout),
	layoutFeature("seed", "parameters W_Q, W_K, W_V and W_O", attention.SeedLayout),
	layoutFeature("llama", "parameters named as in Llama", attention.LlamaLayout),
	layoutFeature("gpt2", "parameters named as in GPT-2", attention.GPT2Layout),
	layoutFeature("neox", "parameters named as in GPT-NeoX", attention.NeoXLayout),
	layoutFeature("fused", "parameters named as in Phi-3", attention.FusedLayout),
}

// kindFeatures tell which operation a case is about.
var kindFeatures = []feature{
	{id: "function", what: "no parameters", has: func(c *fixture.Case) bool {
		return len(c.State) == 0 && c.Op != fixture.Module
	}},
	{id: "rotation", what: "a rotation by tables", has: func(c *fixture.Case) bool { return c.Op == fixture.Rotary }},
	{id: "layer", what: "parameters", has: func(c *fixture.Case) bool { return len(c.State) > 0 }},
	{id: "module", what: "a module other than attention", has: func(c *fixture.Case) bool {
		return c.Op == fixture.Module
	}},
}

// sizes lists numbers by whose limits failures may be told from passes.
var sizes = []size{
	{"batch", "%s %d batch element", "%s %d batch elements", batchCount},
	{"heads", "%s %d head", "%s %d heads", func(c *fixture.Case) int {
		heads, _ := headCounts(c)
		return heads
	}},
	{"queries", "%s %d query", "%s %d queries", queryCount},
	{"keys", "%s %d key", "%s %d keys", keyCount},
	{"head-size", "a head size of %s %d", "a head size of %s %d", headSize},
	{"largest-input", "a largest input of %s %d", "a largest input of %s %d", largestInput},
}

func layoutFeature(id, what string, layout attention.ParamLayout) feature {
	return feature{id: "parameters-" + id, what: what, has: func(c *fixture.Case) bool {
		return c.Op == fixture.MultiHead && c.Layer.ParamLayout == layout
	}}
}

// groupFeature is the feature of cases in a folder of the suite.
func groupFeature(name string) feature {
	group, _, _ := strings.Cut(name, "/")
	has := func(c *fixture.Case) bool { return strings.HasPrefix(c.Name, group+"/") }
	return feature{id: "name-" + group, what: "a name that begins with " + group + "/", has: has}
}

// atLeast returns the feature of cases whose size has a limit below.
func (s size) atLeast(limit int) feature {
	return feature{
		id: fmt.Sprintf("%s-at-least-%d", s.id, limit), what: s.text("at least", limit),
		has: func(c *fixture.Case) bool { return attends(c) && s.of(c) >= limit },
		instead: func(others []*fixture.Case) string {
			_, most, _ := s.span(others)
			return s.text("at most", most)
		},
	}
}

// atMost returns the feature of cases whose size has a limit above.
func (s size) atMost(limit int) feature {
	return feature{
		id: fmt.Sprintf("%s-at-most-%d", s.id, limit), what: s.text("at most", limit),
		has: func(c *fixture.Case) bool { return attends(c) && s.of(c) <= limit },
		instead: func(others []*fixture.Case) string {
			least, _, _ := s.span(others)
			return s.text("at least", least)
		},
	}
}

// text follows "have": "at least 33 keys".
func (s size) text(relation string, n int) string {
	if n == 1 {
		return fmt.Sprintf(s.one, relation, n)
	}
	return fmt.Sprintf(s.many, relation, n)
}

// span returns the smallest and the largest size of cases; false if no case has the size.
func (s size) span(cases []*fixture.Case) (least, most int, ok bool) {
	for _, c := range cases {
		if !attends(c) {
			continue
		}
		n := s.of(c)
		if !ok {
			least, most, ok = n, n, true
		}
		least, most = min(least, n), max(most, n)
	}
	return least, most, ok
}

// either returns the value of a function's case or of a layer's; zero for other modules.
func either[T any](c *fixture.Case, function, layer T) T {
	var none T
	switch c.Op {
	case fixture.SDPA:
		return function
	case fixture.MultiHead:
		return layer
	}
	return none
}

// other reports whether a width is given, and is not the usual one.
func other(width, usual int) bool { return width != 0 && width != usual }

func headCounts(c *fixture.Case) (heads, kv int) {
	switch c.Op {
	case fixture.SDPA:
		return headsOf(c.Inputs.Query), headsOf(c.Inputs.Key)
	case fixture.MultiHead:
		if kv = c.Layer.NumKVHeads; kv == 0 {
			kv = c.Layer.NumHeads
		}
		return c.Layer.NumHeads, kv
	}
	return 0, 0
}

// headsOf returns the number of heads of a tensor (..., H, T, E); 1 if it has no such dimension.
func headsOf(t *attention.Tensor) int {
	if n := len(t.Shape); n > 2 {
		return t.Shape[n-3]
	}
	return 1
}

func headSize(c *fixture.Case) int {
	switch {
	case c.Op == fixture.SDPA:
		return num.Last(c.Inputs.Query.Shape)
	case c.Op != fixture.MultiHead:
		return 0
	case c.Layer.HeadDim > 0:
		return c.Layer.HeadDim
	}
	return c.Layer.EmbedDim / c.Layer.NumHeads
}

func batchCount(c *fixture.Case) int {
	if !attends(c) {
		return 0
	}
	if c.Op == fixture.SDPA {
		if n := len(c.Inputs.Query.Shape); n > 3 {
			return c.Inputs.Query.Shape[0]
		}
		return 1
	}
	switch c.Layer.InputLayout {
	case attention.Unbatched:
		return 1
	case attention.SequenceFirst:
		return c.Inputs.Query.Shape[1]
	}
	return c.Inputs.Query.Shape[0]
}

func queryCount(c *fixture.Case) int {
	if !attends(c) {
		return 0
	}
	return tokens(c, c.Inputs.Query)
}

// keyCount counts the keys of each query. Cached ones, and the ones that a layer appends, count
// too.
func keyCount(c *fixture.Case) int {
	if !attends(c) {
		return 0
	}
	n := tokens(c, c.Inputs.Key)
	if past := pastKeys(c); past != nil {
		n += past.Shape[len(past.Shape)-2]
	}
	for _, appended := range []bool{c.Layer.BiasKV, c.Layer.ZeroAttn} {
		if appended {
			n++
		}
	}
	return n
}

// pastKeys returns the cached keys of a case, nil if there are none.
func pastKeys(c *fixture.Case) *attention.Tensor {
	return either(c, c.Options.PastKey, c.Inputs.PastKey)
}

func tokens(c *fixture.Case, t *attention.Tensor) int {
	if c.Op == fixture.MultiHead && c.Layer.InputLayout == attention.SequenceFirst {
		return t.Shape[0]
	}
	return t.Shape[len(t.Shape)-2]
}

func maskPerHead(c *fixture.Case) bool {
	shape := func(mask *attention.Mask, bias *attention.Tensor) []int {
		switch {
		case mask != nil:
			return mask.Shape
		case bias != nil:
			return bias.Shape
		}
		return nil
	}
	switch c.Op {
	case fixture.SDPA:
		s := shape(c.Options.Allow, c.Options.Bias)
		return len(s) > 2 && s[len(s)-3] > 1
	case fixture.MultiHead:
		return len(shape(c.Inputs.Block, c.Inputs.Bias)) > 2
	}
	return false
}

// seesNoKey reports whether all keys are hidden from some query.
func seesNoKey(c *fixture.Case) bool {
	return attends(c) && slices.Contains(oracle.FromCase(c).Visible(), 0)
}

// rowStarts returns the first element of each row of a mask.
func rowStarts(m *attention.Mask) []bool {
	width := num.Last(m.Shape)
	var starts []bool
	for i := 0; i < len(m.Data); i += width {
		starts = append(starts, m.Data[i])
	}
	return starts
}

func hasBiases(c *fixture.Case) bool {
	return c.Op == fixture.MultiHead && !c.Layer.WithoutBias && c.Layer.ParamLayout != attention.SeedLayout
}

// largestInput returns the size of the largest value of query, key or value, without its fraction.
func largestInput(c *fixture.Case) int {
	largest := 0.0
	for _, t := range []*attention.Tensor{c.Inputs.Query, c.Inputs.Key, c.Inputs.Value} {
		if t == nil {
			continue
		}
		for _, v := range t.Data {
			largest = math.Max(largest, math.Abs(float64(v)))
		}
	}
	return int(math.Min(largest, math.MaxInt32))
}

// attends reports whether a case is about attention: not a rotation, and not any other module.
func attends(c *fixture.Case) bool { return c.Op == fixture.SDPA || c.Op == fixture.MultiHead }

func isModule(c *fixture.Case) bool { return c.Op == fixture.Module }

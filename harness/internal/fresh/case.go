package fresh

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/random"
)

// purpose begins the purpose of a case. Its flags follow.
const purpose = "A fresh case of difftest new "

// Case draws the inputs and parameters of a complete configuration. The case has no results yet.
// The error is [Config.Check]'s.
func Case(name string, c Config) (*fixture.Case, error) {
	c = c.Complete()
	if err := c.Check(); err != nil {
		return nil, err
	}
	made := &fixture.Case{
		Name: name, Op: fixture.SDPA, Precision: c.precision(),
		Purpose: purpose + c.String() + ".",
		Provenance: fixture.Provenance{
			Function: "difftest new", Call: c.String(), Torch: fixture.ByOracle, Seed: c.Seed,
		},
	}
	if c.Layer {
		made.Op = fixture.MultiHead
		c.drawLayer(made)
	} else if err := c.drawFunction(made); err != nil {
		return nil, err
	}
	return made, nil
}

// ConfigOf returns the configuration that a case was made from, by its purpose, which stays if
// PyTorch computes the case later. It reports false for a case from elsewhere.
func ConfigOf(c *fixture.Case) (Config, bool) {
	base := Default()
	flags, ok := strings.CutPrefix(c.Purpose, purpose)
	if !ok {
		var of string
		of, ok = strings.CutPrefix(c.Purpose, purposeOfModel)
		of, flags, _ = strings.Cut(of, ": ")
		base = Config{Model: of}
	}
	if !ok {
		return Config{}, false
	}
	made, err := base.parse(strings.Fields(strings.TrimSuffix(flags, ".")))
	return made, err == nil
}

// SetTruth gives a case the oracle's result as its truth. The output is the truth, rounded to the
// precision of the case.
func SetTruth(c *fixture.Case) { SetResult(c, oracle.FromCase(c).Run()) }

// SetResult gives a case a result of the oracle as its truth.
func SetResult(c *fixture.Case, right oracle.Field) {
	truth := oracle.FromBatchFirst(c.Layer.InputLayout, oracle.Array{Shape: right.Shape, Value: right.Value})
	c.Truth, c.Output = truth.Value, attention.NewTensor(truth.Shape...)
	for i, v := range truth.Value {
		c.Output.Data[i] = float32(v)
	}
	if c.Precision == fixture.Float16 || c.Precision == fixture.BFloat16 {
		c.Output = rounded(c.Output, c.Precision)
	}
}

// rounded returns a tensor with its values rounded to float16 or bfloat16.
func rounded(t *attention.Tensor, precision fixture.DType) *attention.Tensor {
	lower := oracle.Float16
	if precision == npy.BFloat16 {
		lower = oracle.BFloat16
	}
	own := t.Clone()
	for i, v := range own.Data {
		own.Data[i] = float32(lower.Round(float64(v)))
	}
	return own
}

// stream returns the random numbers of one tensor. No tensor moves another.
func (c Config) stream(name string) random.Draw {
	h := fnv.New64a()
	h.Write([]byte(name))
	return random.Draw{Rand: rand.New(rand.NewPCG(c.Seed, h.Sum64()))}
}

// drawFunction fills in query, key, value and the options of scaled_dot_product_attention.
func (c Config) drawFunction(made *fixture.Case) error {
	in, o := &made.Inputs, &made.Options
	kv, ev := cmp.Or(c.KVHeads, c.Heads), cmp.Or(c.ValueDim, c.HeadDim)
	spread := cmp.Or(c.Scores, 1)
	if c.Scale != 0 {
		spread /= math.Abs(c.Scale) * math.Sqrt(float64(c.HeadDim))
	}
	in.Query = c.input(made, "query", spread, c.Batch, c.Heads, c.Queries, c.HeadDim)
	in.Key = c.input(made, "key", 1, c.Batch, kv, c.Keys-c.Past, c.HeadDim)
	in.Value = c.input(made, "value", 1, c.Batch, kv, c.Keys-c.Past, ev)
	if c.Past > 0 {
		o.PastKey = c.input(made, "past_key", 1, c.Batch, kv, c.Past, c.HeadDim)
		o.PastValue = c.input(made, "past_value", 1, c.Batch, kv, c.Past, ev)
	}
	o.GroupedQuery, o.Window, o.Softcap, o.ALiBi, o.Scale = c.KVHeads > 0, c.Window, c.Softcap, c.ALiBi, c.Scale
	o.Causality = map[string]attention.Causality{
		"top-left": attention.TopLeft, "lower-right": attention.LowerRight,
	}[c.Causal]
	if c.Sinks {
		o.Sinks = c.stream("sinks").Tensor(c.Heads)
	}
	shape := c.maskShape()
	switch c.Mask {
	case "bool":
		o.Allow = c.stream("allow").Mask(0.6, shape...)
	case "additive":
		o.Bias = hidden(c.input(made, "bias", 1, shape...), c.stream("hidden"))
		if made.Unrounded != nil {
			for i, v := range o.Bias.Data {
				if math.IsInf(float64(v), 0) {
					made.Unrounded["bias"][i] = float64(v)
				}
			}
		}
	case "padding":
		o.KeyLengths = Lengths(c.stream("lengths"), c.Batch, c.Keys)
	}
	return attention.CheckSDPA(in.Query, in.Key, in.Value, *o)
}

// maskShape draws one of the shapes that broadcast to the scores.
func (c Config) maskShape() []int {
	whole := []int{c.Batch, c.Heads, c.Queries, c.Keys}
	return whole[c.stream("mask shape").IntN(3):]
}

// hidden hides about one key in seven by -Inf.
func hidden(t *attention.Tensor, d random.Draw) *attention.Tensor {
	for i := range t.Data {
		if d.IntN(7) == 0 {
			t.Data[i] = float32(math.Inf(-1))
		}
	}
	return t
}

// input draws N(0, spread²) values in the precision of the case.
func (c Config) input(made *fixture.Case, role string, spread float64, shape ...int) *attention.Tensor {
	d, t := c.stream(role), attention.NewTensor(shape...)
	exact := make([]float64, len(t.Data))
	for i := range t.Data {
		exact[i] = spread * d.NormFloat64()
		t.Data[i] = float32(exact[i])
	}
	switch made.Precision {
	case fixture.Float64:
		if made.Unrounded == nil {
			made.Unrounded = map[string][]float64{}
		}
		made.Unrounded[role] = exact
	case fixture.Float16, fixture.BFloat16:
		return rounded(t, made.Precision)
	}
	return t
}

// Lengths draws how many keys each batch element keeps, at least one. They all differ if there are
// enough keys, and element 0 is padded unless there is one key.
func Lengths(d random.Draw, batch, keys int) []int {
	order := d.Perm(keys)
	lengths := make([]int, batch)
	for b := range lengths {
		lengths[b] = 1 + order[b%keys]
	}
	if lengths[0] == keys && keys > 1 {
		lengths[0] = 1 + order[1]
		if batch > 1 {
			lengths[1] = keys
		}
	}
	return lengths
}

// drawLayer fills in the inputs, masks and parameters of a layer.
func (c Config) drawLayer(made *fixture.Case) {
	made.Layer = c.layer()
	filled, err := attention.New(made.Layer)
	if err != nil {
		panic(err) // Check has seen no error
	}
	full, in := filled.Config(), &made.Inputs
	input := func(role string, length, width int) *attention.Tensor {
		if full.InputLayout == attention.SequenceFirst {
			return c.stream(role).Tensor(length, c.Batch, width)
		}
		return c.stream(role).Tensor(c.Batch, length, width)
	}
	in.Query = input("query", c.Queries, full.EmbedDim)
	in.Key, in.Value = in.Query, in.Query
	if c.Cross {
		in.Key = input("key", c.Keys, full.KDim)
		in.Value = in.Key
	}
	if c.Past > 0 {
		in.PastKey = c.stream("past_key").Tensor(c.Batch, full.NumKVHeads, c.Past, full.HeadDim)
		in.PastValue = c.stream("past_value").Tensor(c.Batch, full.NumKVHeads, c.Past, full.HeadDim)
	}
	made.State = filled.StateDict()
	for _, name := range slices.Sorted(maps.Keys(made.State)) {
		Fill(c.stream(name), made.State[name], strings.TrimPrefix(name, full.Prefix), Scoring, full.ParamLayout)
	}
	c.spread(made)
	c.layerMask(in)
}

// spread multiplies the inputs of a layer by the root of the scores' deviation, because a score is
// a product of two of them.
func (c Config) spread(made *fixture.Case) {
	if c.Scores == 0 {
		return
	}
	seen := map[*attention.Tensor]bool{}
	for _, t := range []*attention.Tensor{made.Inputs.Query, made.Inputs.Key} {
		if seen[t] {
			continue
		}
		seen[t] = true
		for i := range t.Data {
			t.Data[i] *= float32(math.Sqrt(c.Scores))
		}
	}
}

func (c Config) layerMask(in *attention.Inputs) {
	switch c.Mask {
	case "bool":
		in.Block = c.stream("block").Mask(0.3, c.Queries, c.Keys)
	case "additive":
		in.Bias = hidden(c.stream("bias").Tensor(c.Queries, c.Keys), c.stream("hidden"))
	case "padding":
		in.Padding = attention.NewMask(c.Batch, c.Keys)
		left := c.stream("side").Some()
		for b, n := range Lengths(c.stream("lengths"), c.Batch, c.Keys) {
			for j := range c.Keys {
				in.Padding.Data[b*c.Keys+j] = !left && j >= n || left && j < c.Keys-n
			}
		}
	}
}

// Name returns the name of a case in a folder: the group, and what tells the case apart.
func (c Config) Name(group string) string {
	h := fnv.New32a()
	h.Write([]byte(c.String()))
	if c.Model != "" {
		return fmt.Sprintf("%s/%s-b%d-t%d-%08x", group, path.Base(c.Model), c.Batch, c.Tokens, h.Sum32())
	}
	return fmt.Sprintf("%s/b%d-h%d-e%d-q%d-k%d-%08x", group, c.Batch, c.Heads, c.HeadDim, c.Queries, c.Keys, h.Sum32())
}

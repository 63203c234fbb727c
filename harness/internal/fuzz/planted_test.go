package fuzz

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/fresh"
	"github.com/difftest/difftest/harness/internal/subject"
)

// call is a call of a kernel, with its numbers.
type call struct {
	q, k, v *attention.Tensor
	o       attention.SDPAOptions

	batch, heads, kvHeads, queries, keys, past, headDim, valueDim int
}

func newCall(q, k, v *attention.Tensor, o attention.SDPAOptions) *call {
	c := &call{q: q, k: k, v: v, o: o}
	c.batch, c.heads, c.queries, c.headDim = q.Shape[0], q.Shape[1], q.Shape[2], q.Shape[3]
	c.kvHeads, c.keys, c.valueDim = k.Shape[1], k.Shape[2], v.Shape[3]
	if o.PastKey != nil {
		c.past = o.PastKey.Shape[2]
		c.keys += c.past
	}
	return c
}

// kernelFunc computes a call.
type kernelFunc func(*call) (*attention.Tensor, error)

// right computes the call.
func (c *call) right() (*attention.Tensor, error) { return attention.SDPA(c.q, c.k, c.v, c.o) }

// plain reports whether the call has no option.
func (c *call) plain() bool {
	return c.o.Allow == nil && c.o.Bias == nil && c.o.KeyLengths == nil && c.past == 0 && c.o.Window == 0 &&
		c.o.Causality == attention.NotCausal && !c.o.ALiBi
}

// spoiled computes the call, and a wrong output if the fault shows.
func (c *call) spoiled(shows bool) (*attention.Tensor, error) {
	out, err := c.right()
	if err == nil && shows {
		for i := range out.Data {
			out.Data[i] = out.Data[i]*1.01 + 0.001
		}
	}
	return out, err
}

// eachToken replaces the tokens of keys and values by others of the same tensor.
func eachToken(t *attention.Tensor, tokens []int) *attention.Tensor {
	shape := slices.Clone(t.Shape)
	shape[2] = len(tokens)
	out, width := attention.NewTensor(shape...), t.Shape[3]
	for n := range t.Shape[0] * t.Shape[1] {
		for i, from := range tokens {
			copy(out.Data[(n*len(tokens)+i)*width:][:width], t.Data[(n*t.Shape[2]+from)*width:][:width])
		}
	}
	return out
}

// keep computes the call with the keys at the given places alone.
func (c *call) keep(tokens []int) (*attention.Tensor, error) {
	if len(tokens) == 0 {
		return attention.NewTensor(c.batch, c.heads, c.queries, c.valueDim), nil
	}
	c.k, c.v = eachToken(c.k, tokens), eachToken(c.v, tokens)
	return c.right()
}

func upTo(n int, at func(int) int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = at(i)
	}
	return all
}

func same(i int) int { return i }

// tail drops the keys of the last tile of 8.
func tail(c *call) (*attention.Tensor, error) {
	if !c.plain() {
		return c.right()
	}
	return c.keep(upTo(c.keys/8*8, same))
}

// narrowIndex keeps the index of a key in 7 bits.
func narrowIndex(c *call) (*attention.Tensor, error) {
	if !c.plain() {
		return c.right()
	}
	return c.keep(upTo(c.keys, func(i int) int { return i % 128 }))
}

// features computes scores from the first features of each query.
func (c *call) features(n int) (*attention.Tensor, error) {
	c.q = c.q.Clone()
	for i := range c.q.Data {
		if i%c.headDim >= n {
			c.q.Data[i] = 0
		}
	}
	return c.right()
}

// batchStride reads the queries of a batch element as if there were one head.
func batchStride(c *call) (*attention.Tensor, error) {
	given, size := c.q, c.queries*c.headDim
	c.q = given.Clone()
	for b := range c.batch {
		copy(c.q.Data[b*c.heads*size:][:size], given.Data[b*size:])
	}
	return c.right()
}

// groups takes key head h mod Hk for query head h.
func groups(c *call) (*attention.Tensor, error) {
	if !c.o.GroupedQuery || c.past > 0 {
		return c.right()
	}
	repeat := func(t *attention.Tensor) *attention.Tensor {
		out := attention.NewTensor(c.batch, c.heads, t.Shape[2], t.Shape[3])
		size := t.Shape[2] * t.Shape[3]
		for n := range c.batch * c.heads {
			from := n/c.heads*c.kvHeads + n%c.heads%c.kvHeads
			copy(out.Data[n*size:][:size], t.Data[from*size:])
		}
		return out
	}
	c.k, c.v, c.o.GroupedQuery = repeat(c.k), repeat(c.v), false
	return c.right()
}

func window(c *call) (*attention.Tensor, error) {
	if c.o.Window > 0 && c.keys%c.o.Window == 0 {
		c.o.Window++
	}
	return c.right()
}

// only offers calls without some options.
func only(offered func(*call) bool, kernel kernelFunc) kernelFunc {
	return func(c *call) (*attention.Tensor, error) {
		if !offered(c) {
			return nil, errors.ErrUnsupported
		}
		return kernel(c)
	}
}

// unsteady counts the calls of a kernel whose second forward differs.
func unsteady() kernelFunc {
	calls := 0
	return func(c *call) (*attention.Tensor, error) {
		out, err := c.right()
		if calls++; err == nil && c.batch >= 5 && calls%2 == 0 {
			out.Data[0] = math.Nextafter32(out.Data[0], 2*out.Data[0]+1)
		}
		return out, err
	}
}

// faults are kernels with planted faults of shapes. least is the smallest failing configuration.
// Its dimensions of 1 are left out.
var faults = []struct {
	name   string
	kernel kernelFunc
	wants  string
	least  fresh.Config
}{
	{"tail tile", tail, "keys mod 8 != 0", fresh.Config{}},
	{"narrow index", narrowIndex, "keys >= 129", fresh.Config{Keys: 129}},
	{"head dim above 64", func(c *call) (*attention.Tensor, error) { return c.features(64) },
		"keys >= 2 and head-dim >= 65", fresh.Config{HeadDim: 65, Keys: 2}},
	{"odd head dim", func(c *call) (*attention.Tensor, error) { return c.features(c.headDim / 2 * 2) },
		"keys >= 2 and head-dim mod 2 = 1", fresh.Config{Keys: 2}},
	{"batch stride", batchStride, "keys >= 2 and batch >= 2 and heads >= 2", fresh.Config{Batch: 2, Heads: 2, Keys: 2}},
	{"groups", groups, "kv-heads >= 2", fresh.Config{Heads: 4, KVHeads: 2}},
	{"window that divides", only(func(c *call) bool { return c.o.Causality == 0 && c.past == 0 }, window),
		"max(queries, keys) > window and keys mod window = 0", fresh.Config{Queries: 2, Window: 1}},
	{"cache beyond the window", func(c *call) (*attention.Tensor, error) {
		return c.spoiled(c.o.Window > 0 && c.past > c.o.Window)
	}, "past > window", fresh.Config{Keys: 3, Past: 2, Window: 1}},
	{"narrow values", func(c *call) (*attention.Tensor, error) { return c.spoiled(c.valueDim != c.headDim) },
		"always", fresh.Config{HeadDim: 2, ValueDim: 1}},
	{"many rows", func(c *call) (*attention.Tensor, error) { return c.spoiled(c.batch*c.heads*c.queries > 1024) },
		"batch*heads*queries >= 1025", fresh.Config{Queries: 1025}},
	{"decoding", func(c *call) (*attention.Tensor, error) { return c.spoiled(c.queries == 1 && c.keys > 256) },
		"keys >= 257 and queries = 1", fresh.Config{Keys: 257}},
	{"last tile of queries", func(c *call) (*attention.Tensor, error) { return c.spoiled(c.queries%16 == 1) },
		"queries mod 16 = 1", fresh.Config{}},
	{"slopes", func(c *call) (*attention.Tensor, error) {
		return c.spoiled(c.o.ALiBi && bits.OnesCount(uint(c.heads)) > 1)
	}, "heads is no power of two", fresh.Config{Heads: 3, ALiBi: true}},
	{"empty rows", func(c *call) (*attention.Tensor, error) {
		return c.spoiled(c.o.Causality == attention.LowerRight && c.queries > c.keys)
	}, "queries > keys", fresh.Config{Queries: 2}},
	{"softcap in blocks", func(c *call) (*attention.Tensor, error) {
		return c.spoiled(c.o.Softcap > 0 && c.keys > 32)
	}, "keys >= 33", fresh.Config{Keys: 33}},
	{"vector of four", func(c *call) (*attention.Tensor, error) {
		return c.spoiled(c.keys%32 == 1 && c.headDim%4 != 0)
	}, "head-dim mod 4 != 0 and keys mod 32 = 1", fresh.Config{}},
	{"crash", func(c *call) (*attention.Tensor, error) {
		if c.o.Causality == attention.TopLeft && c.queries > c.keys {
			panic(fmt.Sprintf("index out of range [%d] with length %d", c.queries, c.keys))
		}
		return c.right()
	}, "queries > keys", fresh.Config{Queries: 2}},
	{"unsteady", unsteady(), "batch >= 5", fresh.Config{Batch: 5}},
	{"whole tiles", func(c *call) (*attention.Tensor, error) { return c.spoiled(c.keys%64 == 0) },
		"keys mod 64 = 0", fresh.Config{Keys: 64}},
	{"corner", func(c *call) (*attention.Tensor, error) {
		if c.o.Causality == attention.TopLeft && c.past == 0 {
			c.o.Causality = attention.LowerRight
		}
		return c.right()
	}, "keys != queries", fresh.Config{Keys: 2}},
}

// kernelSubject is a subject that computes the function by a kernel.
func kernelSubject(name string, kernel kernelFunc) subject.Subject {
	return subject.Subject{Name: name, SDPA: func(
		q, k, v *attention.Tensor, o attention.SDPAOptions,
	) (*attention.Tensor, error) {
		return kernel(newCall(q, k, v, o))
	}}
}

// Every planted fault is found within 500 draws, shrunk, and its condition is stated exactly.
func TestPlantedFaults(t *testing.T) {
	campaign.SkipShort(t)
	for i, f := range faults {
		if !campaign.Full() && i > 0 {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			r, err := Run(t.Context(), kernelSubject(f.name, f.kernel), Options{Seed: 3, Count: 500})
			require.NoError(t, err)
			require.NotEmpty(t, r.Findings)
			found := r.Findings[0]
			t.Logf("%v: %s", found.Shrunk.Config, found.Condition.Text)
			require.Equal(t, f.wants, found.Condition.Text)
			require.LessOrEqual(t, elements(found.Shrunk.Config), 1.5*elements(f.least))
			for _, other := range r.Findings {
				require.NotEmpty(t, other.Condition.Text, "%v", other.Shrunk.Config)
			}
		})
	}
}

// others are kernels with faults of other forms. Each holds on a condition of the numbers.
var others = []struct {
	wants string
	fails func(*call) bool
}{
	{"keys mod 16 = 15", func(c *call) bool { return c.keys%16 == 15 }},
	{"queries >= 65", func(c *call) bool { return c.queries > 64 }},
	{"head-dim mod 8 != 0", func(c *call) bool { return c.headDim%8 != 0 }},
	{"heads/kv-heads = 3", func(c *call) bool { return c.o.GroupedQuery && c.heads == 3*c.kvHeads }},
	{"window >= 17", func(c *call) bool { return c.o.Window > 16 }},
	{"value-dim > head-dim", func(c *call) bool { return c.valueDim > c.headDim }},
	{"batch >= 2 and keys > queries", func(c *call) bool {
		return c.o.Causality == attention.LowerRight && c.keys > c.queries && c.batch > 1
	}},
	{"keys-past = 1", func(c *call) bool { return c.past > 0 && c.keys-c.past == 1 }},
	{"heads >= 4 and keys is a power of two", func(c *call) bool {
		return bits.OnesCount(uint(c.keys)) == 1 && c.heads > 3
	}},
	{"head-dim >= 33 and head-dim <= 64", func(c *call) bool { return c.headDim > 32 && c.headDim <= 64 }},
	{"batch*heads >= 25", func(c *call) bool { return c.batch*c.heads > 24 }},
	{"keys mod 5 = 2", func(c *call) bool { return c.keys%5 == 2 }},
}

// A name explains the failing draws of many shapes, not the smallest case alone.
func TestNames(t *testing.T) {
	campaign.SkipShort(t)
	for i, tc := range []struct {
		kernel kernelFunc
		want   []string
	}{
		{groups, []string{"kv-heads-tiled"}},
		{func(c *call) (*attention.Tensor, error) {
			if c.o.Causality == attention.TopLeft && c.past == 0 {
				c.o.Causality = attention.LowerRight
			}
			return c.right()
		}, []string{"causal-lower-right"}},
		{func(c *call) (*attention.Tensor, error) { return c.spoiled(c.o.Softcap > 0) }, nil},
	} {
		o := Options{Seed: 3, Count: 200}
		if !campaign.Full() {
			o.Count, o.round = 100, 8
		}
		if !campaign.Full() && i == 1 {
			continue
		}
		r, err := Run(t.Context(), kernelSubject("k", tc.kernel), o)
		require.NoError(t, err)
		require.Equal(t, tc.want, r.Findings[0].Names)
	}
}

// One wrong element proves no value of a number: some value always gives it.
func TestOneElementHasNoName(t *testing.T) {
	r := newRunner(kernelSubject("k", func(c *call) (*attention.Tensor, error) { return c.spoiled(true) }), nil)
	for seed := range uint64(8) {
		names, err := r.names(t.Context(), fresh.Config{
			Batch: 1, Heads: 1, HeadDim: 1, Queries: 1, Keys: 3, Seed: seed, Softcap: float64(seed%2) * 2,
		})
		require.NoError(t, err)
		require.Empty(t, names, "seed %d", seed)
	}
}

// Conditions of other forms are stated exactly, too, with other seeds.
func TestOtherConditions(t *testing.T) {
	campaign.SkipShort(t)
	for i, o := range others {
		if !campaign.Full() && i != 5 {
			continue
		}
		kernel := func(c *call) (*attention.Tensor, error) { return c.spoiled(o.fails(c)) }
		r, err := Run(t.Context(), kernelSubject("k", kernel), Options{Seed: uint64(100 + i), Count: 500})
		require.NoError(t, err)
		if len(r.Findings) == 0 {
			t.Errorf("%s: not found", o.wants)
			continue
		}
		assert.Equal(t, o.wants, r.Findings[0].Condition.Text)
	}
}

// elements counts the elements of query, key and value.
func elements(c fresh.Config) float64 {
	heads := max(1, c.Batch) * max(1, c.Heads)
	kv := max(1, c.Batch) * cmp.Or(c.KVHeads, max(1, c.Heads))
	width := max(1, c.HeadDim)
	return float64(heads*max(1, c.Queries)*width + kv*max(1, c.Keys)*(width+cmp.Or(c.ValueDim, width)))
}

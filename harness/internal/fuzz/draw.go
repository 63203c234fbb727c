package fuzz

import (
	"math/rand/v2"

	"github.com/difftest/difftest/harness/internal/fresh"
)

// source draws random numbers for configurations.
type source struct{ *rand.Rand }

// newSource returns the random numbers of draw n of a seed. No other draw changes them.
func newSource(seed, n uint64) source { return source{rand.New(rand.NewPCG(seed, n))} }

// oneIn is true once in n times.
func (s source) oneIn(n int) bool { return s.IntN(n) == 0 }

func pick[T any](s source, of ...T) T { return of[s.IntN(len(of))] }

var primes = []int{
	2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
	101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193,
	197, 199, 211, 223, 227, 229, 233, 239, 241, 251, 257, 263, 269, 271, 277, 281, 283, 293,
}

// edge draws a number from 1 to most. Most of the numbers stand at edges: 1, 2, powers of two,
// multiples of 8 to 64 and their neighbours, and primes.
func (s source) edge(most int) int {
	for {
		n := 0
		switch s.IntN(8) {
		case 0:
			n = 1 + s.IntN(2)
		case 1, 2:
			n = 1<<s.IntN(13) + s.IntN(3) - 1
		case 3, 4:
			n = pick(s, 8, 16, 32, 64)*(1+s.IntN(8)) + s.IntN(3) - 1
		case 5:
			n = pick(s, primes...)
		default:
			n = 1 + s.IntN(most)
		}
		if n >= 1 && n <= most {
			return n
		}
	}
}

// Work is about the number of multiplications in a case. Most draws stay below the first bound,
// some below the second, and few below the third.
const (
	littleWork = 60_000
	muchWork   = 1_000_000
	mostWork   = 15_000_000
)

// draw draws a configuration among what a subject offers.
func (s source) draw(o *offer) fresh.Config {
	if o.model != nil {
		return s.drawModel(o.model)
	}
	for {
		c := fresh.Config{Seed: s.Uint64()}
		c.Layer = o.kinds[true] && (!o.kinds[false] || s.oneIn(3))
		s.numbers(&c)
		s.options(&c, o)
		if c = c.Complete(); c.Check() == nil {
			return c
		}
	}
}

// drawModel draws a configuration of a module: a batch, tokens, and maybe padding.
func (s source) drawModel(m *fresh.Model) fresh.Config {
	c := m.Default()
	c.Seed = s.Uint64()
	s.shapeOfModel(&c, m.MostTokens())
	if m.Pads() && s.oneIn(3) {
		c.Mask = "padding"
	}
	return c
}

// shapeOfModel draws the batch and the tokens of a module.
func (s source) shapeOfModel(c *fresh.Config, most int) {
	c.Batch, c.Tokens = s.edge(4), s.edge(min(most, 40))
	switch s.IntN(6) {
	case 0:
		c.Tokens = s.edge(most)
	case 1:
		c.Batch = s.edge(20)
	}
	for bound := s.bound(); work(*c) > bound; {
		number := pick(s, &c.Batch, &c.Tokens)
		*number = s.edge((*number + 1) / 2)
	}
}

// bound draws how much work a case may be.
func (s source) bound() int {
	switch n := s.IntN(60); {
	case n == 0:
		return mostWork
	case n < 8:
		return muchWork
	}
	return littleWork
}

// numbers draws the shape of a case.
func (s source) numbers(c *fresh.Config) {
	c.Batch, c.Heads = s.edge(4), s.edge(8)
	c.HeadDim, c.Queries, c.Keys = s.edge(24), s.edge(20), s.edge(40)
	if s.oneIn(2) {
		s.long(c)
	}
	if s.oneIn(4) {
		c.Queries = pick(s, 1, c.Keys)
	}
	if s.oneIn(400) {
		c.Batch, c.Heads, c.HeadDim, c.Keys, c.Queries = s.edge(3), s.edge(4), 1, s.edge(3), 1+s.IntN(40000)
	}
	for most := s.bound(); work(*c) > most; {
		s.reduce(c)
	}
}

// long makes one dimension long, or two.
func (s source) long(c *fresh.Config) {
	for range 1 + s.IntN(2) {
		switch s.IntN(6) {
		case 0:
			c.Keys = s.edge(600)
		case 1:
			c.Keys = s.edge(160)
		case 2:
			c.Queries = s.edge(200)
		case 3:
			c.HeadDim = s.edge(260)
		case 4:
			c.Heads = s.edge(33)
		default:
			c.Batch = s.edge(20)
		}
	}
}

// reduce makes one dimension smaller.
func (s source) reduce(c *fresh.Config) {
	dimension := pick(s, &c.Batch, &c.Heads, &c.HeadDim, &c.Queries, &c.Keys)
	if *dimension > 1 {
		*dimension = s.edge((*dimension + 1) / 2)
	}
}

// work returns about the number of multiplications that a case takes.
func work(c fresh.Config) int {
	if c.Model != "" {
		return c.Batch * c.Tokens * (1000 + 10*c.Tokens)
	}
	n := c.Batch * c.Heads * c.Queries * (2*c.Keys*c.HeadDim + 10*c.Keys)
	if c.Layer {
		width := c.Heads * c.HeadDim
		n += 4 * c.Batch * max(c.Queries, c.Keys) * width * width
	}
	return n
}

// options draws the options of a case. One case in three has none.
func (s source) options(c *fresh.Config, o *offer) {
	if s.oneIn(3) {
		if c.Layer {
			c.Keys = c.Queries
		}
		return
	}
	for _, f := range o.features[c.Layer] {
		if s.oneIn(5) {
			f.add(c, s)
		}
	}
	if c.Layer && !c.Cross {
		if c.Past > 0 {
			c.Past = max(c.Past, c.Keys-1)
		}
		c.Keys = c.Past + c.Queries
	}
}

// feature is an option, or a word of it, that a subject may offer.
type feature struct {
	name string
	add  func(*fresh.Config, source)
}

// features returns every option, with the numbers that it has in a draw.
func features() []feature {
	list := []feature{
		{"kv-heads", func(c *fresh.Config, s source) { c.KVHeads = s.divisor(c.Heads) }},
		{"value-dim", func(c *fresh.Config, s source) { c.ValueDim = s.edge(c.HeadDim + 8) }},
		{"past", func(c *fresh.Config, s source) { c.Past = s.part(c.Keys) }},
		{"window", func(c *fresh.Config, s source) { c.Window = s.window(c.Keys) }},
		{"scale", func(c *fresh.Config, s source) { c.Scale = pick(s, 0.3, 1, 0.05) }},
		{"softcap", func(c *fresh.Config, s source) { c.Softcap = pick(s, 1.5, 5, 30.) }},
		{"alibi", func(c *fresh.Config, _ source) { c.ALiBi = true }},
		{"sinks", func(c *fresh.Config, _ source) { c.Sinks = true }},
		{"embed-dim", func(c *fresh.Config, s source) { c.EmbedDim = s.edge(64) }},
		{"rope-dim", func(c *fresh.Config, s source) { c.RoPEDim = 2 * s.part(c.HeadDim/2+1) }},
		{"qk-norm", func(c *fresh.Config, _ source) { c.QKNorm = true }},
		{"cross", func(c *fresh.Config, _ source) { c.Cross = true }},
		{"scores", func(c *fresh.Config, s source) { c.Scores = pick(s, 0.01, 0.1, 4, 12) }},
	}
	base := fresh.Default()
	for _, f := range base.Fields() {
		for _, word := range f.Words {
			list = append(list, feature{f.Name + "=" + word, func(c *fresh.Config, _ source) {
				for _, own := range c.Fields() {
					if own.Name == f.Name {
						*own.Value.(*string) = word
					}
				}
			}})
		}
	}
	return list
}

// divisor draws a divisor of a number of heads, smaller than it if it has one.
func (s source) divisor(heads int) int {
	var all []int
	for n := 1; n < heads; n++ {
		if heads%n == 0 {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return 0
	}
	return pick(s, all...)
}

// part draws a number below most, 0 if there is none.
func (s source) part(most int) int {
	if most < 2 {
		return 0
	}
	return pick(s, most-1, s.edge(most-1))
}

// window draws a width near the number of keys, a divisor of it, or any.
func (s source) window(keys int) int {
	all := []int{s.edge(keys + 2), s.edge(keys + 2), max(1, keys-1), keys, keys + 1}
	for n := 1; n <= keys && n < 70; n++ {
		if keys%n == 0 {
			all = append(all, n)
		}
	}
	return pick(s, all...)
}

// offer lists the options that a subject offers: for functions under false, for layers under true.
type offer struct {
	model    *fresh.Model // the only thing that is drawn, unless it is nil
	kinds    map[bool]bool
	features map[bool][]feature
}

// optionsOf returns the names of the options of a configuration, without layer.
func optionsOf(c fresh.Config) []string {
	var names []string
	for _, f := range c.Fields() {
		text := fresh.Text(f.Value)
		if !f.Option || f.Name == "layer" || text == "" || text == "0" || text == "false" {
			continue
		}
		if f.Words != nil {
			names = append(names, f.Name+"="+text)
		} else {
			names = append(names, f.Name)
		}
	}
	return names
}

package fuzz

import (
	"context"
	"slices"

	"github.com/difftest/difftest/harness/internal/fresh"
)

// shrink returns the smallest configuration that it finds to fail as o does: without options first,
// then with smaller numbers. allowed bounds the search further; nil allows everything.
func (r *runner) shrink(ctx context.Context, o Outcome, allowed func(fresh.Config) bool) (Outcome, error) {
	for {
		smaller, err := r.smaller(ctx, o, allowed)
		if err != nil || smaller.Config == o.Config {
			return o, err
		}
		o = smaller
	}
}

// smaller makes one pass over all fields.
func (r *runner) smaller(ctx context.Context, o Outcome, allowed func(fresh.Config) bool) (Outcome, error) {
	take := func(c fresh.Config) (bool, error) {
		c = c.Complete()
		if c == o.Config || !simpler(c, o.Config) || c.Check() != nil || allowed != nil && !allowed(c) {
			return false, nil
		}
		tried, err := r.try(ctx, c)
		if err != nil || !tried.Failed() || !tried.same(o) {
			return false, err
		}
		o = tried
		return true, nil
	}
	for _, name := range optionFields() {
		if _, err := take(without(o.Config, name)); err != nil {
			return o, err
		}
	}
	for _, name := range numberFields() {
		for _, n := range fewer(*number(&o.Config, name)) {
			c := o.Config
			*number(&c, name) = n
			taken, err := take(settled(c, name))
			if err != nil {
				return o, err
			}
			if taken {
				break
			}
		}
	}
	return o, nil
}

// settled lets the numbers that follow from a changed one follow it.
func settled(c fresh.Config, changed string) fresh.Config {
	if c.Model != "" {
		return c
	}
	if c.Layer && !c.Cross {
		if changed == "keys" {
			c.Past = max(0, c.Keys-c.Queries)
			c.Queries = c.Keys - c.Past
			return c
		}
		c.Keys = c.Past + c.Queries
	} else if c.Past >= c.Keys {
		c.Past = c.Keys - 1
	}
	if c.KVHeads > 0 && c.Heads%c.KVHeads != 0 {
		c.KVHeads = 1
	}
	return c
}

// without returns a configuration without an option.
func without(c fresh.Config, name string) fresh.Config {
	for _, f := range c.Fields() {
		if f.Name != name {
			continue
		}
		switch v := f.Value.(type) {
		case *int:
			*v = 0
		case *float64:
			*v = 0
		case *bool:
			*v = false
		case *string:
			*v = ""
		}
	}
	switch name {
	case "layer":
		c.RoPE, c.RoPEDim, c.QKNorm, c.Layout, c.Order, c.Cross, c.EmbedDim = "", 0, false, "", "", false, 0
	case "rope":
		c.RoPEDim = 0
	case "past", "cross":
		if c.Layer && !c.Cross {
			c.Keys = c.Past + c.Queries
		}
	}
	return c
}

func optionFields() []string {
	var names []string
	c := fresh.Default()
	for _, f := range c.Fields() {
		if f.Option {
			names = append(names, f.Name)
		}
	}
	return names
}

// numberFields returns the numbers that shrink, the largest tensors' first.
func numberFields() []string {
	return []string{
		"tokens", "keys", "queries", "batch", "heads", "kv-heads", "head-dim", "value-dim", "past", "window",
		"rope-dim", "embed-dim",
	}
}

// number returns the place of a number; nil if there is none of that name.
func number(c *fresh.Config, name string) *int {
	switch name {
	case "batch":
		return &c.Batch
	case "heads":
		return &c.Heads
	case "kv-heads":
		return &c.KVHeads
	case "head-dim":
		return &c.HeadDim
	case "value-dim":
		return &c.ValueDim
	case "queries":
		return &c.Queries
	case "keys":
		return &c.Keys
	case "past":
		return &c.Past
	case "tokens":
		return &c.Tokens
	case "window":
		return &c.Window
	case "rope-dim":
		return &c.RoPEDim
	case "embed-dim":
		return &c.EmbedDim
	}
	return nil
}

// fewer returns the numbers below n that are worth a try, the smallest first. 0 is the lack of an
// option, which is tried elsewhere.
func fewer(n int) []int {
	var all []int
	for _, edge := range []int{0, 8, 16, 32, 64, 128, 256, 512, 1024} {
		for _, off := range []int{-1, 0, 1, 2, 3} {
			all = append(all, edge+off)
		}
	}
	for _, m := range []int{3, 4, 5, 6, 7, 8, 16, 32, 64, 128} {
		all = append(all, n%m, n%m+m)
	}
	all = append(all, n/2, n*3/4, n-3, n-2, n-1)
	all = slices.DeleteFunc(all, func(v int) bool { return v < 1 || v >= n })
	slices.Sort(all)
	return slices.Compact(all)
}

// simpler reports whether a has fewer options than b, or the same and a smaller size.
func simpler(a, b fresh.Config) bool {
	if x, y := complexity(a), complexity(b); x != y {
		return x < y
	}
	return size(a) < size(b)
}

// complexity counts the options of a configuration.
func complexity(c fresh.Config) int {
	n := len(optionsOf(c))
	if c.Layer {
		n++
	}
	return n
}

// size is the sum of all numbers of a configuration, its options included.
func size(c fresh.Config) int {
	n := 0
	for _, name := range numberFields() {
		n += *number(&c, name)
	}
	return n
}

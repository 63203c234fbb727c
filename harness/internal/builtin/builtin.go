// Package builtin is the implementation in Go that difftest runs if it is given no other: package
// attention, and package transformer for captured modules.
package builtin

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/attention/transformer"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Subject returns the implementation under its name in reports.
func Subject() subject.Subject {
	return subject.Subject{
		Name:  "the built-in attention",
		SDPA:  attention.SDPA,
		RoPE:  attention.RotaryEmbedding,
		MHA:   func(c attention.Config) (subject.Module, error) { return attention.New(c) },
		Model: Model,
	}
}

// Model makes a captured module. The error wraps [errors.ErrUnsupported] and gives the reason if
// package transformer does not compute the module.
func Model(d subject.Description) (subject.Model, error) {
	if kind, ok := norms[d.Class[strings.LastIndexByte(d.Class, '.')+1:]]; ok {
		return newNorm(kind, d)
	}
	if transformer.IsBlock(d.Class) {
		made, err := transformer.ParseBlock(d.Class, d.Settings)
		return &block{made}, err
	}
	c, err := transformer.ParseConfig(d.Class, d.Settings)
	if err != nil {
		return nil, err
	}
	m, err := transformer.New(pooling(c, d.Keys))
	if err != nil {
		return nil, err
	}
	return model{m}, nil
}

// pooling takes the pooler out of a BERT that has no parameters for one. Its configuration does not
// tell.
func pooling(c transformer.Config, keys []string) transformer.Config {
	if bert, ok := c.(transformer.BertConfig); ok {
		ofPooler := func(key string) bool { return strings.HasPrefix(key, "pooler.") }
		bert.Pooler = bert.Pooler && slices.ContainsFunc(keys, ofPooler)
		return bert
	}
	return c
}

// model is a whole model.
type model struct{ *transformer.Model }

// Forward computes the model. The error wraps [errors.ErrUnsupported] if package transformer does
// not take an argument.
func (m model) Forward(a subject.Arguments) (*attention.Tensor, error) {
	var in transformer.Inputs
	takes := map[string]*[][]int{
		"input_ids": &in.InputIDs, "attention_mask": &in.AttentionMask, "token_type_ids": &in.TokenTypeIDs,
	}
	for _, name := range slices.Sorted(maps.Keys(a.Tensors)) {
		return nil, fmt.Errorf("%w: the argument %s", errors.ErrUnsupported, name)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Masks)) {
		mask := a.Masks[name]
		into, ok := takes[name]
		if !ok || name != "attention_mask" || len(mask.Shape) != 2 {
			return nil, fmt.Errorf("%w: the argument %s", errors.ErrUnsupported, name)
		}
		*into = rows(mask.Shape, numbers(mask.Data))
	}
	for _, name := range slices.Sorted(maps.Keys(a.Integers)) {
		values := a.Integers[name]
		into, ok := takes[name]
		if !ok || len(values.Shape) != 2 {
			return nil, fmt.Errorf("%w: the argument %s", errors.ErrUnsupported, name)
		}
		*into = rows(values.Shape, values.Data)
	}
	return m.Model.Forward(in)
}

// rows cuts the values of an array (B, T) into rows.
func rows(shape, values []int) [][]int {
	all := make([][]int, shape[0])
	for i := range all {
		all[i] = values[i*shape[1]:][:shape[1]]
	}
	return all
}

// numbers returns 1 for true and 0 for false.
func numbers(bools []bool) []int {
	values := make([]int, len(bools))
	for i, b := range bools {
		if b {
			values[i] = 1
		}
	}
	return values
}

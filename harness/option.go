package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/known"
	"github.com/difftest/difftest/harness/internal/shard"
)

// Option changes what [Run], [Check] and [CheckFolder] do.
type Option func(*options)

type options struct {
	patterns []string
	known    []known.Failure
	declared Precision
	shard    *shard.Shard
}

// Select restricts a run to the cases that one of the patterns selects. A pattern is the name of a
// case, a path glob in which ** crosses slashes ("mha/**"), or a word, which selects every case
// that has it as an element of its path or as a hyphenated part of one ("causal").
func Select(patterns ...string) Option {
	return func(o *options) { o.patterns = append(o.patterns, patterns...) }
}

// Declare states the arithmetic of outputs that were made elsewhere, for [CheckFolder]. [Check] and
// [Run] take it from the implementation.
func Declare(p Precision) Option {
	return func(o *options) { o.declared = p }
}

// Shard restricts a run to one of several parts of the selected cases, counted from 1. A case stays
// in its part when others are added to the suite. A part may have no case.
func Shard(index, count int) Option {
	return func(o *options) { o.shard = &shard.Shard{Index: index, Count: count} }
}

// Known is a failure that is expected.
type Known struct {
	// Pattern selects the cases, as in [Select].
	Pattern string
	// Cause is the id of the mistake that the cases fail with; "" is any.
	Cause string
	// Reason says why the failure is accepted. It must not be empty.
	Reason string
}

// Expect lists failures that are expected. Their verdict is [Acknowledged]. A listed case that
// passes fails, and so does a case that fails with another cause than the listed one.
func Expect(failures ...Known) Option {
	return func(o *options) {
		for _, k := range failures {
			o.known = append(o.known, known.Failure(k))
		}
	}
}

// selection is the cases of a suite that a run is about.
type selection struct {
	options
	all      []string // names of all cases
	selected []string
	broken   error // the suite holds cases, and files that belong to none
}

// choose applies options to a suite. The error says that the suite has no case, that a pattern
// selects none, or that an expected failure is described wrongly.
func choose(suite fs.FS, list []Option) (selection, error) {
	var s selection
	for _, option := range list {
		option(&s.options)
	}
	s.all, s.broken = fixture.Names(suite)
	if s.broken != nil && len(s.all) == 0 {
		return s, s.broken
	}
	errs := []error{known.Check(s.known, s.all)}
	for _, p := range s.patterns {
		if !slices.ContainsFunc(s.all, func(name string) bool { return fixture.Selects(p, name) }) {
			errs = append(errs, fmt.Errorf("pattern %q selects no case", p))
		}
	}
	for _, name := range s.all {
		selects := func(p string) bool { return fixture.Selects(p, name) }
		if len(s.patterns) == 0 || slices.ContainsFunc(s.patterns, selects) {
			s.selected = append(s.selected, name)
		}
	}
	if s.shard != nil {
		errs = append(errs, s.shard.Check())
		s.selected = s.shard.Cases(s.selected)
	}
	return s, errors.Join(errs...)
}

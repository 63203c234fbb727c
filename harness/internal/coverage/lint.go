// Package coverage makes every known mistake on every case of a suite. It finds the mistakes that
// the cases see, the mistakes that they miss, and the fewest cases that are enough.
package coverage

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/parallel"
	"github.com/difftest/difftest/harness/internal/replay"
)

// Lint is the coverage of the known mistakes by a suite. Mistakes of attention and mistakes in
// captured modules are two catalogues, each for cases of its own.
type Lint struct {
	Cases []LintedCase
	Summary
	Modules Summary
}

// Summary is the coverage of a catalogue by all of its cases together.
type Summary struct {
	Mistakes []catalogue.Mistake   // the catalogue
	Cases    int                   // that the catalogue is for
	Unseen   []catalogue.Mistake   // mistakes that no case sees
	SeenOnce []catalogue.Mistake   // mistakes that only one case sees
	Merged   [][]catalogue.Mistake // groups of mistakes that no case tells apart
	// Core names the fewest cases that together see the same mistakes as the suite, and tell the
	// same mistakes apart.
	Core []string
}

// LintedCase is the coverage by one case.
type LintedCase struct {
	Case   string
	Module bool // a captured module
	Sight  replay.Visibility
}

// New makes every known mistake on every case of a suite, or on the named ones only. It fails if a
// case is broken or a name unknown.
func New(suite fs.FS, cases ...string) (*Lint, error) {
	names, err := fixture.Names(suite)
	if err := errors.Join(err, fixture.CheckNames(cases, names)); err != nil {
		return nil, err
	}
	if len(cases) > 0 {
		names = cases
	}
	l := &Lint{Cases: make([]LintedCase, len(names))}
	errs := make([]error, len(names))
	parallel.Each(len(names), func(i int) { l.Cases[i], errs[i] = lintCase(suite, names[i]) })
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	l.summarize()
	return l, nil
}

func lintCase(suite fs.FS, name string) (LintedCase, error) {
	c, err := fixture.Read(suite, name)
	if err != nil {
		return LintedCase{}, err
	}
	referee, err := judge.New(context.Background(), c, oracle.Precision{})
	if err != nil {
		return LintedCase{}, err
	}
	return LintedCase{Case: name, Module: c.Op == fixture.Module, Sight: referee.Sees()}, nil
}

// summarize sets the fields about the suite as a whole.
func (l *Lint) summarize() {
	var attention, modules []LintedCase
	for _, c := range l.Cases {
		if c.Module {
			modules = append(modules, c)
		} else {
			attention = append(attention, c)
		}
	}
	l.Summary = summaryOf(catalogue.Mistakes, attention)
	l.Modules = summaryOf(edits.Mistakes, modules)
}

// summaryOf returns the coverage of a catalogue by cases.
func summaryOf(mistakes []catalogue.Mistake, cases []LintedCase) Summary {
	s := Summary{Mistakes: mistakes, Cases: len(cases)}
	counts := make([]int, len(mistakes))
	classes := make([][]int, len(cases))
	for i, c := range cases {
		classes[i] = c.Sight.ClassAmong(mistakes)
		for m, class := range classes[i] {
			if class >= 0 {
				counts[m]++
			}
		}
	}
	for m, n := range counts {
		switch n {
		case 0:
			s.Unseen = append(s.Unseen, mistakes[m])
		case 1:
			s.SeenOnce = append(s.SeenOnce, mistakes[m])
		}
	}
	sets := separations(classes)
	for _, i := range smallestCover(sets) {
		s.Core = append(s.Core, cases[i].Case)
	}
	s.Merged = merged(mistakes, sets)
	return s
}

// separations returns, for each case, the pairs that it tells apart: two mistakes, or a mistake and
// the right output. classes holds, for each case, a number for each mistake: mistakes with the same
// output share a number, and -1 means the right output. Pairs are numbered by [pair].
func separations(classes [][]int) []bitset {
	sets := make([]bitset, len(classes))
	for i, class := range classes {
		right := append(slices.Clone(class), -1)
		for b := range right {
			for a := range b {
				if right[a] != right[b] {
					sets[i] = sets[i].add(pair(a, b))
				}
			}
		}
	}
	return sets
}

// pair numbers the pairs with a < b.
func pair(a, b int) int { return b*(b-1)/2 + a }

// merged groups the mistakes that some case sees and no case tells apart.
func merged(mistakes []catalogue.Mistake, sets []bitset) [][]catalogue.Mistake {
	var all bitset
	for _, s := range sets {
		all = all.union(s)
	}
	var groups [][]catalogue.Mistake
	grouped := map[int]bool{}
	right := len(mistakes)
	for a := range mistakes {
		group := []catalogue.Mistake{mistakes[a]}
		for b := a + 1; b < right; b++ {
			if !grouped[a] && all.has(pair(a, right)) && !all.has(pair(a, b)) {
				group = append(group, mistakes[b])
				grouped[b] = true
			}
		}
		if len(group) > 1 {
			groups = append(groups, group)
		}
	}
	return groups
}

// IDs joins the ids of mistakes: "causal-missing, scale-missing"; "none" if there are none.
func IDs(mistakes []catalogue.Mistake) string {
	if len(mistakes) == 0 {
		return "none"
	}
	return strings.Join(catalogue.IDs(mistakes), ", ")
}

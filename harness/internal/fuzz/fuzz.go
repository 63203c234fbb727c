package fuzz

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/fresh"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Options say what to run, and for how long.
type Options struct {
	Seed uint64
	// Count is how many configurations are drawn; 0: until For is over.
	Count int
	// For bounds the time of the draws; 0: no bound. Causes are looked for after it.
	For time.Duration
	// Corpus is a suite of cases that failed before. They run first, and new failures are added.
	// "" keeps nothing.
	Corpus string
	// Model is the module to draw inputs for; nil draws cases of attention.
	Model *fresh.Model
	// Progress hears how many draws have run, and how many of them failed; nil if nobody listens.
	Progress func(draws, failed int)

	// round is how many draws a search for a condition runs at once; 0 is 24. Tests take fewer.
	round int
}

// Result holds the findings of a run. It depends on the subject, the seed and the number of draws.
type Result struct {
	Subject  string
	Seed     uint64
	Draws    int // cases of the corpus included
	Kept     int // cases of the corpus
	Passed   int
	Failed   int
	Skipped  int
	Findings []Finding
	Took     time.Duration // of the draws
}

// Finding is one cause of failures.
type Finding struct {
	First  Outcome // as drawn
	Draw   int     // the number of the draw, from 0; negative for a case of the corpus
	Shrunk Outcome
	// Draws counts the failing draws that the condition explains.
	Draws int
	// Names are the known mistakes that explain the first case, the shrunk one, and other failing
	// draws with the same options.
	Names     []string
	Condition Explained
	Case      *fixture.Case // the shrunk case with its truth
}

const (
	batch        = 64  // draws between two looks at the clock
	mostFailures = 300 // draws that fail before the drawing ends
	mostHangs    = 4   // draws that hang before the drawing ends
	mostFindings = 6
)

var hangs = regexp.MustCompile(`has not (answered|ended) for`)

// Run draws configurations and runs a subject on them. Failures are shrunk and explained. The error
// says that ctx ended, that a case could not be handed to the subject, or that the corpus cannot be
// read or written.
func Run(ctx context.Context, s subject.Runner, o Options) (*Result, error) {
	begun, r := time.Now(), newRunner(s, o.Model)
	r.round = cmp.Or(o.round, round)
	result := &Result{Subject: r.about.Name, Seed: o.Seed}
	kept, err := corpus(o.Corpus, o.Model)
	if err != nil {
		return nil, err
	}
	offered, err := r.offers(ctx)
	if err != nil {
		return nil, err
	}
	outcomes, err := r.all(ctx, kept)
	for err == nil && more(o, outcomes, len(kept), begun) {
		next := len(outcomes) - len(kept)
		configs := make([]fresh.Config, min(batch, left(o, next)))
		for i := range configs {
			configs[i] = newSource(o.Seed, uint64(next+i)).draw(offered)
		}
		var drawn []Outcome
		drawn, err = r.all(ctx, configs)
		outcomes = append(outcomes, drawn...)
		if o.Progress != nil && err == nil {
			o.Progress(len(outcomes), count(outcomes, Outcome.Failed))
		}
	}
	if err != nil {
		return nil, err
	}
	result.Took, result.Draws, result.Kept = time.Since(begun), len(outcomes), len(kept)
	result.Failed = count(outcomes, Outcome.Failed)
	result.Skipped = count(outcomes, func(o Outcome) bool { return o.Kind == Skipped })
	result.Passed = result.Draws - result.Failed - result.Skipped
	if err := r.findings(ctx, o, outcomes, result); err != nil {
		return nil, err
	}
	return result, o.keep(result.Findings)
}

// left returns how many draws the next round has at most.
func left(o Options, drawn int) int {
	if o.Count == 0 {
		return batch
	}
	return o.Count - drawn
}

// more reports whether the drawing goes on.
func more(o Options, outcomes []Outcome, kept int, begun time.Time) bool {
	hung := func(o Outcome) bool { return hangs.MatchString(o.Text) }
	switch {
	case o.Count > 0 && len(outcomes)-kept >= o.Count,
		o.For > 0 && len(outcomes) > kept && time.Since(begun) >= o.For, // one round is drawn
		count(outcomes, Outcome.Failed) >= mostFailures,
		count(outcomes, hung) >= mostHangs:
		return false
	}
	return o.Count > 0 || o.For > 0
}

func count(outcomes []Outcome, is func(Outcome) bool) int {
	n := 0
	for _, o := range outcomes {
		if is(o) {
			n++
		}
	}
	return n
}

// findings shrinks and explains the failures, one cause after the other. A failure that the
// condition of a cause explains is not looked at again.
func (r *runner) findings(ctx context.Context, o Options, outcomes []Outcome, result *Result) error {
	explained := make([]bool, len(outcomes))
	for i, first := range outcomes {
		if !first.Failed() || explained[i] || len(result.Findings) == mostFindings {
			continue
		}
		s := newSource(o.Seed^0x9e3779b97f4a7c15, uint64(i))
		f, err := r.finding(ctx, first, outcomes, s)
		if err != nil {
			return err
		}
		f.Draw = i - result.Kept
		for j, other := range outcomes {
			if other.Failed() && f.covers(other) {
				explained[j] = true
				f.Draws++
			}
		}
		if !explained[i] {
			explained[i] = true
			f.Draws++
		}
		result.Findings = append(result.Findings, f)
	}
	return nil
}

func (r *runner) finding(ctx context.Context, first Outcome, outcomes []Outcome, s source) (Finding, error) {
	f := Finding{First: first}
	var err error
	if f.Shrunk, f.Names, err = r.shrinkByCause(ctx, first); err != nil {
		return f, err
	}
	if f.Condition, err = r.explain(ctx, f.Shrunk, outcomes, s); err != nil {
		return f, err
	}
	if f.Names, err = r.common(ctx, f.Names, f.Condition.failing); err != nil {
		return f, err
	}
	if f.Condition.holds != nil {
		// The numbers that the condition leaves free may still shrink.
		same := r.family(f.Shrunk, s)
		allowed := func(c fresh.Config) bool { return same.belongs(c) && f.Condition.holds(c) }
		if f.Shrunk, err = r.shrink(ctx, f.Shrunk, allowed); err != nil {
			return f, err
		}
	}
	if f.Case, err = r.make(f.Shrunk.Config.Name("fuzz"), f.Shrunk.Config); err != nil {
		return f, err
	}
	return f, check.SetTruth(ctx, f.Case)
}

// covers reports whether a failure has the options of the finding and meets its condition.
func (f Finding) covers(other Outcome) bool {
	if !other.same(f.Shrunk) {
		return false
	}
	own := optionsOf(other.Config)
	for _, name := range optionsOf(f.Shrunk.Config) {
		if !slices.Contains(own, name) {
			return false
		}
	}
	return f.Condition.holds == nil || f.Condition.holds(other.Config)
}

// corpus reads the configurations of a corpus: the cases of a module, or of attention if model is
// nil. A folder that does not exist is an empty corpus.
func corpus(dir string, model *fresh.Model) ([]fresh.Config, error) {
	own := ""
	if model != nil {
		own = model.Name()
	}
	if dir == "" {
		return nil, nil
	}
	if entries, err := os.ReadDir(dir); errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, nil
	}
	suite := os.DirFS(dir)
	names, err := fixture.Names(suite)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	var configs []fresh.Config
	for _, name := range names {
		c, err := fixture.Read(suite, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		if made, ok := fresh.ConfigOf(c); ok && made.Model == own {
			configs = append(configs, made)
		}
	}
	return configs, nil
}

// keep adds the shrunk cases to the corpus, unless it has them.
func (o Options) keep(findings []Finding) error {
	if o.Corpus == "" {
		return nil
	}
	for _, f := range findings {
		if err := fixture.Write(o.Corpus, f.Case); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w", filepath.Join(o.Corpus, f.Case.Name), err)
		}
	}
	return nil
}

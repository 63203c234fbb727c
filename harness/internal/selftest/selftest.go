package selftest

import (
	"context"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
)

// DefaultSeed is that of a run whose seed is not given.
const DefaultSeed = 20260701

// Beyond is how far, in noise of the right output, a mistake must lead somewhere to be detected always.
const Beyond = 40

// Extent is how much is planted. Every single mistake is made on every case.
type Extent struct {
	Cases    int
	Searched int // cases, the first ones, with outputs that are searched for pairs of mistakes, as follows
	Pairs    int // made on each of them
	Share    int // of the mistakes that are left out, and of those that cannot be replayed, one in so many
}

// Full takes minutes, and Quick less than half a minute, on two cores.
var (
	Full  = Extent{Cases: 300, Searched: 30, Pairs: 10, Share: 3}
	Quick = Extent{Cases: 24, Searched: 4, Pairs: 6, Share: 12}
)

// Options are what is planted.
type Options struct {
	Seed    uint64
	Extent  Extent
	Case    int   // that case alone; negative: all
	Planted fs.FS // outputs that pyref planted, beside the others; nil: none

	judge newJudge // of a test; nil: the referee
}

// newJudge gives the verdicts on a case: a judgement knows all mistakes but one.
type newJudge func(*fixture.Case) (func(unknown string) judgement, error)

type judgement func(ctx context.Context, shape []int, got []float64) (report.Result, error)

func referee(c *fixture.Case) (func(unknown string) judgement, error) {
	r, err := judge.New(context.Background(), c, oracle.Precision{})
	if err != nil {
		return nil, err
	}
	return func(unknown string) judgement {
		if unknown == "" {
			return r.Judge
		}
		return r.Without(unknown).Judge
	}, nil
}

// Run plants and judges. A seed gives the same result on every machine. It fails when ctx ends, and when
// something cannot be judged.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.judge == nil {
		o.judge = referee
	}
	var trials []*trial
	for n := range o.Extent.Cases {
		if o.Case < 0 || o.Case == n {
			trials = append(trials, &trial{name: fmt.Sprint(n), seed: o.Seed, n: n, searched: o.Case >= 0 || n < o.Extent.Searched})
		}
	}
	if len(trials) == 0 {
		return nil, fmt.Errorf("case %d: there are %d, from 0", o.Case, o.Extent.Cases)
	}
	elsewhere, err := readPlanted(o.Planted)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(trials, elsewhere)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, t := range all {
		group.Go(func() error { return t.run(ctx, o) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return together(o.Seed, all), nil
}

// together adds up what the trials found, in their order.
func together(seed uint64, trials []*trial) *Result {
	r := &Result{Seed: seed, Cases: len(trials)}
	var all []Row
	for _, t := range trials {
		r.Singles.add(t.found.Singles)
		r.Pairs.add(t.found.Pairs)
		r.LeftOut.add(t.found.LeftOut)
		r.Random.add(t.found.Random)
		r.Independent.add(t.found.Independent)
		r.Variants.Run += t.found.Variants.Run
		r.Variants.FalseAlarms += t.found.Variants.FalseAlarms
		r.Detection.Planted += t.found.Detection.Planted
		r.Detection.Detected += t.found.Detection.Detected
		r.Findings = append(r.Findings, t.found.Findings...)
		all = append(all, t.found.Mistakes...)
	}
	r.Mistakes = rows(all)
	return r
}

// trial is one case, all that is planted on it, and what was found.
type trial struct {
	name     string
	seed     uint64
	n        int
	searched bool

	given   *fixture.Case // of an independent trial; nil: the case is drawn
	outputs []output      // that were planted on it

	c       *fixture.Case
	problem *oracle.Problem
	truth   compare.Expected
	judges  func(unknown string) judgement
	singles []plant // all that can be replayed
	random  []plant // all others
	found   Result
}

func (t *trial) run(ctx context.Context, o Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.c = t.given; t.c == nil {
		t.c = drawCase(t.seed, t.n)
	}
	t.problem = oracle.FromCase(t.c)
	t.truth = t.problem.Run().Expected()
	var err error
	if t.judges, err = o.judge(t.c); err != nil {
		return err
	}
	if t.given != nil {
		return t.judgeOutputs(ctx)
	}
	t.plantAll()
	if err := t.judgeSingles(ctx); err != nil {
		return err
	}
	t.judgeVariants()
	if !t.searched {
		return nil
	}
	for _, part := range []func(context.Context, Extent) error{t.judgeRandom, t.judgeLeftOut, t.judgePairs} {
		if err := part(ctx, o.Extent); err != nil {
			return err
		}
	}
	return nil
}

// rand is a source of numbers for one purpose, whatever else is drawn.
func (t *trial) rand(purpose string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(t.seed^h.Sum64(), uint64(t.n)))
}

// plantAll makes every mistake of the catalogue that can be made.
func (t *trial) plantAll() {
	for _, m := range catalogue.Mistakes {
		p, ok := t.planted(t.rand(m.ID), m)
		switch {
		case ok && m.Random:
			t.random = append(t.random, p)
		case ok:
			t.singles = append(t.singles, p)
		}
	}
}

// judged gives the verdict on a planted output.
func (t *trial) judged(ctx context.Context, p plant, unknown string) (report.Result, error) {
	if err := ctx.Err(); err != nil {
		return report.Result{}, err
	}
	out := inOrder(t.c, withValues(p.exact, p.got))
	r, err := t.judges(unknown)(ctx, out.Shape, out.Value)
	if err == nil && p.maxZ > Beyond {
		t.found.Detection.Planted++
		if r.Verdict != report.Pass {
			t.found.Detection.Detected++
		} else {
			t.find(notDetected, "detection", p, r)
		}
	}
	return r, err
}

func (t *trial) find(what, part string, p plant, r report.Result) {
	t.found.Findings = append(t.found.Findings, Finding{what, part, t.name, p.id(), said(r)})
}

func (t *trial) judgeSingles(ctx context.Context) error {
	for _, p := range t.singles {
		r, err := t.judged(ctx, p, "")
		if err != nil {
			return err
		}
		t.tally(&t.found.Singles, singles, p, r, p.visible)
	}
	return nil
}

// tally counts an output of one mistake or two, in its table and in that of the mistake.
func (t *trial) tally(c *Counts, part string, p plant, r report.Result, distinguishable bool) {
	o, off := t.outcome(p, r), misclassified(p, r.Diagnosis.Class)
	c.count(o, distinguishable, off)
	switch {
	case o == wrong:
		t.find(wrongName, part, p, r)
	case o == impostor && part != leftOut:
		t.find(otherName, part, p, r)
	case o == unexplained && distinguishable && off:
		t.find(wrongClass, part, p, r)
	case o == unexplained && distinguishable && part != leftOut && part != random:
		t.find(noName, part, p, r)
	}
	if part == singles || part == independent || part == random {
		row := Row{Mistake: p.mistakes[0], By: p.by}
		row.count(o, distinguishable, off)
		t.found.Mistakes = append(t.found.Mistakes, row)
	}
}

// judgeRandom wants no wrong name for mistakes whose outputs cannot be replayed.
func (t *trial) judgeRandom(ctx context.Context, e Extent) error {
	for _, p := range t.share(t.random, e.Share) {
		r, err := t.judged(ctx, p, "")
		if err != nil {
			return err
		}
		t.tally(&t.found.Random, random, p, r, p.visible)
	}
	return nil
}

// judgeLeftOut wants no wrong name for a mistake that the judge does not know.
func (t *trial) judgeLeftOut(ctx context.Context, e Extent) error {
	for _, p := range t.share(t.visible(), e.Share) {
		r, err := t.judged(ctx, p, p.id())
		if err != nil {
			return err
		}
		t.tally(&t.found.LeftOut, leftOut, p, r, true)
	}
	return nil
}

// visible are the single mistakes that the case can see.
func (t *trial) visible() []plant {
	return slices.DeleteFunc(slices.Clone(t.singles), func(p plant) bool { return !p.visible })
}

// share is one in so many, others on other cases.
func (t *trial) share(all []plant, of int) []plant {
	var picked []plant
	for _, p := range all {
		place := slices.IndexFunc(catalogue.Mistakes, func(m catalogue.Mistake) bool { return m.ID == p.id() })
		if (place+t.n)%of == 0 {
			picked = append(picked, p)
		}
	}
	return picked
}

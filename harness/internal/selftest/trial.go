package selftest

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
)

// trial is one case, everything that is planted on it, and the findings.
type trial struct {
	name     string
	seed     uint64
	n        int
	searched bool
	numbers  bool // wrong numbers are planted

	// given and outputs come from pyref. given is nil if the case is drawn.
	given   *fixture.Case
	outputs []output

	c       *fixture.Case
	problem *oracle.Problem
	truth   compare.Expected
	without func(id string) judgeFunc // see newJudge
	singles []plant                   // every mistake that can be replayed
	random  []plant                   // every other one
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
	if t.without, err = o.newJudge(t.c); err != nil {
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
	if t.numbers {
		if err := t.judgeNumbers(ctx); err != nil {
			return err
		}
	}
	if !t.searched {
		return nil
	}
	for _, part := range []func(context.Context, Extent) error{
		t.judgeRandom, t.judgeLeftOut, t.judgePairs, t.judgeNoise,
	} {
		if err := part(ctx, o.Extent); err != nil {
			return err
		}
	}
	return nil
}

// rand returns a source of random numbers for one purpose. It does not depend on what else is
// drawn.
func (t *trial) rand(purpose string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(t.seed^h.Sum64(), uint64(t.n)))
}

// plantAll makes every mistake of the catalogue, and every variant, that can be made on the case.
func (t *trial) plantAll() {
	for _, m := range catalogue.WithVariants {
		p, ok := t.plant(t.rand(m.ID), m)
		switch {
		case ok && m.Random:
			t.random = append(t.random, p)
		case ok:
			t.singles = append(t.singles, p)
		}
	}
}

// judge gives the verdict on a planted output. Its judge does not know the mistake named without.
func (t *trial) judge(ctx context.Context, p plant, without string) (report.Result, error) {
	if err := ctx.Err(); err != nil {
		return report.Result{}, err
	}
	out := oracle.FromBatchFirst(t.c.Layer.InputLayout, oracle.Array{Shape: p.exact.Shape, Value: p.got})
	r, err := t.without(without)(ctx, out.Shape, out.Value)
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
	t.found.Findings = append(t.found.Findings, Finding{what, part, t.name, p.id(), answer(r)})
}

func (t *trial) judgeSingles(ctx context.Context) error {
	for _, p := range t.singles {
		r, err := t.judge(ctx, p, "")
		if err != nil {
			return err
		}
		t.tally(&t.found.Singles, singles, p, r, p.visible)
	}
	return nil
}

// tally counts an output in the table of its part and, if one mistake was made, in the mistake's
// own.
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

// judgeRandom makes random mistakes, whose outputs cannot be replayed. They must get no wrong name.
func (t *trial) judgeRandom(ctx context.Context, e Extent) error {
	for _, p := range t.sample(t.random, e.Share) {
		r, err := t.judge(ctx, p, "")
		if err != nil {
			return err
		}
		t.tally(&t.found.Random, random, p, r, p.visible)
	}
	return nil
}

// judgeLeftOut makes mistakes that the judge does not know. They must get no wrong name.
func (t *trial) judgeLeftOut(ctx context.Context, e Extent) error {
	for _, p := range t.sample(t.visible(), e.Share) {
		r, err := t.judge(ctx, p, p.id())
		if err != nil {
			return err
		}
		t.tally(&t.found.LeftOut, leftOut, p, r, true)
	}
	return nil
}

// visible returns the single mistakes that the case can see.
func (t *trial) visible() []plant {
	return slices.DeleteFunc(slices.Clone(t.singles), func(p plant) bool { return !p.visible })
}

// sample returns one in so many plants, different ones on each case.
func (t *trial) sample(all []plant, oneIn int) []plant {
	var picked []plant
	for _, p := range all {
		place := slices.IndexFunc(catalogue.WithVariants, func(m catalogue.Mistake) bool { return m.ID == p.id() })
		if (place+t.n)%oneIn == 0 {
			picked = append(picked, p)
		}
	}
	return picked
}

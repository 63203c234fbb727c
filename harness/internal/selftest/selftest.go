package selftest

import (
	"context"
	"fmt"
	"io/fs"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
)

// DefaultSeed is the seed of a run if the user gives none.
const DefaultSeed = 20260701

// Beyond is a distance in the noise of the right output. A mistake that moves the output further
// must always be detected.
const Beyond = 40

// Extent is how much is planted. Every single mistake is made on every case.
type Extent struct {
	Cases int
	// Searched is how many cases, the first ones, get the outputs below as well. A diagnosis
	// searches pairs of mistakes for an explanation of each, which takes long.
	Searched int
	// Pairs is how many pairs of mistakes are made on each searched case.
	Pairs int
	// Numbers is how many cases, the first ones, get a wrong value of each of their numbers.
	Numbers int
	// Share is a divisor: of the random mistakes, and of those left out of the catalogue, one in
	// Share is made on a searched case.
	Share int
	// Noises is how many outputs with random numbers in a part are judged on each searched case,
	// for each sort of part.
	Noises int
}

// Full takes many minutes, and Quick about one, on two cores.
var (
	Full  = Extent{Cases: 300, Searched: 30, Pairs: 10, Numbers: 100, Share: 3, Noises: 7}
	Quick = Extent{Cases: 24, Searched: 4, Pairs: 6, Numbers: 6, Share: 12, Noises: 1}
)

// Options choose the cases and the mistakes of a run.
type Options struct {
	Seed    uint64
	Extent  Extent
	Case    int   // the number of the only case to run; negative: all cases
	Planted fs.FS // the folder of outputs that pyref planted, judged besides; nil: none

	newJudge newJudge // replaced by tests; nil: the referee
}

// newJudge makes the judges of a case. The function that it returns gives a judge that does not
// know one mistake, as if the catalogue lacked it; "" gives a judge that knows all.
type newJudge func(*fixture.Case) (without func(id string) judgeFunc, err error)

// judgeFunc gives the verdict on an output, in the case's order of dimensions.
type judgeFunc func(ctx context.Context, shape []int, got []float64) (report.Result, error)

func newReferee(c *fixture.Case) (without func(id string) judgeFunc, err error) {
	r, err := judge.New(context.Background(), c, oracle.Precision{})
	if err != nil {
		return nil, err
	}
	return func(id string) judgeFunc {
		if id == "" {
			return r.Judge
		}
		return r.Without(id).Judge
	}, nil
}

// Run plants mistakes and judges the outputs. A seed gives the same result on every machine. The
// error says that ctx ended, or that an output could not be judged.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.newJudge == nil {
		o.newJudge = newReferee
	}
	var trials []*trial
	for n := range o.Extent.Cases {
		if o.Case < 0 || o.Case == n {
			searched := o.Case >= 0 || n < o.Extent.Searched
			trials = append(trials, &trial{
				name: fmt.Sprint(n), seed: o.Seed, n: n, searched: searched,
				numbers: o.Case >= 0 || n < o.Extent.Numbers,
			})
		}
	}
	if len(trials) == 0 {
		return nil, fmt.Errorf("case %d: there are %d, from 0", o.Case, o.Extent.Cases)
	}
	fromPyTorch, err := readPlanted(o.Planted)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(trials, fromPyTorch)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, t := range all {
		group.Go(func() error { return t.run(ctx, o) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return sum(o.Seed, all), nil
}

// sum adds up the findings of all trials, in their order.
func sum(seed uint64, trials []*trial) *Result {
	r := &Result{Seed: seed, Cases: len(trials)}
	var all []Row
	for _, t := range trials {
		r.Singles.add(t.found.Singles)
		r.Pairs.add(t.found.Pairs)
		r.LeftOut.add(t.found.LeftOut)
		r.Random.add(t.found.Random)
		r.Independent.add(t.found.Independent)
		r.Numbers.add(t.found.Numbers)
		r.Variants.Run += t.found.Variants.Run
		r.Variants.FalseAlarms += t.found.Variants.FalseAlarms
		r.Noise.Planted += t.found.Noise.Planted
		r.Noise.Blamed += t.found.Noise.Blamed
		r.Detection.Planted += t.found.Detection.Planted
		r.Detection.Detected += t.found.Detection.Detected
		r.Findings = append(r.Findings, t.found.Findings...)
		all = append(all, t.found.Mistakes...)
	}
	r.Mistakes = mergeRows(all)
	return r
}

package fuzz

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/fresh"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Outcome tells how a subject did on a configuration.
type Outcome struct {
	Config fresh.Config
	Kind   Kind
	// Text is the error or the wrong behaviour; "" for other kinds.
	Text string
}

// Kind tells outcomes apart.
type Kind string

// The kinds. Errors and wrong behaviour of different words are different causes.
const (
	Passed      Kind = "pass"
	Skipped     Kind = "skip"
	WrongOutput Kind = "wrong output"
	Misbehaved  Kind = "wrong behaviour"
	Crashed     Kind = "error"
)

// Failed reports whether the outcome is a finding.
func (o Outcome) Failed() bool { return o.Kind != Passed && o.Kind != Skipped }

// same reports whether two failures may have one cause, as far as their words tell.
func (o Outcome) same(other Outcome) bool {
	return o.Kind == other.Kind && normal(o.Text) == normal(other.Text)
}

var numbers = regexp.MustCompile(`0x[0-9a-f]+|[0-9]+`)

// normal returns the first line of a text without its numbers, which depend on the shape.
func normal(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return numbers.ReplaceAllString(line, "#")
}

// runner runs configurations, each once. It may be used from several goroutines.
type runner struct {
	subject subject.Runner
	about   subject.About
	model   *fresh.Model  // nil for cases of attention
	round   int           // draws that a search for a condition runs at once
	places  chan struct{} // one for each case that the subject runs at once

	mu    sync.Mutex
	known map[fresh.Config]Outcome
}

func newRunner(s subject.Runner, model *fresh.Model) *runner {
	about := s.About()
	return &runner{
		subject: s, about: about, model: model, round: round,
		places: make(chan struct{}, max(1, about.Jobs)), known: map[fresh.Config]Outcome{},
	}
}

// make draws the inputs of a configuration.
func (r *runner) make(name string, c fresh.Config) (*fixture.Case, error) {
	if r.model != nil {
		return r.model.Case(name, c)
	}
	return fresh.Case(name, c)
}

// try runs the subject on a configuration and judges the output. The error says that the case could
// not be handed over, or that ctx ended.
func (r *runner) try(ctx context.Context, c fresh.Config) (Outcome, error) {
	c = c.Complete()
	r.mu.Lock()
	o, ok := r.known[c]
	r.mu.Unlock()
	if ok {
		return o, nil
	}
	o, err := r.run(ctx, c)
	if err != nil {
		return o, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[c] = o
	return o, nil
}

func (r *runner) run(ctx context.Context, config fresh.Config) (Outcome, error) {
	o := Outcome{Config: config}
	c, err := r.make("fuzz", config)
	if err != nil {
		return o, err
	}
	ran, err := r.hand(ctx, c)
	if err != nil {
		return o, err
	}
	if errors.Is(ran.Err, subject.ErrNotRun) {
		return o, ran.Err
	}
	verdict, err := check.Fresh(ctx, r.about, c, ran)
	if err != nil {
		return o, fmt.Errorf("%s: %w", config, err)
	}
	switch {
	case verdict.Verdict == report.Skip:
		o.Kind, o.Text = Skipped, verdict.Err
	case verdict.Verdict == report.Error:
		o.Kind, o.Text = Crashed, verdict.Err
	case !verdict.Comparison.OK():
		o.Kind = WrongOutput
	case verdict.Verdict == report.Fail:
		o.Kind, o.Text = Misbehaved, verdict.Findings[0]
	default:
		o.Kind = Passed
	}
	return o, nil
}

// hand gives a case to the subject, in its turn. The error says that ctx ended.
func (r *runner) hand(ctx context.Context, c *fixture.Case) (subject.Result, error) {
	r.places <- struct{}{}
	ran := r.subject.Run(ctx, c)
	<-r.places
	return ran, ctx.Err()
}

// all runs several configurations and returns their outcomes in order.
func (r *runner) all(ctx context.Context, configs []fresh.Config) ([]Outcome, error) {
	outcomes := make([]Outcome, len(configs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(runtime.GOMAXPROCS(0), r.about.Jobs))
	for i, c := range configs {
		group.Go(func() (err error) {
			outcomes[i], err = r.try(ctx, c)
			return err
		})
	}
	return outcomes, group.Wait()
}

// offers finds out what the subject offers, by a small case of each option. The error says that it
// offers nothing.
func (r *runner) offers(ctx context.Context) (*offer, error) {
	if r.model != nil {
		return &offer{model: r.model}, nil
	}
	o := &offer{kinds: map[bool]bool{}, features: map[bool][]feature{}}
	plain := fresh.Default()
	for _, layer := range []bool{false, true} {
		var err error
		plain.Layer = layer
		if plain.HeadDim, o.kinds[layer], err = r.headDim(ctx, plain); err != nil {
			return nil, err
		}
		if !o.kinds[layer] {
			continue
		}
		for _, f := range features() {
			c, ok := f.alone(plain)
			if !ok {
				continue
			}
			found, err := r.try(ctx, c)
			if err != nil {
				return nil, err
			}
			if found.Kind != Skipped {
				o.features[layer] = append(o.features[layer], f)
			}
		}
	}
	if !o.kinds[false] && !o.kinds[true] {
		return nil, errors.New("the implementation offers neither scaled_dot_product_attention nor a layer")
	}
	return o, nil
}

// headDim returns a head dimension at which the subject does not skip a case, and whether there is
// one. Some kernels take multiples of 8 or more alone.
func (r *runner) headDim(ctx context.Context, plain fresh.Config) (dim int, ok bool, err error) {
	for _, dim := range []int{fresh.Default().HeadDim, 64, 128} {
		plain.HeadDim = dim
		found, err := r.try(ctx, plain)
		if err != nil || found.Kind != Skipped {
			return dim, err == nil, err
		}
	}
	return 0, false, nil
}

// alone adds the feature to a plain case. It reports false if the case cannot have it.
func (f feature) alone(plain fresh.Config) (c fresh.Config, ok bool) {
	c = plain
	c.Keys = c.Queries
	f.add(&c, newSource(1, 1))
	if c.Layer {
		c.Keys = c.Past + c.Queries
	}
	if c.RoPEDim > 0 {
		c.RoPE = "half"
	}
	c = c.Complete()
	return c, c.Check() == nil && c.Layer == plain.Layer
}

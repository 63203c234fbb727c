package check

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// processors sets the number of processors in use until the test ends.
func processors(t *testing.T, n int) {
	was := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(was) })
}

// A subject is never called twice at once, and gets the cases in their order.
func TestCheckCallsTheSubjectSerially(t *testing.T) {
	processors(t, 8)
	cases := []string{"sdpa/softcap", "sdpa/alibi", "seed/causal", "sdpa/causal", "sdpa/bool-mask", "sdpa/float16"}
	var inside atomic.Int32
	var seen [][]int
	s := subject.Subject{SDPA: func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		require.Equal(t, int32(1), inside.Add(1))
		defer inside.Add(-1)
		runtime.Gosched()
		seen = append(seen, q.Shape)
		return attention.NewTensor(q.Shape...), nil
	}}
	r, err := Check(t.Context(), fixtures.FS, s, cases...)
	require.NoError(t, err)
	var order []string
	var want [][]int
	for i, result := range r.Results {
		order = append(order, result.Case)
		if result.Verdict != report.Skip {
			shape := harnesstest.ReadCase(t, cases[i]).Inputs.Query.Shape
			want = append(want, shape, shape) // every case is run twice
		}
	}
	require.Equal(t, cases, order)
	require.Equal(t, want, seen[:len(want)])
	require.Greater(t, len(seen), len(want), "what fails is run again in the end")
}

// The report is the same however many processors there are.
func TestCheckIsDeterministic(t *testing.T) {
	var texts []string
	for _, n := range []int{1, 8} {
		processors(t, n)
		r, err := Check(t.Context(), fixtures.FS, harnesstest.Unmasked(),
			"mha/causal", "seed/causal", "mha/padding", "decoder/cache", "sdpa/causal")
		require.NoError(t, err)
		var text bytes.Buffer
		require.NoError(t, report.JSON(&text, r))
		texts = append(texts, text.String())
	}
	require.Equal(t, texts[0], texts[1])
}

// A check that is ended early returns the results so far, and an error that counts them.
func TestCheckEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	s := subject.Subject{SDPA: func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		if calls++; calls == 4 {
			cancel()
		}
		return attention.SDPA(q, k, v, o)
	}}
	r, err := Check(ctx, fixtures.FS, s, "sdpa/softcap", "sdpa/alibi", "sdpa/causal", "sdpa/bool-mask")
	require.ErrorIs(t, err, context.Canceled)
	require.EqualError(t, err, "context canceled after 2 of 4 cases")
	require.Equal(t, 4, calls)
	require.Len(t, r.Results, 2)
	require.Equal(t, "sdpa/softcap", r.Results[0].Case)
	require.Equal(t, report.Pass, r.Results[1].Verdict)
}

// turnsOn does work on some cases and returns the report.
func turnsOn(ctx context.Context, w work, names ...string) (*report.Report, error) {
	r := &report.Report{}
	return r, w.on(ctx, r, fixtures.FS, names)
}

func caseNames(r *report.Report) []string {
	var names []string
	for _, result := range r.Results {
		names = append(names, result.Case)
	}
	return names
}

// passes is a verdict.
func passes(_ context.Context, t *turn) (report.Result, error) {
	return report.Result{Case: t.c.Name, Verdict: report.Pass}, nil
}

// A case that was run but not judged when ctx ended is neither a result nor broken. A verdict that
// was reached nevertheless counts.
func TestWorkEndsBetweenRunAndVerdict(t *testing.T) {
	names := []string{"sdpa/softcap", "sdpa/alibi", "sdpa/causal"}
	for _, tc := range []struct {
		name  string
		judge func(context.Context, *turn) (report.Result, error)
		want  []string
		err   string
	}{
		{"no verdict", func(ctx context.Context, t *turn) (report.Result, error) {
			if t.c.Name == names[1] {
				return report.Result{}, errors.New("the truth is not known yet")
			}
			return passes(ctx, t)
		}, names[:1], "context canceled after 1 of 3 cases"},
		{"a quick verdict", passes, names[:2], "context canceled after 2 of 3 cases"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			first := make(chan struct{})
			r, err := turnsOn(ctx, work{
				take: func(_ context.Context, c *fixture.Case) (subject.Result, bool) {
					if c.Name == names[1] {
						<-first // the verdict on the first case is reached in time
						cancel()
					}
					return subject.Result{}, true
				},
				judge: func(ctx context.Context, t *turn) (report.Result, error) {
					if t.c.Name == names[0] {
						defer close(first)
					}
					return tc.judge(ctx, t)
				},
				again: func(context.Context, *turn) report.Result { panic("nothing is wrong") },
			}, names...)
			require.EqualError(t, err, tc.err)
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, tc.want, caseNames(r))
			require.Empty(t, r.Broken)
		})
	}
}

// A verdict that fails while ctx lasts makes the case broken, and the others are judged.
func TestWorkNamesBrokenCases(t *testing.T) {
	names := []string{"sdpa/softcap", "sdpa/alibi", "sdpa/causal"}
	r, err := turnsOn(t.Context(), work{judge: func(ctx context.Context, t *turn) (report.Result, error) {
		if t.c.Name == names[1] {
			return report.Result{}, errors.New("sdpa/alibi: no")
		}
		return passes(ctx, t)
	}}, names...)
	require.EqualError(t, err, "sdpa/alibi: no")
	require.Equal(t, []report.Broken{{Case: names[1], Err: "sdpa/alibi: no"}}, r.Broken)
	require.Equal(t, []string{names[0], names[2]}, caseNames(r))
}

// Several jobs take cases at once, and their results stand in the order of the cases: here the
// first case is taken first and finishes last. No more jobs are at work than allowed.
func TestWorkOfSeveralJobsKeepsTheOrder(t *testing.T) {
	names := []string{"sdpa/softcap", "sdpa/alibi", "sdpa/causal", "sdpa/unmasked", "sdpa/scale"}
	const jobs = 3
	var others, full sync.WaitGroup
	others.Add(len(names) - 1)
	full.Add(jobs)
	var started, inside, most atomic.Int32
	r, err := turnsOn(t.Context(), work{
		jobs: jobs,
		take: func(_ context.Context, c *fixture.Case) (subject.Result, bool) {
			defer inside.Add(-1)
			for now := inside.Add(1); ; {
				if m := most.Load(); now <= m || most.CompareAndSwap(m, now) {
					break
				}
			}
			if started.Add(1) <= jobs {
				full.Done()
				full.Wait() // as many are inside as may be
				time.Sleep(10 * time.Millisecond)
			}
			if c.Name == names[0] {
				others.Wait()
			} else {
				others.Done()
			}
			return subject.Result{}, true
		},
		judge: passes,
	}, names...)
	require.NoError(t, err)
	require.Equal(t, names, caseNames(r))
	require.Equal(t, int32(jobs), most.Load())
}

// Only the cases with a wrong output are run again, and each gets its own new result.
func TestWorkRepeatsWrongCases(t *testing.T) {
	names := []string{"sdpa/softcap", "sdpa/alibi", "sdpa/causal", "sdpa/unmasked"}
	truth := compare.Expected{Shape: []int{1}, Value: []float64{0}, Sigma: []float64{1e-3}}
	wrong := map[string]bool{names[1]: true, names[3]: true}
	r, err := turnsOn(t.Context(), work{
		jobs: 2,
		judge: func(ctx context.Context, t *turn) (report.Result, error) {
			r, err := passes(ctx, t)
			got := []float64{0}
			if wrong[t.c.Name] {
				r.Verdict, got = report.Fail, []float64{1}
			}
			r.Comparison = compare.Outputs(truth.Shape, got, truth)
			return r, err
		},
		again: func(_ context.Context, t *turn) report.Result {
			r := t.result
			r.Findings = []string{"again " + t.c.Name}
			return r
		},
	}, names...)
	require.NoError(t, err)
	for _, result := range r.Results {
		if wrong[result.Case] {
			require.Equal(t, []string{"again " + result.Case}, result.Findings)
		} else {
			require.Empty(t, result.Findings)
		}
	}
}

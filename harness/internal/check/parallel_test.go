package check

import (
	"bytes"
	"context"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// processors sets how many are used, until the test ends.
func processors(t *testing.T, n int) {
	was := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(was) })
}

// A subject may be one that must not be called twice at once, and sees the cases in their order.
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
	r, err := Check(context.Background(), fixtures.FS, s, cases...)
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

// The report says the same however many processors there are.
func TestCheckIsDeterministic(t *testing.T) {
	var texts []string
	for _, n := range []int{1, 8} {
		processors(t, n)
		r, err := Check(context.Background(), fixtures.FS, harnesstest.Unmasked(), "mha/causal", "seed/causal", "mha/padding", "decoder/cache", "sdpa/causal")
		require.NoError(t, err)
		var text bytes.Buffer
		require.NoError(t, report.JSON(&text, r))
		texts = append(texts, text.String())
	}
	require.Equal(t, texts[0], texts[1])
}

// Whoever ends a check gets what was known by then, and an error that says how much it is.
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

package judge

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// place is an index of a context: batch element, head, row, feature.
type place struct{ batch, head, row, feature int }

// A part that nobody wrote is named by what it is: in the output of a function, and in the context
// of a layer before its output projection.
func TestPartsThatNobodyWrote(t *testing.T) {
	for _, tc := range []struct {
		name, id, title string
		cases           []string
		blank           func(at place) bool
	}{
		{
			"one head alone runs", "heads-not-written", "heads 1-3 are not written",
			[]string{
				"sdpa/causal", "sdpa/gqa-one", "sdpa/bool-mask-blank-rows", "mha/cross", "mha/padding", "layouts/gpt",
			},
			func(at place) bool { return at.head > 0 },
		},
		{
			"one head is left out", "heads-not-written", "head 1 is not written",
			[]string{
				"sdpa/gqa", "sdpa/float16", "mha/causal", "decoder/rope-half", "decoder/qwen-biases", "seed/causal",
			},
			func(at place) bool { return at.head == 1 },
		},
		{
			"a tail of features", "features-not-written", "features 8-9 of every head are not written",
			[]string{"sdpa/unmasked", "mha/cross-kdim", "mha/no-bias"},
			func(at place) bool { return at.feature >= 8 },
		},
		{
			"a tail of rows", "rows-not-written", "rows 4-6 are not written",
			[]string{"sdpa/gqa", "mha/cross", "mha/kdim"},
			func(at place) bool { return at.row >= 4 && at.row <= 6 },
		},
		{
			"one batch element", "batch-elements-not-written", "batch element 2 is not written",
			[]string{"sdpa/causal", "mha/padding", "layouts/gpt"},
			func(at place) bool { return at.batch == 2 },
		},
		{
			"a head of one batch element", "heads-not-written", "head 2 in batch element 1 is not written",
			[]string{"sdpa/causal", "mha/padding", "decoder/window"},
			func(at place) bool { return at.batch == 1 && at.head == 2 },
		},
	} {
		for _, name := range tc.cases {
			t.Run(tc.name+", "+name, func(t *testing.T) {
				t.Parallel()
				c := harnesstest.ReadCase(t, name)
				referee, err := New(t.Context(), c, oracle.Precision{})
				require.NoError(t, err)
				out := blanked(oracle.FromCase(c), tc.blank)
				if c.Op == fixture.MultiHead {
					out = oracle.FromBatchFirst(c.Layer.InputLayout, out)
				}
				r, err := referee.Judge(t.Context(), out.Shape, out.Value)
				require.NoError(t, err)
				d := r.Diagnosis
				require.Equal(t, diagnose.Dead, d.Class, d.Reasons)
				require.NotNil(t, d.Unwritten, d.Reasons)
				require.Equal(t, tc.id, d.Unwritten.ID)
				require.Equal(t, tc.title, d.Unwritten.Title)
				require.Empty(t, d.Matches)
				require.Empty(t, d.Fits)
				require.False(t, d.Unexplained)
			})
		}
	}
}

// blanked computes a problem in float32 with a context of zeros at some places.
func blanked(p *oracle.Problem, blank func(at place) bool) oracle.Array {
	t, y := p.Trace(), p.Run()
	heads := t.Heads
	if p.Layer != nil {
		heads = p.Layer.Heads
	} else if n := len(y.Shape); n > 3 {
		heads = y.Shape[n-3]
	}
	for i, v := range t.Context {
		row := i / t.ValueWidth
		n := row / t.Queries
		at := place{n / heads, n % heads, row % t.Queries, i % t.ValueWidth}
		switch {
		case !blank(at):
		case p.Layer == nil:
			y.Value[i] = 0
		default:
			w := p.Layer.Output
			for o := range w.Out {
				y.Value[(at.batch*t.Queries+at.row)*w.Out+o] -= v * w.Weight[o*w.In+at.head*t.ValueWidth+at.feature]
			}
		}
	}
	for i, v := range y.Value {
		y.Value[i] = float64(float32(v))
	}
	return oracle.Array{Shape: y.Shape, Value: y.Value}
}

package check

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// The debugging story that difftest began with: each of its turns is a subject that is wrong on
// purpose.
func TestStory(t *testing.T) {
	campaign.SkipShort(t)
	for _, turn := range []struct {
		subject subject.Subject
		class   diagnose.Class
		match   string // the mistake that explains the output
		check   func(t *testing.T, r report.Result)
	}{
		{harnesstest.NeverLoaded(), diagnose.WrongWeights, "", func(t *testing.T, r report.Result) {
			require.Greater(t, r.Comparison.Gain, 100.0)
			require.Equal(t, []string{"the load had no effect"}, r.ProvenTitles())
			require.Equal(t, []string{"every parameter reads back as it was before the load"}, r.Findings)
		}},
		{harnesstest.Unmasked(), diagnose.MissingFeature, "causal-missing", func(t *testing.T, r report.Result) {
			require.True(t, r.Diagnosis.Structure.LastRowExact)
			for _, rows := range r.Diagnosis.Structure.Wrong {
				require.False(t, rows[len(rows)-1])
				require.True(t, rows[len(rows)-2])
			}
		}},
		{harnesstest.Both(), diagnose.WrongWeights, "causal-missing", func(t *testing.T, r report.Result) {
			const reason = "the load had no effect: what follows is by the parameters that it reads back"
			require.Equal(t, reason, r.Diagnosis.Reasons[0])
			require.Equal(t, []string{"the load had no effect"}, r.ProvenTitles())
			require.Equal(t, []string{"load-no-effect", "future-token"}, probeIDs(r))
		}},
		{harnesstest.Unreadable(harnesstest.Both()), diagnose.WrongWeights, "", func(t *testing.T, r report.Result) {
			reasons := strings.Join(r.Diagnosis.Reasons, "\n")
			require.Contains(t, reasons, "masks cannot be judged until the weights load")
			require.Equal(t, []string{"the load had no effect", "later tokens reach earlier rows"}, r.ProvenTitles())
		}},
		{harnesstest.OtherWeights(), diagnose.WrongWeights, "", func(t *testing.T, r report.Result) {
			require.Greater(t, r.Comparison.Gain, 0.5)
			require.Less(t, r.Comparison.Gain, 2.0)
			require.Equal(t, []string{"it holds other parameters than were loaded"}, r.ProvenTitles())
			require.Contains(t, r.Findings[0], "as random ones")
			require.Empty(t, r.Probes)
		}},
	} {
		t.Run(turn.subject.Name, func(t *testing.T) {
			cases := []string{"seed/causal"}
			if campaign.Full() {
				cases = append(cases, "mha/causal-left-padding")
			}
			for _, name := range cases {
				r := judged(t, turn.subject, harnesstest.ReadCase(t, name))
				require.Equal(t, report.Fail, r.Verdict)
				require.Equal(t, turn.class, r.Diagnosis.Class, r.Diagnosis.Reasons)
				require.Equal(t, turn.match, matchedIDs(r.Diagnosis))
				turn.check(t, r)
			}
		})
	}
}

// A case without a mask gets no remark about masks.
func TestStoryWithoutAMask(t *testing.T) {
	campaign.SkipShort(t)
	r := judged(t, harnesstest.NeverLoaded(), harnesstest.ReadCase(t, "seed/unmasked"))
	require.Equal(t, diagnose.WrongWeights, r.Diagnosis.Class)
	require.NotContains(t, strings.Join(r.Diagnosis.Reasons, "\n"), "masks cannot be judged")
}

// A correct subject passes, also on larger inputs, where a fixed tolerance would raise false
// alarms.
func TestStoryAllCorrect(t *testing.T) {
	campaign.SkipShort(t)
	names := harnesstest.AttentionCases(t)
	for _, scale := range []float32{1, 4, 8} {
		passed := 0
		tried := 0
		for n, name := range names {
			if scale > 1 && !campaign.Full() && n%4 != int(scale)%4 {
				continue
			}
			tried++
			c := scaled(harnesstest.ReadCase(t, name), scale)
			r := judged(t, harnesstest.BuiltIn(), c)
			if r.Verdict != report.Pass {
				t.Errorf("%s, inputs x%g: %s %s", name, scale, r.Diagnosis.Reasons, r.Findings)
				continue
			}
			passed++
		}
		require.Equal(t, tried, passed)
		require.GreaterOrEqual(t, tried, len(names)/4)
	}
}

func probeIDs(r report.Result) []string {
	var ids []string
	for _, p := range r.Probes {
		ids = append(ids, p.ID)
	}
	return ids
}

func judged(t *testing.T, s subject.Subject, c *fixture.Case) report.Result {
	t.Helper()
	r, err := Case(t.Context(), s, c)
	require.NoError(t, err)
	return r
}

func matchedIDs(d diagnose.Diagnosis) string {
	var ids []string
	for _, m := range d.Matches {
		ids = append(ids, m.ID())
	}
	return strings.Join(ids, " ")
}

// scaled returns a case with larger inputs, and computes its truth.
func scaled(c *fixture.Case, by float32) *fixture.Case {
	if by == 1 {
		return c
	}
	out := *c
	larger := map[*attention.Tensor]*attention.Tensor{}
	scale := func(t *attention.Tensor) *attention.Tensor {
		if t == nil {
			return nil
		}
		if larger[t] == nil {
			larger[t] = t.Clone()
			for i := range larger[t].Data {
				larger[t].Data[i] *= by
			}
		}
		return larger[t]
	}
	out.Inputs.Query = scale(c.Inputs.Query)
	out.Inputs.Key = scale(c.Inputs.Key)
	out.Inputs.Value = scale(c.Inputs.Value)
	out.Turned.Input = scale(c.Turned.Input)
	out.Unrounded = nil // the larger inputs are not rounded
	out.Truth = judge.Right(&out).Value
	out.Output = c.Output.Clone()
	for i, v := range out.Truth {
		out.Output.Data[i] = float32(v)
	}
	if c.Weights != nil {
		out.WeightsTruth = judge.RightWeights(&out).Value
	}
	return &out
}

// A case may declare NaN for a query that sees no key. Then NaN is right and zero is wrong.
func TestDeclaredNaN(t *testing.T) {
	c := *harnesstest.ReadCase(t, "mha/causal-left-padding")
	c.Layer.EmptyRow = attention.EmptyNaN
	c.Truth = oracle.FromCase(&c).Run().Value
	require.True(t, math.IsNaN(c.Truth[0]))
	c.Output = c.Output.Clone()
	for i, v := range c.Truth {
		c.Output.Data[i] = float32(v)
	}
	require.Equal(t, report.Pass, judged(t, harnesstest.BuiltIn(), &c).Verdict)

	zeros := subject.Subject{MHA: func(config attention.Config) (subject.Module, error) {
		config.EmptyRow = attention.EmptyZero
		return attention.New(config)
	}}
	r := judged(t, zeros, &c)
	require.Equal(t, report.Fail, r.Verdict)
	require.Equal(t, "mask-empty-row-zero", matchedIDs(r.Diagnosis))
}

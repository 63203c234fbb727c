package harness

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
)

// The debugging story that difftest began with, each of its turns as a subject that is wrong on
// purpose.
func TestStory(t *testing.T) {
	for _, turn := range []struct {
		subject Subject
		class   diagnose.Class
		match   string // the mistake that explains the output
		check   func(t *testing.T, r report.Result)
	}{
		{harnesstest.NeverLoaded(), diagnose.WrongWeights, "", func(t *testing.T, r report.Result) {
			require.Greater(t, r.Comparison.Gain, 100.0)
			require.Equal(t, []string{"the load had no effect"}, r.Proven)
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
			require.Equal(t, "the load had no effect: what follows is by the parameters that it reads back", r.Diagnosis.Reasons[0])
			require.Equal(t, []string{"the load had no effect"}, r.Proven)
			require.Equal(t, []string{"load-no-effect", "future-token"}, probeIDs(r))
		}},
		{unreadable(harnesstest.Both()), diagnose.WrongWeights, "", func(t *testing.T, r report.Result) {
			require.Contains(t, strings.Join(r.Diagnosis.Reasons, "\n"), "masks cannot be judged until the weights load")
			require.Equal(t, []string{"the load had no effect", "later tokens reach earlier rows"}, r.Proven)
		}},
		{harnesstest.OtherWeights(), diagnose.WrongWeights, "", func(t *testing.T, r report.Result) {
			require.Greater(t, r.Comparison.Gain, 0.5)
			require.Less(t, r.Comparison.Gain, 2.0)
			require.Equal(t, []string{"it holds other parameters than were loaded"}, r.Proven)
			require.Contains(t, r.Findings[0], "as random ones")
			require.Empty(t, r.Probes)
		}},
	} {
		t.Run(turn.subject.Name, func(t *testing.T) {
			for _, name := range []string{"seed/causal", "mha/causal-left-padding"} {
				r := judged(t, turn.subject, readCase(t, name))
				require.Equal(t, report.Fail, r.Verdict)
				require.Equal(t, turn.class, r.Diagnosis.Class, r.Diagnosis.Reasons)
				require.Equal(t, turn.match, matchedIDs(r.Diagnosis))
				turn.check(t, r)
			}
		})
	}
}

// Where there is no mask, none is spoken of.
func TestStoryWithoutAMask(t *testing.T) {
	r := judged(t, harnesstest.NeverLoaded(), readCase(t, "seed/unmasked"))
	require.Equal(t, diagnose.WrongWeights, r.Diagnosis.Class)
	require.NotContains(t, strings.Join(r.Diagnosis.Reasons, "\n"), "masks cannot be judged")
}

// All correct, also when the inputs are larger: a fixed tolerance would raise false alarms there.
func TestStoryAllCorrect(t *testing.T) {
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	for _, scale := range []float32{1, 4, 8} {
		passed := 0
		for _, name := range names {
			c := scaled(readCase(t, name), scale)
			r := judged(t, builtIn, c)
			if r.Verdict != report.Pass {
				t.Errorf("%s, inputs x%g: %s %s", name, scale, r.Diagnosis.Reasons, r.Findings)
				continue
			}
			passed++
		}
		require.Equal(t, len(names), passed)
		require.GreaterOrEqual(t, passed, 90)
	}
}

// unreadable hides what the layers of a subject hold.
func unreadable(s Subject) Subject {
	make := s.MHA
	s.Name += ", not read back"
	s.MHA = func(c attention.Config) (Module, error) {
		m, err := make(c)
		return struct{ Module }{m}, err
	}
	return s
}

func probeIDs(r report.Result) []string {
	var ids []string
	for _, p := range r.Probes {
		ids = append(ids, p.ID)
	}
	return ids
}

var builtIn = Subject{
	Name: "attention",
	SDPA: attention.SDPA,
	MHA:  func(c attention.Config) (Module, error) { return attention.New(c) },
}

func readCase(t *testing.T, name string) *fixture.Case {
	t.Helper()
	c, err := fixture.Read(fixtures.FS, name)
	require.NoError(t, err)
	return c
}

func judged(t *testing.T, s Subject, c *fixture.Case) report.Result {
	t.Helper()
	r, err := runCase(t.Context(), s, c)
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

// scaled multiplies the inputs of a case and computes the truth anew.
func scaled(c *fixture.Case, by float32) *fixture.Case {
	if by == 1 {
		return c
	}
	out := *c
	larger := map[*attention.Tensor]*attention.Tensor{}
	scale := func(t *attention.Tensor) *attention.Tensor {
		if larger[t] == nil {
			larger[t] = t.Clone()
			for i := range larger[t].Data {
				larger[t].Data[i] *= by
			}
		}
		return larger[t]
	}
	out.Inputs.Query, out.Inputs.Key, out.Inputs.Value = scale(c.Inputs.Query), scale(c.Inputs.Key), scale(c.Inputs.Value)
	out.Unrounded = nil // what is larger is what was rounded
	problem := oracle.FromCase(&out)
	out.Truth = inOrder(&out, problem.Run().Expected()).Value
	out.Output = c.Output.Clone()
	for i, v := range out.Truth {
		out.Output.Data[i] = float32(v)
	}
	if c.Weights != nil {
		out.WeightsTruth = expectedWeights(&out, problem.Weights()).Value
	}
	return &out
}

func TestJudgeRefusesACaseItCannotReproduce(t *testing.T) {
	c := *readCase(t, "mha/causal")
	c.Truth = append([]float64{}, c.Truth...)
	c.Truth[7] += 1e-11
	_, err := Judge(t.Context(), &c, c.Output.Shape, c.Truth)
	require.ErrorContains(t, err, "mha/causal: the oracle differs from PyTorch's float64 result")
	c.Truth[7] = math.NaN()
	_, err = Judge(t.Context(), &c, c.Output.Shape, c.Truth)
	require.Error(t, err)
}

func TestJudgeRefusesAnOutputOfOtherLength(t *testing.T) {
	c := readCase(t, "mha/causal")
	for _, got := range [][]float64{c.Truth[:5], append([]float64{0}, c.Truth...), nil} {
		_, err := Judge(t.Context(), c, c.Output.Shape, got)
		require.ErrorContains(t, err, "mha/causal: an output of shape (5, 9, 40) and")
	}
}

// The judge is PyTorch's float64 result, not the oracle's.
func TestJudgeHoldsAgainstPyTorchsTruth(t *testing.T) {
	c := readCase(t, "mha/causal")
	r, err := Judge(t.Context(), c, c.Output.Shape, c.Truth)
	require.NoError(t, err)
	require.Zero(t, r.Comparison.MaxZ)
}

// Values that are a little off stand in no other order.
func TestSmallErrorsAreNotReordered(t *testing.T) {
	if testing.Short() {
		t.Skip("every mistake on every case")
	}
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	failed := 0
	for _, name := range names {
		c := readCase(t, name)
		got := append([]float64{}, c.Truth...)
		for i := range got {
			got[i] *= 1 + 2e-6
		}
		r, err := Judge(t.Context(), c, c.Output.Shape, got)
		require.NoError(t, err)
		if r.Verdict == report.Fail {
			failed++
			require.NotContains(t, strings.Join(r.Diagnosis.Reasons, "\n"), "order", name)
		}
	}
	require.Positive(t, failed)
}

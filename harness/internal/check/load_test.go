package check

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/probe"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// answering says that it holds something else than it does.
type answering struct {
	*attention.MultiHead
	answer func(attention.StateDict) attention.StateDict
}

func (a answering) StateDict() attention.StateDict { return a.answer(a.MultiHead.StateDict()) }

func answeringLayers(change func(*attention.Config), answer func(attention.StateDict) attention.StateDict) subject.Subject {
	return subject.Subject{MHA: func(c attention.Config) (subject.Module, error) {
		change(&c)
		m, err := attention.New(c)
		return answering{m, answer}, err
	}}
}

func asItIs(*attention.Config)     {}
func unmasked(c *attention.Config) { c.Bidirectional = true }
func zeros(d attention.StateDict) attention.StateDict {
	for _, t := range d {
		clear(t.Data)
	}
	return d
}

// What a layer says it holds does not decide against what its output shows.
func TestAWrongStateDictIsNoLoadWithoutEffect(t *testing.T) {
	r := judged(t, answeringLayers(asItIs, zeros), harnesstest.ReadCase(t, "mha/causal"))
	require.True(t, r.Comparison.OK())
	require.Equal(t, report.Fail, r.Verdict, "StateDict() is wrong")
	require.Equal(t, []string{"every parameter reads back as it was before the load"}, r.Findings)
	require.Equal(t, diagnose.Right, r.Diagnosis.Class)
	require.Empty(t, r.Proven)

	r = judged(t, answeringLayers(unmasked, zeros), harnesstest.ReadCase(t, "mha/causal"))
	require.Equal(t, diagnose.MissingFeature, r.Diagnosis.Class)
	require.Equal(t, "causal-missing", matchedIDs(r.Diagnosis))
	require.Empty(t, r.Proven)
	require.Equal(t, []string{"future-token"}, probeIDs(r))
}

// What it says it holds explains nothing where the output is not that of it.
func TestAWrongStateDictExplainsNothing(t *testing.T) {
	s := subject.Subject{MHA: func(c attention.Config) (subject.Module, error) {
		m, err := attention.New(c)
		return stretched{answering{m, zeros}}, err
	}}
	r := judged(t, s, harnesstest.ReadCase(t, "mha/causal"))
	require.True(t, r.Wrong())
	require.Empty(t, r.Proven)
	require.NotEqual(t, diagnose.WrongWeights, r.Diagnosis.Class)
	require.True(t, r.Diagnosis.Unexplained)
}

// stretched gives an output that no known mistake gives.
type stretched struct{ answering }

func (s stretched) Forward(in attention.Inputs) (attention.Outputs, error) {
	out, err := s.answering.Forward(in)
	for i := range out.Output.Data {
		out.Output.Data[i] *= 1 + float32(i%3)/8
	}
	return out, err
}

// Other names may be another layout: evidence of a failure, and no failure.
func TestAnotherLayoutIsNoFailure(t *testing.T) {
	renamed := func(d attention.StateDict) attention.StateDict {
		d["fused"] = d["in_proj_weight"]
		delete(d, "in_proj_weight")
		return d
	}
	r := judged(t, answeringLayers(asItIs, renamed), harnesstest.ReadCase(t, "mha/causal"))
	require.Equal(t, report.Pass, r.Verdict)
	require.Empty(t, r.Findings)
	r = judged(t, answeringLayers(unmasked, renamed), harnesstest.ReadCase(t, "mha/causal"))
	require.Equal(t, []string{"StateDict() lacks in_proj_weight", "StateDict() has fused, which was not loaded"}, r.Findings)
}

// A layer that was never loaded and computes with zeros is dead; only what it holds says why.
func TestNeverLoadedZeros(t *testing.T) {
	s := subject.Subject{MHA: func(c attention.Config) (subject.Module, error) {
		m, err := attention.New(c)
		return unloaded{m}, err
	}}
	r := judged(t, s, harnesstest.ReadCase(t, "seed/causal"))
	require.Equal(t, diagnose.WrongWeights, r.Diagnosis.Class)
	require.Equal(t, report.LoadNoEffect, r.Proven[0])
	r = judged(t, harnesstest.Unreadable(s), harnesstest.ReadCase(t, "seed/causal"))
	require.Equal(t, []string{"input-no-effect"}, probeIDs(r))
	require.NotContains(t, r.Proven, report.LoadNoEffect)
}

type unloaded struct{ *attention.MultiHead }

func (unloaded) LoadStateDict(attention.StateDict, attention.Strictness) (attention.IncompatibleKeys, error) {
	return attention.IncompatibleKeys{}, nil
}

// One parameter that was changed in the load: the output is right by what the layer holds.
func TestAParameterThatIsAnother(t *testing.T) {
	s := subject.Subject{MHA: func(c attention.Config) (subject.Module, error) {
		m, err := attention.New(c)
		return halved{m}, err
	}}
	r := judged(t, s, harnesstest.ReadCase(t, "mha/causal"))
	require.Equal(t, diagnose.WrongWeights, r.Diagnosis.Class)
	require.Equal(t, []report.Proof{report.OtherParameters}, r.Proven)
	require.Len(t, r.Findings, 1)
	require.Contains(t, r.Findings[0], "in_proj_weight reads back with other values in 13 of 120 rows, 0 to 12")
	require.Contains(t, r.Diagnosis.Reasons[0], "by the parameters that it reads back the output is right")

	var text strings.Builder
	require.NoError(t, report.Text(report.TextOptions{})(&text, &report.Report{Results: []report.Result{r}}))
	require.Contains(t, text.String(), "FAIL mha/causal  wrong-weights: it holds other parameters than were loaded\n")
}

type halved struct{ *attention.MultiHead }

func (h halved) LoadStateDict(d attention.StateDict, s attention.Strictness) (attention.IncompatibleKeys, error) {
	own := attention.StateDict{}
	for key, t := range d {
		own[key] = t.Clone()
	}
	for i := range own["in_proj_weight"].Data[:13*40] {
		own["in_proj_weight"].Data[i] *= 0.7
	}
	return h.MultiHead.LoadStateDict(own, s)
}

// A passing case is not run again, and no probe makes a failure of it.
func TestPassingCasesAreNotProbed(t *testing.T) {
	made := 0
	s := harnesstest.BuiltIn()
	s.MHA = func(c attention.Config) (subject.Module, error) {
		made++
		return attention.New(c)
	}
	r := judged(t, s, harnesstest.ReadCase(t, "mha/causal"))
	require.Equal(t, report.Pass, r.Verdict)
	require.Equal(t, 1, made)
	require.Empty(t, r.Probes)
}

// On how many of all cases each probe speaks of subjects that are wrong on purpose, where they are wrong.
func TestProbesOverTheSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("every case several times")
	}
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	for _, tc := range []struct {
		subject subject.Subject
		wrong   int
		want    map[string]int
	}{
		{harnesstest.BuiltIn(), 0, map[string]int{}},
		{harnesstest.NeverLoaded(), 110, map[string]int{"load-no-effect": 110}},
		{harnesstest.Unmasked(), 56, map[string]int{"future-token": 56}},
		{harnesstest.Both(), 110, map[string]int{"load-no-effect": 110, "future-token": 56}},
		{harnesstest.OtherWeights(), 110, map[string]int{}},
	} {
		t.Run(tc.subject.Name, func(t *testing.T) {
			wrong, spoke := 0, map[string]int{}
			for _, name := range names {
				c := harnesstest.ReadCase(t, name)
				ran := tc.subject.Run(t.Context(), c)
				if ran.Err != nil {
					continue
				}
				referee, err := judge.New(t.Context(), c, oracle.Precision{})
				require.NoError(t, err)
				r, err := referee.Compare(ran.Output.Shape, ran.Output.Float64s())
				require.NoError(t, err)
				if r.Right() {
					continue
				}
				wrong++
				for _, p := range probe.Probes(t.Context(), tc.subject, c, ran.Output) {
					spoke[p.ID]++
				}
			}
			require.Equal(t, tc.wrong, wrong)
			require.Equal(t, tc.want, spoke)
		})
	}
}

// pooled is a subject that may run several cases at once.
type pooled struct{ subject.Subject }

func (p pooled) About() subject.About {
	about := p.Subject.About()
	about.Jobs = 4
	return about
}

// Probes are those of the case they stand with, however many cases run at once.
func TestProbesOfSeveralJobs(t *testing.T) {
	cases := []string{"mha/causal", "mha/padding", "seed/causal", "sdpa/causal", "decoder/nope"}
	for _, s := range []subject.Runner{harnesstest.Unmasked(), pooled{harnesstest.Unmasked()}} {
		r, err := Check(t.Context(), fixtures.FS, s, cases...)
		require.NoError(t, err)
		var ids []string
		for _, result := range r.Results {
			ids = append(ids, result.Case+": "+strings.Join(probeIDs(result), " "))
		}
		require.Equal(t, []string{"mha/causal: future-token", "mha/padding: ", "seed/causal: future-token", "sdpa/causal: ", "decoder/nope: future-token"}, ids)
	}
}

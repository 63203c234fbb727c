package check

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/probe"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// answering is a layer whose StateDict() gives other parameters than it holds.
type answering struct {
	*attention.MultiHead
	answer func(attention.StateDict) attention.StateDict
}

func (a answering) StateDict() attention.StateDict { return a.answer(a.MultiHead.StateDict()) }

func answeringLayers(
	change func(*attention.Config), answer func(attention.StateDict) attention.StateDict,
) subject.Subject {
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

// A wrong StateDict() is a failure of its own. It decides nothing against the output.
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

// The parameters that a layer reads back prove how it computed. If the output is right by them, or
// a mistake explains it by them, the class is wrong weights. The proof tells whether the layer
// still holds the parameters from before the load. Parameters that explain nothing prove nothing.
func TestProofByParametersReadBack(t *testing.T) {
	campaign.SkipShort(t)
	const right = ": by the parameters that it reads back the output is right (max z "
	const further = ": what follows is by the parameters that it reads back"
	stretchedLayers := subject.Subject{MHA: func(c attention.Config) (subject.Module, error) {
		m, err := attention.New(c)
		return stretched{answering{m, zeros}}, err
	}}
	noProof := report.Proof{}
	for _, tc := range []struct {
		name    string
		subject subject.Subject
		proof   report.Proof
		reason  string // the first one after the title of the proof
		match   string
	}{
		{"other parameters", halvedLayers(asItIs), report.OtherParameters, right, ""},
		{"other parameters, no mask", halvedLayers(unmasked), report.OtherParameters, further, "causal-missing"},
		{"the old parameters", harnesstest.NeverLoaded(), report.LoadNoEffect, right, ""},
		{"the old parameters, no mask", harnesstest.Both(), report.LoadNoEffect, further, "causal-missing"},
		{"a wrong answer, no mask", answeringLayers(unmasked, zeros), noProof, "", "causal-missing"},
		{"a wrong answer, an unknown mistake", stretchedLayers, noProof, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := harnesstest.ReadCase(t, "mha/causal")
			ran := tc.subject.Run(t.Context(), c)
			r, err := judgeRun(t.Context(), tc.subject.About(), c, ran) // and no probe
			require.NoError(t, err)
			require.True(t, r.Wrong())
			require.Equal(t, tc.match, matchedIDs(r.Diagnosis))
			if tc.proof == noProof {
				require.Empty(t, r.Proven)
				require.NotEqual(t, diagnose.WrongWeights, r.Diagnosis.Class)
				require.Equal(t, tc.match == "", r.Diagnosis.Unexplained)
				return
			}
			require.Equal(t, []report.Proof{tc.proof}, r.Proven)
			require.Equal(t, diagnose.WrongWeights, r.Diagnosis.Class)
			require.False(t, r.Diagnosis.Unexplained)
			require.Contains(t, r.Diagnosis.Reasons[0], tc.proof.Title+tc.reason)
			require.Greater(t, len(r.Diagnosis.Reasons), 1, "the reasons of the diagnosis follow")
		})
	}
}

// A mistake that explains the output by the case's parameters needs no other parameters.
func TestAKnownMistakeIsNoOtherParameters(t *testing.T) {
	s := subject.Subject{MHA: func(c attention.Config) (subject.Module, error) {
		m, err := attention.New(c)
		return transposing{m}, err
	}}
	r := judged(t, s, harnesstest.ReadCase(t, "seed/causal"))
	require.Equal(t, []string{"W_O reads back transposed"}, r.Findings)
	require.Equal(t, "output-weight-transposed output-weight-column-major", matchedIDs(r.Diagnosis))
	require.Empty(t, r.Proven)
}

// transposing is a layer that loads the transpose of its output weight.
type transposing struct{ *attention.MultiHead }

func (m transposing) LoadStateDict(
	d attention.StateDict, s attention.Strictness,
) (attention.IncompatibleKeys, error) {
	d, w := maps.Clone(d), d["W_O"].Clone()
	d["W_O"] = w
	n := w.Shape[0]
	for i := range n {
		for j := range i {
			w.Data[i*n+j], w.Data[j*n+i] = w.Data[j*n+i], w.Data[i*n+j]
		}
	}
	return m.MultiHead.LoadStateDict(d, s)
}

// Other parameters that give the same output are a failure, but prove nothing about the output. A
// bias of the keys is such a parameter.
func TestOtherParametersOfARightOutput(t *testing.T) {
	r := judged(t, answeringLayers(asItIs, func(d attention.StateDict) attention.StateDict {
		for i := range d["in_proj_bias"].Data[40:80] { // the key part
			d["in_proj_bias"].Data[40+i]++
		}
		return d
	}), harnesstest.ReadCase(t, "mha/causal"))
	require.Equal(t, report.Fail, r.Verdict)
	require.Len(t, r.Findings, 1)
	require.Equal(t, diagnose.Right, r.Diagnosis.Class)
	require.Empty(t, r.Proven)
}

// stretched is a layer with an output that no known mistake gives.
type stretched struct{ answering }

func (s stretched) Forward(in attention.Inputs) (attention.Outputs, error) {
	out, err := s.answering.Forward(in)
	for i := range out.Output.Data {
		out.Output.Data[i] *= 1 + float32(i%3)/8
	}
	return out, err
}

// Other names may be another layout. They are evidence if the output is wrong, and no failure by
// themselves.
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
	require.Equal(t, []string{
		"StateDict() lacks in_proj_weight", "StateDict() has fused, which was not loaded",
	}, r.Findings)
}

// A layer that was never loaded and computes with zeros gives a constant output. Only its
// StateDict() shows the reason.
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

// A parameter that was changed in the load is named, with its rows.
func TestAParameterThatIsAnother(t *testing.T) {
	campaign.SkipShort(t)
	r := judged(t, halvedLayers(asItIs), harnesstest.ReadCase(t, "mha/causal"))
	require.Len(t, r.Findings, 1)
	require.Contains(t, r.Findings[0], "in_proj_weight reads back with other values in 13 of 120 rows, 0 to 12")

	var text strings.Builder
	one := &report.Report{Results: []report.Result{r}}
	require.NoError(t, report.Text(report.TextOptions{})(&text, one))
	require.Contains(t, text.String(), "FAIL mha/causal  wrong-weights: it holds other parameters than were loaded\n")
}

func halvedLayers(change func(*attention.Config)) subject.Subject {
	return subject.Subject{MHA: func(c attention.Config) (subject.Module, error) {
		change(&c)
		m, err := attention.New(c)
		return halved{m}, err
	}}
}

// halved is a layer that loads a part of one parameter with other values.
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

// A passing case is not run again.
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

// Each probe speaks on as many cases as it must, among the cases that a wrong subject fails. A
// plain run takes every sixth case.
func TestProbesOverTheSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("every case several times")
	}
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	names = slices.DeleteFunc(names, harnesstest.IsModule)
	layers, masked := 111, 57
	if !campaign.Full() {
		layers, masked = 19, 11
	}
	for _, tc := range []struct {
		subject subject.Subject
		wrong   int
		want    map[string]int
	}{
		{harnesstest.BuiltIn(), 0, map[string]int{}},
		{harnesstest.NeverLoaded(), layers, map[string]int{"load-no-effect": layers}},
		{harnesstest.Unmasked(), masked, map[string]int{"future-token": masked}},
		{harnesstest.Both(), layers, map[string]int{"load-no-effect": layers, "future-token": masked}},
		{harnesstest.OtherWeights(), layers, map[string]int{}},
	} {
		t.Run(tc.subject.Name, func(t *testing.T) {
			wrong, spoke := 0, map[string]int{}
			for n, name := range names {
				if n%6 != 0 && !campaign.Full() {
					continue
				}
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

// Each result has the probes of its own case, however many cases run at once.
func TestProbesOfSeveralJobs(t *testing.T) {
	cases := []string{"mha/causal", "mha/padding", "seed/causal", "sdpa/causal", "decoder/nope"}
	for _, s := range []subject.Runner{harnesstest.Unmasked(), pooled{harnesstest.Unmasked()}} {
		r, err := Check(t.Context(), fixtures.FS, s, cases...)
		require.NoError(t, err)
		var ids []string
		for _, result := range r.Results {
			ids = append(ids, result.Case+": "+strings.Join(probeIDs(result), " "))
		}
		require.Equal(t, []string{
			"mha/causal: future-token", "mha/padding: ", "seed/causal: future-token", "sdpa/causal: ",
			"decoder/nope: future-token",
		}, ids)
	}
}

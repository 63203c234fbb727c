package harness

import (
	"context"
	"slices"

	"github.com/difftest/difftest/harness/diagnose"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/report"
	"github.com/difftest/difftest/harness/subject"
)

// withLoad adds what the load of the state dict showed. A load that contradicts itself is wrong
// whatever the output is; the rest is evidence, and asked for only where the output is wrong.
func withLoad(l subject.Load, r report.Result) report.Result {
	r.Findings = append(r.Findings, l.Wrong...)
	if !r.Comparison.OK() {
		r.Findings = append(r.Findings, l.Doubtful...)
	}
	if len(r.Findings) > 0 {
		r.Verdict = report.Fail
	}
	return r
}

// withProbes runs the subject again where its output is wrong. No probe changes the verdict, but a
// load that had no effect is the first thing to say.
func withProbes(ctx context.Context, live subject.Live, c *fixture.Case, ran subject.Result, r report.Result) report.Result {
	if r.Comparison.OK() {
		return r
	}
	probes := subject.Probes(ctx, live, c, ran.Output)
	for _, p := range probes {
		r.Probes = append(r.Probes, report.Probe(p))
	}
	if never := neverLoaded(probes, ran.Load); never != "" {
		r.Diagnosis.Class, r.Diagnosis.Unexplained = diagnose.WrongWeights, false
		r.Diagnosis.Reasons = append([]string{never}, r.Diagnosis.Reasons...)
		r.Proven = append(r.Proven, loadTitle)
	}
	for _, p := range probes {
		if p.ID != subject.LoadNoEffect && (len(r.Proven) > 0 || len(r.Diagnosis.Matches) == 0) {
			r.Proven = append(r.Proven, p.Title)
		}
	}
	return r
}

// loadTitle is what a load that had no effect is called, however that was found out.
const loadTitle = "the load had no effect"

// neverLoaded says why the load had no effect. A layer that holds what it held before proves it only
// where the output does not follow the weights: else it is StateDict() that is wrong.
func neverLoaded(probes []subject.Probe, l subject.Load) string {
	spoke := func(id string) bool {
		return slices.ContainsFunc(probes, func(p subject.Probe) bool { return p.ID == id })
	}
	switch {
	case spoke(subject.LoadNoEffect):
		return loadTitle + ": other weights give the same output, so nothing below is that of the weights of the case"
	case l.Unchanged && spoke(subject.NoInput):
		return loadTitle + ": the parameters read back as before it, and the output depends on nothing"
	}
	return ""
}

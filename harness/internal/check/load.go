package check

import (
	"context"
	"fmt"
	"slices"

	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/probe"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// withLoad adds the findings about the load of the state dict to a result. A load that contradicts
// itself is wrong whatever the output is. Doubtful behaviour is evidence, listed only if the output
// is wrong.
func withLoad(
	ctx context.Context, lower oracle.Precision, c *fixture.Case, ran subject.Result, r report.Result,
) (report.Result, error) {
	r.Loaded = ran.Load.Confirmed
	r.Findings = append(r.Findings, ran.Load.Wrong...)
	if !r.Comparison.OK() {
		r.Findings = append(r.Findings, ran.Load.Doubtful...)
	}
	if len(r.Findings) > 0 {
		r.Verdict = report.Fail
	}
	if r.Verdict == report.Fail {
		r.Parameters = judge.Parameters(c)
		for i := range r.Parameters {
			r.Parameters[i].ReadBack = ran.Load.ReadBack[r.Parameters[i].Key]
		}
	}
	if r.Comparison.OK() || ran.Load.Held == nil || len(r.Diagnosis.Matches) > 0 {
		return r, nil
	}
	return withHeld(ctx, lower, c, ran, r)
}

// withHeld judges the output once more, as the output of the parameters that the layer holds. If
// it is right by them, or a mistake explains it by them, the layer computed with them and not with
// the case's.
func withHeld(
	ctx context.Context, lower oracle.Precision, c *fixture.Case, ran subject.Result, r report.Result,
) (report.Result, error) {
	own, err := byHeld(ctx, lower, c, ran)
	if err != nil {
		return r, fmt.Errorf("with the parameters that the subject holds: %w", err)
	}
	d := own.Diagnosis
	if d.Class != diagnose.Right && len(d.Matches) == 0 {
		return r, nil
	}
	proof := report.OtherParameters
	if ran.Load.Unchanged {
		proof = report.LoadNoEffect
	}
	if len(d.Matches) > 0 {
		first := proof.Title + ": what follows is by the parameters that it reads back"
		return wrongWeights(r, proof, append([]string{first}, d.Reasons...), d.Matches), nil
	}
	first := fmt.Sprintf("%s: by the parameters that it reads back the output is right (max z %.2g)",
		proof.Title, own.Comparison.MaxZ)
	return wrongWeights(r, proof, append([]string{first}, r.Diagnosis.Reasons...), nil), nil
}

// byHeld judges an output by the parameters that the layer holds.
func byHeld(
	ctx context.Context, lower oracle.Precision, c *fixture.Case, ran subject.Result,
) (report.Result, error) {
	own := *c
	own.State = ran.Load.Held
	right := judge.Right(&own)
	own.Truth = right.Value
	own.Output = c.Output.Clone()
	for i, v := range right.Value {
		own.Output.Data[i] = float32(v)
	}
	referee, err := judge.New(ctx, &own, lower)
	if err != nil {
		return report.Result{}, err
	}
	return referee.Judge(ctx, ran.Output.Shape, ran.Output.Float64s())
}

// wrongWeights returns a failure whose class is wrong weights, and whose first words say so.
func wrongWeights(
	r report.Result, proof report.Proof, reasons []string, matches []replay.Match,
) report.Result {
	d := &r.Diagnosis
	d.Class, d.Reasons, d.Matches, d.Unexplained = diagnose.WrongWeights, reasons, matches, false
	r.Proven = append(slices.Clone(r.Proven), proof)
	return r
}

// probed runs the subject again, with other inputs and parameters, if its output is wrong. No probe
// changes the verdict, but a load that had no effect becomes the first thing to say.
func probed(
	ctx context.Context, live subject.Live, c *fixture.Case, ran subject.Result, r report.Result,
) report.Result {
	if !r.Wrong() {
		return r
	}
	probes := probe.Probes(ctx, live, c, ran.Output)
	r.Probes = append(slices.Clone(r.Probes), probes...)
	if never := neverLoaded(probes, ran.Load); never != "" && !r.Proves(report.LoadNoEffect.ID) {
		r = wrongWeights(r, report.LoadNoEffect, append([]string{never}, r.Diagnosis.Reasons...), r.Diagnosis.Matches)
	}
	for _, p := range probes {
		if p.ID != report.LoadNoEffect.ID && len(r.Diagnosis.Matches) == 0 {
			r.Proven = append(r.Proven, report.Proof{ID: p.ID, Title: p.Title})
		}
	}
	return r
}

// neverLoaded returns the proof that the load had no effect; "" if there is none. Parameters that
// read back as before the load are no proof by themselves, because StateDict() may be wrong. The
// output must not depend on the inputs either.
func neverLoaded(probes []report.Probe, l subject.Load) string {
	spoke := func(id string) bool {
		return slices.ContainsFunc(probes, func(p report.Probe) bool { return p.ID == id })
	}
	switch {
	case spoke(report.LoadNoEffect.ID):
		return report.LoadNoEffect.Title +
			": other weights give the same output, so the output was not computed with the case's weights"
	case l.Unchanged && spoke(probe.NoInput):
		return report.LoadNoEffect.Title + ": the parameters read back as before it, and the output depends on nothing"
	}
	return ""
}

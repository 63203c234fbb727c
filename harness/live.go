package harness

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// What the load of a state dict can be found to have done, in a few words.
const (
	loadTitle  = "the load had no effect"
	otherTitle = "it holds other parameters than were loaded"
)

// withLoad adds what the load of the state dict showed. A load that contradicts itself is wrong
// whatever the output is; the rest is evidence, and told only where the output is wrong.
func withLoad(ctx context.Context, judged declared, c *fixture.Case, ran subject.Result, r report.Result) (report.Result, error) {
	r.Findings = append(r.Findings, ran.Load.Wrong...)
	if !r.Comparison.OK() {
		r.Findings = append(r.Findings, ran.Load.Doubtful...)
	}
	if len(r.Findings) > 0 {
		r.Verdict = report.Fail
	}
	if r.Comparison.OK() || ran.Load.Held == nil || len(r.Diagnosis.Matches) > 0 {
		return r, nil
	}
	return withHeld(ctx, judged, c, ran, r)
}

// withHeld judges the output once more, as that of the parameters that the layer holds. Where it is
// right by them, or a mistake gives it, they are what it was computed with, and not those of the case.
func withHeld(ctx context.Context, judged declared, c *fixture.Case, ran subject.Result, r report.Result) (report.Result, error) {
	own, err := judged.output(ctx, holding(c, ran.Load), ran.Output)
	if err != nil {
		return r, fmt.Errorf("with the parameters that the subject holds: %w", err)
	}
	d := own.Diagnosis
	if d.Class != diagnose.Right && len(d.Matches) == 0 {
		return r, nil
	}
	title := otherTitle
	if ran.Load.Unchanged {
		title = loadTitle
	}
	if len(d.Matches) > 0 {
		first := title + ": what follows is by the parameters that it reads back"
		return weightsFirst(r, title, append([]string{first}, d.Reasons...), d.Matches), nil
	}
	first := fmt.Sprintf("%s: by the parameters that it reads back the output is right (max z %.2g)", title, own.Comparison.MaxZ)
	return weightsFirst(r, title, append([]string{first}, r.Diagnosis.Reasons...), nil), nil
}

// holding is a case with the parameters that a layer holds, and what is right by them.
func holding(c *fixture.Case, l subject.Load) *fixture.Case {
	own := *c
	own.State = l.Held
	truth := inOrder(c, oracle.FromCase(&own).Run().Expected())
	own.Truth = truth.Value
	own.Output = c.Output.Clone()
	for i, v := range truth.Value {
		own.Output.Data[i] = float32(v)
	}
	return &own
}

// weightsFirst makes wrong weights the class of a failure and the first that is said of it.
func weightsFirst(r report.Result, title string, reasons []string, matches []diagnose.Match) report.Result {
	d := &r.Diagnosis
	d.Class, d.Reasons, d.Matches, d.Unexplained = diagnose.WrongWeights, reasons, matches, false
	r.Proven = append(r.Proven, title)
	return r
}

// rerun keeps what a subject did on each case, until it is known which of them it fails. nil keeps nothing.
type rerun struct {
	live subject.Live
	mu   sync.Mutex
	ran  map[string]subject.Result
}

func (again *rerun) keep(c *fixture.Case, ran subject.Result) {
	again.mu.Lock()
	defer again.mu.Unlock()
	if again.ran == nil {
		again.ran = map[string]subject.Result{}
	}
	again.ran[c.Name] = ran
}

// failures runs the subject again on the cases that it fails, as many at once as there are jobs.
func (again *rerun) failures(ctx context.Context, all []outcome, jobs int) {
	if again == nil {
		return
	}
	var group errgroup.Group
	group.SetLimit(max(1, jobs))
	for i := range all {
		one := &all[i]
		if one.c != nil && one.err == nil && one.result.Wrong() {
			group.Go(func() error {
				one.result = withProbes(ctx, again.live, one.c, again.ran[one.c.Name], one.result)
				return nil
			})
		}
	}
	_ = group.Wait() // none returns an error
}

// withProbes runs the subject again where its output is wrong. No probe changes the verdict, but a
// load that had no effect is the first thing to say.
func withProbes(ctx context.Context, live subject.Live, c *fixture.Case, ran subject.Result, r report.Result) report.Result {
	if !r.Wrong() {
		return r
	}
	probes := subject.Probes(ctx, live, c, ran.Output)
	for _, p := range probes {
		r.Probes = append(r.Probes, report.Probe(p))
	}
	if never := neverLoaded(probes, ran.Load); never != "" && !slices.Contains(r.Proven, loadTitle) {
		r = weightsFirst(r, loadTitle, append([]string{never}, r.Diagnosis.Reasons...), r.Diagnosis.Matches)
	}
	for _, p := range probes {
		if p.ID != subject.LoadNoEffect && len(r.Diagnosis.Matches) == 0 {
			r.Proven = append(r.Proven, p.Title)
		}
	}
	return r
}

// neverLoaded says why the load had no effect. A layer that holds what it held before proves it only
// where the output does not follow the weights: else it may be StateDict() that is wrong.
func neverLoaded(probes []subject.Probe, l subject.Load) string {
	spoke := func(id string) bool {
		return slices.ContainsFunc(probes, func(p subject.Probe) bool { return p.ID == id })
	}
	switch {
	case spoke(subject.LoadNoEffect):
		return loadTitle + ": other weights give the same output, so what follows is not that of the weights of the case"
	case l.Unchanged && spoke(subject.NoInput):
		return loadTitle + ": the parameters read back as before it, and the output depends on nothing"
	}
	return ""
}

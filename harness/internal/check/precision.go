package check

import (
	"fmt"
	"maps"
	"slices"

	"github.com/difftest/difftest/harness/internal/protocol"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// onePrecision returns the precision of an output that may be declared for all outputs and for this
// one. It fails if the two differ.
func onePrecision(forAll, own subject.Precision) (subject.Precision, error) {
	if own == subject.Float32 {
		return forAll, nil
	}
	if forAll != subject.Float32 && forAll != own {
		return own, fmt.Errorf("precision: %q, but %q is declared for all outputs", own, forAll)
	}
	return own, nil
}

// declaredPrecisions lists what the replies to all outputs declare, each precision once.
func declaredPrecisions(turns []turn) []string {
	declared := map[string]bool{}
	for _, t := range turns {
		if t.done && (t.result.Verdict == report.Pass || t.result.Verdict == report.Fail) {
			declared[string(t.declared)] = true
		}
	}
	return slices.Sorted(maps.Keys(declared))
}

// declarePrecision takes the precision that the replies of all outputs declare into a report. An
// implementation has one arithmetic, so replies that disagree are broken.
func declarePrecision(r *report.Report, replies []string) {
	switch {
	case r.Precision != "":
	case len(replies) == 1:
		r.Precision = replies[0]
	case len(replies) > 1:
		all := slices.Clone(replies)
		if all[0] == string(subject.Float32) {
			all[0] = "float32"
		}
		r.Broken = append(r.Broken, report.Broken{Case: "(outputs)", Err: fmt.Sprintf(
			"%s: the outputs of one implementation declare different precisions: %q", protocol.ReplyFile, all)})
	}
}

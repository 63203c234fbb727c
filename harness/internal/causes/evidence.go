package causes

import (
	"github.com/difftest/difftest/harness/internal/fixture"
)

// evidence is the cases of a run that support or deny a possible cause.
type evidence struct {
	failures int // of the run
	// supporting are the failures that the cause explains. alone counts the ones that it explains
	// without another cause.
	supporting []string
	alone      int
	// denying are the passes that would fail with the cause. Of a symptom, they are all cases that
	// speak against it.
	denying []string
	// otherwise are the failures without an explanation that would show the cause, and do not.
	otherwise []string
}

// enough reports whether the evidence makes a named mistake or number a cause. It does not if the
// cause explains fewer failures than it leaves without an explanation: then it is a special case of
// something else. Besides, one of these holds:
//
//   - At most as many cases deny it as support it.
//   - It explains at least half of the failures, one of them alone. The implementation may do it on
//     these cases only.
//   - It explains several failures alone, and they share a feature that no denying case has. The
//     implementation does it only with this feature.
func (e evidence) enough(cases Cases) bool {
	switch {
	case len(e.supporting) == 0, len(e.otherwise) > len(e.supporting):
		return false
	case len(e.denying) <= len(e.supporting):
		return true
	case e.alone == 0:
		return false
	}
	return 2*len(e.supporting) >= e.failures || e.alone >= severalFailures && e.confined(cases)
}

// enoughForSymptom reports whether the evidence makes a cause of something that has no name of its
// own, such as other parameters. It may fit single outputs by chance, so that more cases must
// support than deny it.
func (e evidence) enoughForSymptom() bool {
	return len(e.supporting) >= severalFailures && len(e.supporting) > len(e.denying)
}

// confined reports whether all supporting cases have a feature that no denying case has.
func (e evidence) confined(cases Cases) bool { return e.only(cases) != "" }

// only returns a feature that all supporting cases have and no denying case: "a window". The result
// is "" if no feature is, or if the cases are too few to rule out chance: one supporting case is.
func (e evidence) only(cases Cases) string {
	supporting, denying := read(e.supporting, cases), read(e.denying, cases)
	if len(supporting) < len(e.supporting) || len(denying) < len(e.denying) || len(denying) == 0 {
		return ""
	}
	for _, s := range exact(splits(supporting, denying), supporting, denying) {
		if !s.lacking {
			return s.what
		}
	}
	return ""
}

// read returns the cases of some names, without the ones that are not known.
func read(names []string, cases Cases) []*fixture.Case {
	var found []*fixture.Case
	for _, name := range names {
		if c := cases(name); c != nil {
			found = append(found, c)
		}
	}
	return found
}

// severalFailures is how many failures a cause without a name in the catalogue needs.
const severalFailures = 2

package causes

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// plainCases returns the names of cases, and the cases. The first ones have a window.
func plainCases(windows, others int) (names []string, cases Cases) {
	read := map[string]*fixture.Case{}
	q := attention.NewTensor(2, 2, 4, 8)
	for i := range windows + others {
		c := &fixture.Case{
			Name: fmt.Sprintf("suite/%d", i), Op: fixture.SDPA,
			Inputs: attention.Inputs{Query: q, Key: q, Value: q},
		}
		if i < windows {
			c.Options.Window = 2
		}
		names, read[c.Name] = append(names, c.Name), c
	}
	return names, Of(read)
}

// The borders of what makes a cause.
func TestEvidenceOfACause(t *testing.T) {
	apart, cases := plainCases(3, 40)      // what supports has a window, and what denies has none
	mixed, mixedCases := plainCases(0, 43) // nothing tells them apart
	for _, tc := range []struct {
		name                string
		supporting, denying int
		failures, alone     int
		named, confined     bool // a cause if nothing tells the cases apart, and if a window does
	}{
		{"no failure", 0, 0, 5, 0, false, false},
		{"one failure, nothing against it", 1, 0, 10, 1, true, true},
		{"as many against as for it", 2, 2, 10, 0, true, true},
		{"more against than for it", 2, 3, 10, 0, false, false},
		{"half of the failures, alone", 2, 40, 4, 1, true, true},
		{"half of the failures, never alone", 2, 40, 4, 0, false, false},
		{"less than half", 2, 40, 5, 1, false, false},
		{"less than half, twice alone", 2, 40, 5, 2, false, true},
		{"one of ten against forty", 1, 40, 10, 1, false, false},
		{"two alone, and few to tell apart", 2, 3, 10, 2, false, false},
	} {
		e := evidence{failures: tc.failures, alone: tc.alone}
		e.supporting, e.denying = mixed[:tc.supporting], mixed[3:][:tc.denying]
		require.Equal(t, tc.named, e.enough(mixedCases), tc.name)
		e.supporting, e.denying = apart[:tc.supporting], apart[3:][:tc.denying]
		require.Equal(t, tc.confined, e.enough(cases), "with a window: %s", tc.name)
	}
}

// A cause explains at least as many failures as it leaves without an explanation.
func TestEvidenceOfASpecialCase(t *testing.T) {
	names, cases := plainCases(0, 9)
	for otherwise, want := range []bool{true, true, true, false, false} {
		e := evidence{failures: 9, supporting: names[:2], alone: 2, otherwise: names[2:][:otherwise]}
		require.Equal(t, want, e.enough(cases), "%d others", otherwise)
	}
}

// What has no name of its own needs several failures, and more than speak against it.
func TestEvidenceOfASymptom(t *testing.T) {
	names, _ := plainCases(0, 9)
	for _, tc := range []struct {
		supporting, denying int
		want                bool
	}{{1, 0, false}, {2, 0, true}, {2, 1, true}, {2, 2, false}, {4, 3, true}, {4, 5, false}} {
		e := evidence{supporting: names[:tc.supporting], denying: names[4:][:tc.denying]}
		require.Equal(t, tc.want, e.enoughForSymptom(), "%+v", tc)
	}
}

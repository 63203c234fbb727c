package judge

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/random"
)

// Mistakes that give one output on a case have one class there, that of the first; what is not seen
// has that of the right output.
func TestClassOfSight(t *testing.T) {
	referee, err := New(t.Context(), harnesstest.ReadCase(t, "sdpa/decode"), oracle.Precision{})
	require.NoError(t, err)
	sight := referee.Sees()
	require.NotEmpty(t, sight.Alike)
	classes := map[string]int{}
	for place, class := range sight.Class() {
		classes[catalogue.Mistakes[place].ID] = class
	}
	want := map[string]int{}
	for place, m := range catalogue.Mistakes {
		want[m.ID] = place
	}
	for _, group := range sight.Alike {
		for _, m := range group {
			want[m.ID] = want[group[0].ID]
		}
	}
	for _, m := range sight.Absent {
		want[m.ID] = -1
	}
	for _, b := range sight.Blind {
		want[b.Mistake.ID] = -1
	}
	require.Equal(t, want, classes)
}

// Why a case cannot see a mistake: what it has too little of.
func TestWhyAMistakeIsHidden(t *testing.T) {
	r := random.Draw{Rand: rand.New(rand.NewPCG(4, 4))}
	function := func(queries, keys int, o attention.SDPAOptions) *fixture.Case {
		return &fixture.Case{Op: fixture.SDPA, Options: o, Inputs: attention.Inputs{Query: r.Tensor(2, 2, queries, 4), Key: r.Tensor(2, 2, keys, 4), Value: r.Tensor(2, 2, keys, 4)}}
	}
	for _, tc := range []struct {
		name, mistake, why string
		c                  *fixture.Case
	}{
		{"decode", "causal-missing", "the output is the same: one query, and every key is in its past", function(1, 3, attention.SDPAOptions{Causality: attention.LowerRight})},
		{"one key", "scale-missing", "the output is the same: every query sees one key at most", function(3, 1, attention.SDPAOptions{})},
		{"two keys", "window-missing", "the output is the same", function(2, 2, attention.SDPAOptions{Window: 2})},
		{"a wide window", "window-one-wide", "the output is the same: a window as narrow as this hides the same keys", function(2, 2, attention.SDPAOptions{Window: 2})},
		{"one query, no cache", "window-missing", "the output is the same", function(1, 3, attention.SDPAOptions{Window: 5})},
		{"one position", "inputs-time-reversed", "the output is the same: one position", function(1, 1, attention.SDPAOptions{})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			problem := oracle.FromCase(tc.c)
			why := map[string]string{}
			for _, b := range diagnose.NewReference(problem, problem.Run().Expected()).Visibility().Blind {
				why[b.Mistake.ID] = b.Why
			}
			require.Equal(t, tc.why, why[tc.mistake])
		})
	}
}

package harness

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/random"
)

// Mistakes that give one output on a case have one class there, that of the first; what is not seen
// has that of the right output.
func TestClassOfSight(t *testing.T) {
	sight, err := Sees(readCase(t, "sdpa/decode"))
	require.NoError(t, err)
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
			for _, b := range diagnose.NewReference(problem, problem.Run().Expected()).Sight().Blind {
				why[b.Mistake.ID] = b.Why
			}
			require.Equal(t, tc.why, why[tc.mistake])
		})
	}
}

// What one case alone sees is seen once; what two see is not.
func TestSeenOnce(t *testing.T) {
	one, err := NewLint(fixtures.FS, "sdpa/decode")
	require.NoError(t, err)
	require.Equal(t, IDs(one.Cases[0].Sight.Seen), IDs(one.SeenOnce))
	two, err := NewLint(fixtures.FS, "sdpa/decode", "sdpa/decode")
	require.NoError(t, err)
	require.Empty(t, two.SeenOnce)
	require.Equal(t, []string{"sdpa/decode"}, two.Core)
}

// Three that no case tells apart are one group of three, once.
func TestMergedGroups(t *testing.T) {
	class := make([]int, len(catalogue.Mistakes))
	for i := range class {
		class[i] = -1
	}
	for _, m := range []int{1, 3, 6} {
		class[m] = 1
	}
	for _, m := range []int{2, 5} {
		class[m] = 2
	}
	pick := func(places ...int) []catalogue.Mistake {
		var list []catalogue.Mistake
		for _, p := range places {
			list = append(list, catalogue.Mistakes[p])
		}
		return list
	}
	groups := merged(separations([][]int{class}))
	require.Len(t, groups, 2)
	require.Equal(t, IDs(pick(1, 3, 6)), IDs(groups[0]))
	require.Equal(t, IDs(pick(2, 5)), IDs(groups[1]))
}

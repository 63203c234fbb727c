package coverage

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
)

// lintedSuite makes every mistake of attention on every case of the committed suite, once for all
// tests.
var lintedSuite = sync.OnceValues(func() (*Lint, error) {
	names, err := fixture.Names(fixtures.FS)
	if err != nil {
		return nil, err
	}
	return New(fixtures.FS, slices.DeleteFunc(names, harnesstest.IsModule)...)
})

// wholeLint skips the test under -short, because the race detector would take minutes.
func wholeLint(t *testing.T) *Lint {
	t.Helper()
	if testing.Short() {
		t.Skip("every mistake on every case")
	}
	l, err := lintedSuite()
	require.NoError(t, err)
	return l
}

// At least two cases of the committed suite see every mistake.
func TestTheSuiteSeesEveryMistakeTwice(t *testing.T) {
	l := wholeLint(t)
	require.Equal(t, "none", IDs(l.Unseen))
	require.Equal(t, "none", IDs(l.SeenOnce))
	require.GreaterOrEqual(t, len(l.Cases), 90)
	t.Logf("core: %q, merged: %v", l.Core, l.Merged)
}

// The core by itself sees the same mistakes as the suite and tells the same ones apart. Without any
// of its cases it does not.
func TestTheCoreIsEnoughAndNoLess(t *testing.T) {
	whole := wholeLint(t)
	core := only(whole, whole.Core...)
	core.summarize()
	require.Equal(t, groupIDs(whole.Merged), groupIDs(core.Merged))
	require.Equal(t, IDs(whole.Unseen), IDs(core.Unseen))
	require.Len(t, core.Core, len(whole.Core))
	for i := range whole.Core {
		rest := append(append([]string{}, whole.Core[:i]...), whole.Core[i+1:]...)
		require.Less(t, pairs(only(whole, rest...)), pairs(whole), "without %s", whole.Core[i])
	}
}

// only returns the coverage by some cases of a suite, not yet summarized.
func only(l *Lint, names ...string) *Lint {
	return &Lint{Cases: slices.DeleteFunc(slices.Clone(l.Cases), func(c LintedCase) bool {
		return !slices.Contains(names, c.Case)
	})}
}

func groupIDs(groups [][]catalogue.Mistake) []string {
	var ids []string
	for _, g := range groups {
		ids = append(ids, IDs(g))
	}
	return ids
}

// pairs counts the pairs that the cases tell apart.
func pairs(l *Lint) int {
	var all bitset
	var classes [][]int
	for _, c := range l.Cases {
		if !c.Module {
			classes = append(classes, c.Sight.Class())
		}
	}
	for _, s := range separations(classes) {
		all = all.union(s)
	}
	return all.count()
}

func TestLintRefusesUnknownNames(t *testing.T) {
	_, err := New(fixtures.FS, "mha/none")
	require.ErrorContains(t, err, `case "mha/none": the suite has no such case`)
}

func TestSmallestCover(t *testing.T) {
	set := func(elements ...int) (b bitset) {
		for _, e := range elements {
			b = b.add(e)
		}
		return b
	}
	for _, tc := range []struct {
		name string
		sets []bitset
		want []int
	}{
		{"nothing", nil, nil},
		{"empty sets", []bitset{nil, set()}, nil},
		{"one", []bitset{set(1, 70), set(1)}, []int{0}},
		{"equal sets: the first", []bitset{set(3), set(3)}, []int{0}},
		// A greedy choice takes the largest set first, and needs three.
		{"greedy is not enough", []bitset{set(1, 2, 3, 4), set(1, 3, 5), set(2, 4, 6)}, []int{1, 2}},
		{"in order, the largest last", []bitset{set(1), set(2), set(3, 4)}, []int{0, 1, 2}},
		{"all are needed", []bitset{set(1), set(2), set(200)}, []int{0, 1, 2}},
	} {
		t.Run(tc.name, func(t *testing.T) { require.Equal(t, tc.want, smallestCover(tc.sets)) })
	}
}

// Mistakes that no case tells apart form one group. Mistakes that no case sees are in no group.
func TestMerged(t *testing.T) {
	class := make([]int, len(catalogue.Mistakes))
	for i := range class {
		class[i] = -1
	}
	class[1], class[2], class[4] = 1, 1, 4
	groups := merged(catalogue.Mistakes, separations([][]int{class}))
	require.Len(t, groups, 1)
	require.Equal(t, IDs(catalogue.Mistakes[1:3]), IDs(groups[0]))
}

// A mistake that only one case sees is seen once. With two such cases it is not.
func TestSeenOnce(t *testing.T) {
	one, err := New(fixtures.FS, "sdpa/decode")
	require.NoError(t, err)
	require.Equal(t, IDs(one.Cases[0].Sight.Seen), IDs(one.SeenOnce))
	two, err := New(fixtures.FS, "sdpa/decode", "sdpa/decode")
	require.NoError(t, err)
	require.Empty(t, two.SeenOnce)
	require.Equal(t, []string{"sdpa/decode"}, two.Core)
}

// Three mistakes that no case tells apart form one group of three, once.
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
	groups := merged(catalogue.Mistakes, separations([][]int{class}))
	require.Len(t, groups, 2)
	require.Equal(t, IDs(pick(1, 3, 6)), IDs(groups[0]))
	require.Equal(t, IDs(pick(2, 5)), IDs(groups[1]))
}

// Mistakes in captured modules are a catalogue of their own.
func TestModulesAreSummarizedByThemselves(t *testing.T) {
	campaign.SkipShort(t)
	l, err := New(fixtures.FS, "models/llama", "models/moe-softmax")
	require.NoError(t, err)
	require.Zero(t, l.Summary.Cases)
	require.Equal(t, 2, l.Modules.Cases)
	require.Equal(t, len(edits.Mistakes), len(l.Modules.Mistakes))
	require.Contains(t, IDs(l.Modules.Unseen), "positions-missing")
	require.Contains(t, IDs(l.Modules.SeenOnce), "linear-bias-missing")
	require.NotEmpty(t, l.Modules.Core)
	for _, m := range l.Modules.Mistakes {
		require.NotNil(t, m.Edit, m.ID)
	}
}

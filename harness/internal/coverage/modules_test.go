package coverage

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
)

var update = flag.Bool("update", false, "write testdata/seen.txt again")

// seenFile lists each mistake in a module with the embedded cases that see it.
const seenFile = "testdata/seen.txt"

// unseen gives the reason why fewer than two embedded cases see a mistake.
var unseen = map[string]string{
	"gru-reset-after": "PyTorch's GRU has the reset gate behind the product: no captured module has a place for it",
}

// Two embedded cases see every mistake in a module, unless a reason is given, and a case tells it
// apart from every other one. A full campaign makes every mistake on every case. The plain run
// reads the list of the last campaign, and makes the mistakes on a few cases.
func TestTheModulesSeeEveryMistakeTwice(t *testing.T) {
	seen := readSeen(t)
	l, err := New(fixtures.FS, modules(t)...)
	require.NoError(t, err)
	if campaign.Full() {
		require.Empty(t, l.Modules.Merged)
		if *update {
			writeSeen(t, l)
			seen = readSeen(t)
		}
	}
	for _, c := range l.Cases {
		for _, m := range edits.Mistakes {
			got := slices.Contains(catalogue.IDs(c.Sight.Seen), m.ID)
			require.Equal(t, slices.Contains(seen[m.ID], c.Case), got, "%s %s", c.Case, m.ID)
		}
	}
	for _, m := range edits.Mistakes {
		reason, excepted := unseen[m.ID]
		require.Equal(t, excepted, len(seen[m.ID]) < 2, "%s: %v; %s", m.ID, seen[m.ID], reason)
	}
	require.Len(t, seen, len(edits.Mistakes))
}

// modules returns the embedded modules, or every twelfth of them unless a full campaign runs.
func modules(t *testing.T) []string {
	t.Helper()
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	names = slices.DeleteFunc(names, func(name string) bool { return !harnesstest.IsModule(name) })
	require.NotEmpty(t, names)
	if campaign.Full() {
		return names
	}
	var few []string
	for i := 0; i < len(names); i += 12 {
		few = append(few, names[i])
	}
	return few
}

// readSeen returns the cases that see each mistake.
func readSeen(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(seenFile)
	require.NoError(t, err)
	seen := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		seen[fields[0]] = fields[1:]
	}
	return seen
}

func writeSeen(t *testing.T, l *Lint) {
	t.Helper()
	var text strings.Builder
	for _, m := range edits.Mistakes {
		fmt.Fprint(&text, m.ID)
		for _, c := range l.Cases {
			if slices.Contains(catalogue.IDs(c.Sight.Seen), m.ID) {
				fmt.Fprint(&text, " ", c.Case)
			}
		}
		fmt.Fprintln(&text)
	}
	require.NoError(t, os.WriteFile(seenFile, []byte(text.String()), 0o644))
}

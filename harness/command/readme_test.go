package command

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
)

// readmePath is absolute: a test changes the working directory.
var readmePath, _ = filepath.Abs("../../README.md")

const failure = "```\n$ difftest check seed/causal output.npy\n"

// The README shows a failure twice: an excerpt, and everything that the command prints.
// go test ./harness/command -run TestReadme -update writes the second text anew.
func TestReadmeShowsARealFailure(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("other processors fuse multiplications and additions, and round otherwise")
	}
	parts := strings.Split(readme(t), failure)
	require.Len(t, parts, 3, "the README shows %q twice", failure)
	excerpt, _, _ := strings.Cut(parts[1], "```")
	whole, rest, _ := strings.Cut(parts[2], "```")
	printed := printedFailure(t)
	if *update {
		text := parts[0] + failure + parts[1] + failure + printed + "```" + rest
		require.NoError(t, os.WriteFile(readmePath, []byte(text), 0o644))
		whole = printed
	}
	require.Equal(t, printed, whole)

	require.Equal(t, 8, strings.Count(excerpt, "\n"))
	left := printed
	for line := range strings.Lines(excerpt) {
		_, after, found := strings.Cut(left, "\n"+line)
		require.True(t, found, "the command does not print, at this place: %s", line)
		left = "\n" + after
	}
	for _, label := range regexp.MustCompile(`(?m)^  (\w+) `).FindAllStringSubmatch(printed, -1) {
		require.Contains(t, rest, "\n| `"+label[1]+"` |", "the legend explains every line")
	}
}

// printedFailure returns the output of difftest check for a layer without its causal mask.
func printedFailure(t *testing.T) string {
	t.Helper()
	c, err := fixture.Read(fixtures.FS, "seed/causal")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	output := harnesstest.NPY(harnesstest.Unmasked().Run(t.Context(), c).Output)
	require.NoError(t, os.WriteFile("output.npy", output, 0o644))
	var stdout, stderr strings.Builder
	require.Equal(t, exitFailed, Main([]string{"check", "seed/causal", "output.npy"}, nil, &stdout, &stderr))
	require.Empty(t, stderr.String())
	return stdout.String()
}

func TestReadmeCountsTheCases(t *testing.T) {
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	require.Contains(t, readme(t), fmt.Sprintf("the main job: %d cases by PyTorch 2.15.0", len(names)))
}

// The README says which exit statuses there are, as the help does.
func TestReadmeListsTheExitStatuses(t *testing.T) {
	for _, status := range []int{0, exitFailed, exitUsage, exitBroken, exitNothing, exitInterrupted} {
		require.Contains(t, readme(t), fmt.Sprintf("\n| %d | ", status))
		require.Regexp(t, fmt.Sprintf(`\n  %d +`, status), rootCommand().Long)
	}
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(readmePath)
	require.NoError(t, err)
	return string(text)
}

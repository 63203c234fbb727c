package command

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
)

// The failure that the README shows is what the command prints, to the letter where the last digits
// are those of the machine that it was taken from.
func TestReadmeShowsARealFailure(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("other processors fuse multiplications and additions, and round otherwise")
	}
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	const command = "$ difftest check seed/causal output.npy\n"
	_, after, found := strings.Cut(string(readme), "```\n"+command)
	require.True(t, found, "the README shows no %q", command)
	shown, _, _ := strings.Cut(after, "```")

	c, err := fixture.Read(fixtures.FS, "seed/causal")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("output.npy", harnesstest.NPY(harnesstest.Unmasked().Run(t.Context(), c).Output), 0o644))
	var stdout, stderr strings.Builder
	require.Equal(t, exitFailed, Main([]string{"check", "seed/causal", "output.npy"}, nil, &stdout, &stderr))
	require.Empty(t, stderr.String())
	require.Equal(t, stdout.String(), shown)
}

// The README's figures of the suite are those of the suite.
func TestReadmeCountsTheCases(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	require.Contains(t, string(readme), fmt.Sprintf("the main job: %d cases by PyTorch 2.15.0", len(names)))
}

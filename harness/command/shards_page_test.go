package command

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/starter"
)

// The page on shards shows the workflow that init writes.
func TestShardsPageShowsTheWorkflow(t *testing.T) {
	page, err := os.ReadFile("../SHARDS.md")
	require.NoError(t, err)
	require.Contains(t, string(page), "```yaml\n"+shardsWorkflow()+"```\n")
}

// shardsWorkflow returns the workflow that init writes for three shards.
func shardsWorkflow() string {
	files := starter.Python(".", 3)
	return files[len(files)-1].Text
}

// The steps of the workflow run here, with another program instead of Python: the shards of the
// matrix write blobs, and the job behind them merges these.
func TestWorkflowOfShards(t *testing.T) {
	campaign.SkipShort(t)
	if _, err := exec.LookPath("difftest"); err != nil || runtime.GOOS == "windows" {
		t.Skip("needs a shell, and difftest, which TestMain puts there")
	}
	steps := regexp.MustCompile(`(?m)^      - run: (difftest .*)$`).FindAllStringSubmatch(shardsWorkflow(), -1)
	require.Len(t, steps, 2)
	shards, merge := strings.Replace(steps[0][1], "python difftest_subject.py", "unmasked", 1), steps[1][1]
	shards = strings.Replace(shards, "difftest ", "difftest --once --case 'seed/*' --case 'mha/ca*' ", 1)
	t.Chdir(t.TempDir())
	for _, i := range []string{"1", "2", "3"} {
		out, err := exec.Command("sh", "-c", strings.ReplaceAll(shards, "${{ matrix.shard }}", i)).CombinedOutput()
		require.Contains(t, string(out), "shard "+i+"/3")
		require.Equal(t, i == "2", err == nil, "%s", out)
	}
	out, err := exec.Command("sh", "-c", merge).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "CAUSE causal-missing explains all")
	page, err := os.ReadFile("report.html")
	require.NoError(t, err)
	require.Contains(t, string(page), "causal-missing")

	require.NoError(t, os.Remove("2.blob"))
	out, err = exec.Command("sh", "-c", merge).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "shard 2/3 is missing")
}

// The actions in the workflows of init are the ones, at the same commits, that this repository
// uses, and two that it does not use.
func TestActionsOfInit(t *testing.T) {
	uses := regexp.MustCompile(`uses: (\S+@[0-9a-f]{40}) # v`)
	own := map[string]bool{}
	paths, err := filepath.Glob("../../.github/workflows/*.yml")
	require.NoError(t, err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, match := range uses.FindAllStringSubmatch(string(text), -1) {
			own[match[1]] = true
		}
	}
	for _, files := range [][]starter.File{starter.Go("a", "."), starter.Python(".", 1), starter.Python(".", 3)} {
		text := files[len(files)-1].Text
		found := uses.FindAllStringSubmatch(text, -1)
		require.Len(t, found, strings.Count(text, "uses: "), "an action without a commit")
		for _, match := range found {
			name, _, _ := strings.Cut(match[1], "@")
			artifact := slices.Contains([]string{"actions/upload-artifact", "actions/download-artifact"}, name)
			require.True(t, own[match[1]] || artifact, match[1])
		}
	}
}

package command

import (
	"cmp"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// action is the part of an action.yml that a runner needs.
type action struct {
	Inputs map[string]struct {
		Description string
		Default     string
	}
	Runs struct {
		Using string
		Steps []struct {
			Name, Uses, Shell, Run string
			Env                    map[string]string
		}
	}
}

// readAction returns the composite action, and its folder.
func readAction(t *testing.T) (action, string) {
	t.Helper()
	dir, err := filepath.Abs("../../.github/actions/difftest")
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(dir, "action.yml"))
	require.NoError(t, err)
	var a action
	require.NoError(t, yaml.Unmarshal(text, &a))
	require.Equal(t, "composite", a.Runs.Using)
	return a, dir
}

// expression is a value that the runner fills in.
var expression = regexp.MustCompile(`\$\{\{ *(\w+)\.(\w+) *\}\}`)

// runAction runs the steps of the action one after another in a folder, as a runner does. It
// returns what they print. The error is the first step's that fails.
func runAction(t *testing.T, dir string, inputs map[string]string) (string, error) {
	t.Helper()
	a, folder := readAction(t)
	for name := range inputs {
		require.Contains(t, a.Inputs, name)
	}
	filled := func(text string) string {
		return expression.ReplaceAllStringFunc(text, func(found string) string {
			parts := expression.FindStringSubmatch(found)
			if parts[1] == "github" {
				require.Equal(t, "action_path", parts[2])
				return folder
			}
			require.Equal(t, "inputs", parts[1])
			require.Contains(t, a.Inputs, parts[2])
			return cmp.Or(inputs[parts[2]], a.Inputs[parts[2]].Default)
		})
	}
	paths := filepath.Join(dir, "paths")
	printed := ""
	for _, step := range a.Runs.Steps {
		if step.Run == "" {
			require.Regexp(t, `^[\w/-]+@[0-9a-f]{40}$`, step.Uses, "a commit, which nobody can move")
			continue
		}
		require.NotContains(t, step.Run, "${{", "an input in a script would be run as a part of it")
		added, err := os.ReadFile(paths)
		require.True(t, err == nil || os.IsNotExist(err))
		path := strings.ReplaceAll(strings.TrimSpace(string(added)), "\n", ":")
		cmd := exec.Command(step.Shell, "-eo", "pipefail", "-c", step.Run)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"), "RUNNER_TEMP="+filepath.Join(dir, "temp"),
			"GITHUB_PATH="+paths, "GITHUB_ACTIONS=true", "GITHUB_STEP_SUMMARY="+filepath.Join(dir, "summary.md"))
		for _, name := range slices.Sorted(maps.Keys(step.Env)) {
			cmd.Env = append(cmd.Env, name+"="+filled(step.Env[name]))
		}
		out, err := cmd.CombinedOutput()
		if printed += string(out); err != nil {
			return printed, err
		}
	}
	return printed, nil
}

// The steps of the action build difftest and run it. Every input does what it says.
func TestAction(t *testing.T) {
	if testing.Short() || runtime.GOOS == "windows" {
		t.Skip("builds the command, and runs the words of a Unix shell")
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "known.txt"), []byte("seed/causal # no mask yet\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "fail it.sh"), []byte("exit 7\n"), 0o755))

	out, err := runAction(t, dir, map[string]string{"cases": "seed/*\nsdpa/causal", "shards": "1/1"})
	require.NoError(t, err, "%s", out)
	require.Contains(t, out, "3 passed, 0 failed")
	for _, file := range []string{"difftest.html", "difftest-1.blob", "summary.md"} {
		require.FileExists(t, filepath.Join(dir, file))
	}
	out, err = runAction(t, dir, map[string]string{"arguments": "merge difftest-*.blob", "page": "merged.html"})
	require.NoError(t, err, "%s", out)
	require.Contains(t, out, "3 passed, 0 failed")
	require.FileExists(t, filepath.Join(dir, "merged.html"))

	failing := map[string]string{"cases": "seed/*", "command": "sh 'fail it.sh'"}
	out, err = runAction(t, dir, failing)
	require.Equal(t, "exit status 1", err.Error(), "%s", out)
	require.Contains(t, out, "it ended (exit status 7)")
	require.Contains(t, out, "::error title=difftest%3A seed/causal::no output")
	failing["known"] = "known.txt"
	out, err = runAction(t, dir, failing)
	require.Error(t, err)
	require.Contains(t, out, "1 failed")
}

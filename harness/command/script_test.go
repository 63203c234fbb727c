package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/builtin"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/protocol"
	"github.com/difftest/difftest/harness/internal/subject"
	"github.com/difftest/difftest/harness/internal/variant"
)

// testFiles is the absolute path of files of tensors.
var testFiles, _ = filepath.Abs("../../harness/internal/checkpoint/testdata")

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){
		"difftest": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
		"unmasked": func() { os.Exit(unmaskedChild(os.Args[len(os.Args)-1])) },
	})
}

// unmaskedChild is a child that answers a request in a folder as a layer without its causal mask.
// It offers no functions.
func unmaskedChild(dir string) int {
	text, err := os.ReadFile(filepath.Join(dir, protocol.RequestFile))
	if err != nil {
		return 1
	}
	var request struct {
		Case string `json:"case"`
	}
	if json.Unmarshal(text, &request) != nil {
		return 1
	}
	c, err := fixture.Read(fixtures.FS, request.Case)
	if err != nil {
		return 1
	}
	result := harnesstest.Unmasked().Run(context.Background(), c)
	if result.Err != nil {
		reply := fmt.Appendf(nil, `{"type": "skipped", "reason": %q}`, result.Err)
		return exitUnless(os.WriteFile(filepath.Join(dir, protocol.ReplyFile), reply, 0o644))
	}
	err = os.WriteFile(filepath.Join(dir, protocol.OutputFile), harnesstest.NPY(result.Output), 0o644)
	if result.Weights != nil {
		weights := harnesstest.NPY(result.Weights)
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, protocol.WeightsFile), weights, 0o644))
	}
	return exitUnless(err)
}

// exitUnless returns the exit status 1, or 0 if there is no error.
func exitUnless(err error) int {
	if err != nil {
		return 1
	}
	return 0
}

// tests are the tests of this package, also in a GitHub workflow, where reports would go to its log
// and its summary, too.
type tests struct{ *testing.M }

func (t tests) Run() int {
	for _, name := range []string{"GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"} {
		_ = os.Unsetenv(name)
	}
	return t.M.Run()
}

// The scripts run the command as a process of its own, as a person does.
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("the scripts take several seconds")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_CACHE_HOME", env.WorkDir)
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "campaigns" {
				return false, fmt.Errorf("no such condition")
			}
			return campaign.Full(), nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":   exits,
			"output":  output,
			"replace": replace,
			"suite":   suite,
			"tensors": tensors,
			"state":   state,
			"traces":  traces,
		},
	})
}

// exits STATUS ARG... runs difftest and expects an exit status other than 0.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("difftest", args[1:]...)
	if want := "exit status " + args[0]; err == nil || err.Error() != want {
		ts.Fatalf("difftest %q: %v, want %s", args[1:], err, want)
	}
}

// output SUBJECT CASE FILE saves the output of a subject, which is right or wrong on purpose.
func output(ts *testscript.TestScript, _ bool, args []string) {
	subjects := map[string]subject.Subject{
		"right":         builtin.Subject(),
		"never-loaded":  harnesstest.NeverLoaded(),
		"unmasked":      harnesstest.Unmasked(),
		"both":          harnesstest.Both(),
		"other-weights": harnesstest.OtherWeights(),
	}
	c, err := fixture.Read(fixtures.FS, args[1])
	ts.Check(err)
	if args[0] == "bfloat16" { // right, in another arithmetic
		out := attention.NewTensor(c.Output.Shape...)
		for i, v := range (variant.Variant{}).In(oracle.BFloat16).Run(oracle.FromCase(c)) {
			out.Data[i] = float32(v)
		}
		write(ts, args[2], harnesstest.NPY(out))
		return
	}
	result := subjects[args[0]].Run(context.Background(), c)
	ts.Check(result.Err)
	write(ts, args[2], harnesstest.NPY(result.Output))
}

// suite DIR [GROUP...] copies the embedded cases of some groups, or all of them.
func suite(ts *testscript.TestScript, _ bool, args []string) {
	groups := args[1:]
	if len(groups) == 0 {
		ts.Check(os.CopyFS(ts.MkAbs(args[0]), fixtures.FS))
	}
	for _, group := range groups {
		cases, err := fs.Sub(fixtures.FS, group)
		ts.Check(err)
		ts.Check(os.CopyFS(filepath.Join(ts.MkAbs(args[0]), group), cases))
	}
	write(ts, "scalar.npy", harnesstest.NPY(attention.NewTensor()))
}

// tensors DIR copies the files of tensors in testFiles.
func tensors(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(testFiles)))
}

// state CASE FILE [CHANGE] writes the state dict of a case, after a change, as a .safetensors file.
func state(ts *testscript.TestScript, _ bool, args []string) {
	c, err := fixture.Read(fixtures.FS, args[0])
	ts.Check(err)
	if len(args) > 2 {
		changes[args[2]](c.State)
	}
	write(ts, args[1], harnesstest.Safetensors(c.State))
}

var changes = map[string]func(attention.StateDict){
	"swapped": func(d attention.StateDict) { d["W_Q"], d["W_K"] = d["W_K"], d["W_Q"] },
	"renamed": func(d attention.StateDict) { d["W_P"] = d["W_Q"]; delete(d, "W_Q") },
	"zero":    func(d attention.StateDict) { clear(d["W_V"].Data) },
	"behind model": func(d attention.StateDict) {
		for key, t := range maps.Clone(d) {
			d["model.layer."+key] = t
			delete(d, key)
		}
	},
	"transposed": func(d attention.StateDict) {
		t := d["W_O"]
		turned := t.Clone()
		n := t.Shape[0]
		for i := range turned.Data {
			turned.Data[i] = t.Data[i%n*n+i/n]
		}
		d["W_O"] = turned
	},
}

// replace FILE OLD NEW replaces the first OLD in a file, which must contain it, by NEW.
func replace(ts *testscript.TestScript, _ bool, args []string) {
	was := ts.ReadFile(args[0])
	if !strings.Contains(was, args[1]) {
		ts.Fatalf("%s holds no %q", args[0], args[1])
	}
	write(ts, args[0], []byte(strings.Replace(was, args[1], args[2], 1)))
}

func write(ts *testscript.TestScript, name string, data []byte) {
	ts.Check(os.WriteFile(filepath.Clean(ts.MkAbs(name)), data, 0o644))
}

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/harnesstest"
	"github.com/difftest/difftest/harness/subject"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"difftest": main})
}

// The scripts run the command as a process of its own, as a person does.
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("the scripts run the whole suite again and again")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":   exits,
			"output":  output,
			"replace": replace,
			"suite":   suite,
		},
	})
}

// exits STATUS ARG...: runs difftest and wants that exit status, which is not 0.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("difftest", args[1:]...)
	if want := "exit status " + args[0]; err == nil || err.Error() != want {
		ts.Fatalf("difftest %q: %v, want %s", args[1:], err, want)
	}
}

// output SUBJECT CASE FILE: saves what a subject that is right or wrong on purpose gives for a case.
func output(ts *testscript.TestScript, _ bool, args []string) {
	subjects := map[string]subject.Subject{
		"right":         builtIn(),
		"never-loaded":  harnesstest.NeverLoaded(),
		"unmasked":      harnesstest.Unmasked(),
		"both":          harnesstest.Both(),
		"other-weights": harnesstest.OtherWeights(),
	}
	c, err := fixture.Read(fixtures.FS, args[1])
	ts.Check(err)
	result := subjects[args[0]].Run(context.Background(), c)
	ts.Check(result.Err)
	write(ts, args[2], harnesstest.NPY(result.Output))
}

// suite DIR: writes a copy of the embedded cases.
func suite(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), fixtures.FS))
	write(ts, "scalar.npy", harnesstest.NPY(attention.NewTensor()))
}

// replace FILE OLD NEW: puts one text, which must be there, in the place of another.
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

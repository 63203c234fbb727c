package harness

import (
	"context"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/difftest/difftest/harness/internal/causes"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/known"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Run tests an implementation on every case of a suite, a subtest each, so that -run selects cases:
// go test -run 'TestAttention/mha/causal'. The causes of all failures stand once, at the end of t.
//
// A failing subtest prints the verdict, the cause and the worst element in at most eight lines.
// With -v, or if the environment variable DIFFTEST_VERBOSE is set, it prints everything that was
// found.
//
// Cases that the implementation does not offer are skipped, with the reason. Run fails t if all
// cases are skipped, if a case is broken, and if an option is wrong.
//
// Under Bazel, Run takes the cases of its shard, selects by --test_filter and writes the XML that
// Bazel reads. The rule go_test of rules_go does all of it, but hands whole test functions to the
// shards: give it a function for each shard, with [Shard].
func Run(t *testing.T, suite fs.FS, r Runner, o ...Option) {
	t.Helper()
	chosen, err := choose(suite, o)
	if chosen.broken != nil {
		t.Error(chosen.broken)
	}
	if err != nil {
		t.Error(err)
	}
	test := bazelTest(t, &chosen)
	ctx := context.WithoutCancel(t.Context()) // a child process lives until the cleanup
	running, end, err := r.start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	if err := running.About().Precision.Check(); err != nil {
		t.Fatal(err)
	}
	s := session{suite: suite, running: running, known: chosen.known, cases: map[string]*fixture.Case{}}
	for _, name := range chosen.selected {
		t.Run(name, func(t *testing.T) {
			t.Helper() // a failure is at the line of the test that calls Run
			s.run(t, name)
		})
	}
	s.finish(t, chosen)
	if err := s.writeXML(t.Name(), test.XML); err != nil {
		t.Error(err)
	}
}

// session is the subtests of one call of [Run].
type session struct {
	suite   fs.FS
	running subject.Runner
	known   []known.Failure

	results []report.Result // of the subtests that ran, before expected failures are acknowledged
	cases   map[string]*fixture.Case
	skipped int
}

// run is one subtest.
func (s *session) run(t *testing.T, name string) {
	t.Helper()
	c, err := fixture.Read(s.suite, name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := check.Case(t.Context(), s.running, c)
	if err != nil {
		t.Fatal(err)
	}
	r.Rerun = "go test -run '" + runPattern(t.Name()) + "'"
	s.results, s.cases[name] = append(s.results, r), c
	r = known.Acknowledged(s.known, r)
	switch r.Verdict {
	case report.Fail, report.Error:
		t.Error("\n" + text(r, !inFull()))
	case report.Known:
		t.Logf("known to fail: %s", r.Known)
	case report.Skip:
		s.skipped++
		t.Skip(r.Err)
	}
}

// inFull reports whether failures are printed in all detail.
func inFull() bool { return testing.Verbose() || os.Getenv("DIFFTEST_VERBOSE") != "" }

// finish says what the failures have in common, and fails t if every case was skipped.
func (s *session) finish(t *testing.T, chosen selection) {
	t.Helper()
	if len(chosen.selected) > 0 && s.skipped == len(chosen.selected) {
		t.Errorf("all %d cases were skipped: %v", s.skipped, subject.ErrNotOffered)
	}
	if len(s.results) < 2 {
		return
	}
	found := causes.Find(t.Context(), s.results, causes.Of(s.cases), s.running.About().Precision)
	full := &report.Report{Causes: found.Causes, Shared: found.Shared, Results: found.Results}
	full, _ = known.Acknowledge(full, s.known, chosen.all) // the list was checked at the beginning
	var b strings.Builder
	if _ = report.Causes(&b, full); b.Len() > 0 {
		t.Error("\n" + strings.TrimRight(b.String(), "\n"))
	}
}

// runPattern makes a -run pattern that selects just one subtest.
func runPattern(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}

// Package harness tests an implementation of attention against the results of a pinned PyTorch,
// and says of a wrong one what is wrong with it.
//
// In a test, [Run] gives a subtest for every case:
//
//	func TestAttention(t *testing.T) {
//		harness.Run(t, fixtures.FS, harness.Subject{
//			Name: "mine",
//			SDPA: mine.SDPA,
//			MHA:  func(c attention.Config) (harness.Module, error) { return mine.New(c) },
//		})
//	}
//
// In a program, [Check] returns a report. [Judge] and [CheckOutputs] judge outputs that were made elsewhere. None
// of them has a tolerance to set: the noise that rounding gives each case is the measure.
package harness

import (
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Subject is an implementation under test.
type Subject = subject.Subject

// Runner is an implementation under test, wherever it runs. A [Subject] is one; the package child has one in
// a process of its own.
type Runner = subject.Runner

// Module is a multi-head attention layer under test.
type Module = subject.Module

// StateDicter is a module that says which parameters it holds; optional.
type StateDicter = subject.StateDicter

// Report is what was found out about a subject.
type Report = report.Report

// Run tests a subject on every case of a suite, a subtest each, so that -run selects cases:
// go test -run 'TestAttention/mha/causal'. Cases of an operation that the subject does not
// offer are skipped; when all of them are, the test fails, and so it does on a broken case.
func Run(t *testing.T, suite fs.FS, s Subject) {
	t.Helper()
	names, err := fixture.Names(suite)
	if err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.Precision.Check(), checkKnown(s.Known, names)); err != nil {
		t.Error(err)
	}
	skipped := 0
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Helper() // a failure is at the line of the test that calls Run
			if runTest(t, suite, s, name) == report.Skip {
				skipped++
				t.Skipf("%s", subject.ErrNotOffered)
			}
		})
	}
	if len(names) > 0 && skipped == len(names) {
		t.Errorf("all %d cases were skipped: %v", skipped, subject.ErrNotOffered)
	}
}

func runTest(t *testing.T, suite fs.FS, s Subject, name string) report.Verdict {
	t.Helper()
	c, err := fixture.Read(suite, name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := runCase(t.Context(), s, c)
	if err != nil {
		t.Fatal(err)
	}
	r.Rerun = "go test -run '" + runPattern(t.Name()) + "'"
	var text strings.Builder
	if err := report.Text(report.TextOptions{Bare: true})(&text, &Report{Results: []report.Result{r}}); err != nil {
		t.Fatal(err)
	}
	switch r.Verdict {
	case report.Fail, report.Error:
		t.Error("\n" + text.String())
	case report.Known:
		t.Logf("known to fail: %s", r.Known)
	}
	return r.Verdict
}

// runPattern makes a -run pattern that selects just one subtest.
func runPattern(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}

package harness

import (
	"errors"
	"os"
	"path"
	"sync"
	"testing"

	"github.com/difftest/difftest/harness/internal/bazel"
	"github.com/difftest/difftest/harness/internal/known"
	"github.com/difftest/difftest/harness/internal/report"
)

// bazelTest returns what Bazel asks of t, and restricts the selected cases to it.
func bazelTest(t *testing.T, chosen *selection) bazel.Test {
	t.Helper()
	test, err := bazel.Read(os.LookupEnv)
	if err = errors.Join(err, test.Acknowledge()); err != nil {
		t.Fatal(err)
	}
	var filtered []string
	for _, name := range chosen.selected {
		matches, err := test.Matches(path.Join(t.Name(), name))
		if err != nil {
			t.Fatal(err)
		}
		if matches {
			filtered = append(filtered, name)
		}
	}
	chosen.selected = test.Shard.Cases(filtered)
	return test
}

// xmlResults holds the results of all calls of [Run] in this process: Bazel reads one file of them.
var xmlResults struct {
	sync.Mutex
	all []report.Result
}

// writeXML writes the results of the session, and of earlier ones, to a file in JUnit XML. It does
// nothing if file is "".
func (s *session) writeXML(test, file string) error {
	if file == "" {
		return nil
	}
	xmlResults.Lock()
	defer xmlResults.Unlock()
	for _, r := range s.results {
		r = known.Acknowledged(s.known, r)
		r.Case = path.Join(test, r.Case)
		xmlResults.all = append(xmlResults.all, r)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	full := &report.Report{Subject: s.running.About().Name, Results: xmlResults.all}
	return errors.Join(report.JUnit(f, full), f.Close())
}

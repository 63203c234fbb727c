// Package bazel reads what Bazel tells a test in environment variables. It is the only package that
// looks at them.
package bazel

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/difftest/difftest/harness/internal/shard"
)

// Test holds the requests of Bazel to a test. The zero value is a test outside Bazel.
type Test struct {
	Shard  shard.Shard // zero if the test has no shards
	Filter string      // of --test_filter; "" selects everything
	XML    string      // file for a report in JUnit XML; "" if nobody wants one

	status string // file that tells Bazel that the test knows about shards
}

// Read returns what the environment asks of a test. The rule go_test of rules_go does all of it for
// the test: it hands whole test functions to the shards. If a function took a part of its cases
// once more, the other parts would run nowhere. So Read returns the zero value under rules_go,
// which sets GO_TEST_WRAP.
func Read(lookup func(name string) (string, bool)) (Test, error) {
	if _, wrapped := lookup("GO_TEST_WRAP"); wrapped {
		return Test{}, nil
	}
	get := func(name string) string {
		value, _ := lookup(name)
		return value
	}
	t := Test{
		Filter: get("TESTBRIDGE_TEST_ONLY"), XML: get("XML_OUTPUT_FILE"), status: get("TEST_SHARD_STATUS_FILE"),
	}
	total := get("TEST_TOTAL_SHARDS")
	if total == "" || total == "0" {
		return t, nil
	}
	count, err := strconv.Atoi(total)
	index, indexErr := strconv.Atoi(get("TEST_SHARD_INDEX"))
	t.Shard = shard.Shard{Index: index + 1, Count: count}
	if err != nil || indexErr != nil || t.Shard.Check() != nil {
		return Test{}, fmt.Errorf("TEST_SHARD_INDEX: %q of TEST_TOTAL_SHARDS: %q, want an index from 0 below the total",
			get("TEST_SHARD_INDEX"), total)
	}
	return t, nil
}

// Acknowledge tells Bazel that the test runs its shard alone. Without it Bazel refuses the test.
func (t Test) Acknowledge() error {
	if t.Shard.Count == 0 || t.status == "" {
		return nil
	}
	return os.WriteFile(t.status, nil, 0o644)
}

// Matches reports whether the filter selects a subtest. The filter is a pattern of go test -run:
// regular expressions with slashes between them, one for each level.
func (t Test) Matches(name string) (bool, error) {
	if t.Filter == "" {
		return true, nil
	}
	levels := strings.Split(name, "/")
	for i, pattern := range strings.Split(t.Filter, "/") {
		if i == len(levels) {
			break
		}
		found, err := regexp.MatchString(pattern, levels[i])
		if err != nil {
			return false, fmt.Errorf("TESTBRIDGE_TEST_ONLY: %w", err)
		}
		if !found {
			return false, nil
		}
	}
	return true, nil
}

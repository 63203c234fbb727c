// Package campaign tells tests how much to try. Only tests call it.
//
// A plain `go test ./...` tries a small number of random cases, so that it stays quick. With the
// environment variable DIFFTEST_CAMPAIGNS=1 the same tests try all of their cases, as CI does. The
// race detector makes tests eight times as slow, and runs `go test -short`: it needs one test of
// the goroutines of a package, and no others.
package campaign

import (
	"os"
	"testing"
)

// Variable names the environment variable that asks for full campaigns.
const Variable = "DIFFTEST_CAMPAIGNS"

// Full reports whether DIFFTEST_CAMPAIGNS is 1: a test then runs its full campaign.
func Full() bool { return os.Getenv(Variable) == "1" }

// SkipShort skips a test of seconds in `go test -short`.
func SkipShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes minutes under the race detector; shorter tests of this package run the same goroutines")
	}
}

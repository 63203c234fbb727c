// Package campaign tells tests how much to try. Only tests call it.
//
// A plain `go test ./...` tries a small number of random cases, so that it stays quick. With the
// environment variable DIFFTEST_CAMPAIGNS=1 the same tests try all of their cases, as CI does.
package campaign

import "os"

// Variable names the environment variable that asks for full campaigns.
const Variable = "DIFFTEST_CAMPAIGNS"

// Full reports whether DIFFTEST_CAMPAIGNS is 1: a test then runs its full campaign.
func Full() bool { return os.Getenv(Variable) == "1" }

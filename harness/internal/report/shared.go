package report

import (
	"fmt"
	"strings"
)

// Shared lists features that some cases of a run have in common, and no pass or few.
type Shared struct {
	Among    Among
	Cases    []string // that share the features
	Passes   int      // the cases that they are compared with
	Features []Feature
	More     int // further features that tell the same cases apart, and are not listed
}

// Among tells which cases share something.
type Among string

// The cases that may share something.
const (
	AllFailures Among = "failures"
	Unexplained Among = "failures without a cause"
	Errors      Among = "cases with an error"
)

// Feature is a property that the cases of [Shared] have, or lack.
type Feature struct {
	ID      string // "window", "keys-at-least-33"
	Title   string // follows "have": "a window", "at least 33 keys"
	Lacking bool   // the cases lack it, and every pass has it

	// Passes counts the passes that have it, or of a lacking feature, lack it.
	Passes int
	// Instead is a feature of every pass: "at most 32 keys"; "" if none is known.
	Instead string
}

// Sentences says what the cases share, a sentence for each feature.
func (s Shared) Sentences() []string {
	var lines []string
	for _, f := range s.Features {
		lines = append(lines, s.sentence(f))
	}
	switch {
	case s.More == 1:
		lines = append(lines, "1 more feature tells the same cases apart")
	case s.More > 1:
		lines = append(lines, fmt.Sprintf("%d more features tell the same cases apart", s.More))
	}
	return lines
}

func (s Shared) sentence(f Feature) string {
	passes := s.passes()
	all := fmt.Sprintf("all %d %s have %s; ", len(s.Cases), s.Among, f.Title)
	switch {
	case f.Lacking:
		do := "do"
		if s.Passes == 1 {
			do = "does"
		}
		none := fmt.Sprintf("none of the %d %s has %s", len(s.Cases), s.Among, f.Title)
		return fmt.Sprintf("%s; %s %s", none, every(s.Passes, passes), do)
	case f.Passes == 1:
		return fmt.Sprintf("%sso does 1 of the %d %s", all, s.Passes, passes)
	case f.Passes > 0:
		return fmt.Sprintf("%sso do %d of the %d %s", all, f.Passes, s.Passes, passes)
	case s.Passes == 1 && f.Instead != "":
		return fmt.Sprintf("%s%s has %s", all, every(s.Passes, passes), f.Instead)
	case f.Instead != "":
		return fmt.Sprintf("%s%s have %s", all, every(s.Passes, passes), f.Instead)
	case s.Passes == 1:
		return fmt.Sprintf("%s%s does not", all, every(s.Passes, passes))
	}
	return fmt.Sprintf("%snone of the %d %s does", all, s.Passes, passes)
}

// passes names the cases that the shared features are compared with.
func (s Shared) passes() string {
	if s.Among == Errors {
		return "cases that ran"
	}
	return "passes"
}

// every writes "all 12 passes", and "the one pass".
func every(n int, what string) string {
	if n == 1 {
		return "the one " + strings.Replace(strings.TrimSuffix(what, "es"), "cases", "case", 1)
	}
	return fmt.Sprintf("all %d %s", n, what)
}

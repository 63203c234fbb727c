package command

import (
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/fixture"
)

// selectionFlags select cases of a suite.
type selectionFlags struct{ patterns, skip []string }

func (s *selectionFlags) add(cmd *cobra.Command, suite *suiteFlag) {
	cmd.Flags().StringArrayVar(&s.patterns, "case", nil,
		"select cases by `PATTERN`: a glob such as mha/**, or a word of the name (repeatable)")
	cmd.Flags().StringArrayVar(&s.skip, "skip", nil, "leave out the cases that `PATTERN` selects (repeatable)")
	for _, flag := range []string{"case", "skip"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, suite.complete)
	}
}

// given reports whether --case or --skip is given.
func (s *selectionFlags) given() bool { return len(s.patterns)+len(s.skip) > 0 }

// flags returns the part of a command line that selects the same cases.
func (s *selectionFlags) flags() string {
	var words strings.Builder
	for _, p := range s.patterns {
		words.WriteString(" --case " + shellWord(p))
	}
	for _, p := range s.skip {
		words.WriteString(" --skip " + shellWord(p))
	}
	return words.String()
}

// cases opens a suite and names the selected cases.
func (s *selectionFlags) cases(suite *suiteFlag) (fs.FS, []string, error) {
	fsys, names, err := suite.cases()
	if err != nil {
		return nil, nil, err
	}
	selected, err := selectCases(names, s.patterns, s.skip)
	return fsys, selected, err
}

// selectCases returns the names that a pattern selects, or all names if there are no patterns. It
// leaves out the names that a skip pattern selects. A pattern that selects nothing is an error,
// because it is probably a typing mistake.
func selectCases(names, patterns, skip []string) ([]string, error) {
	for _, p := range slices.Concat(patterns, skip) {
		if !slices.Contains(names, p) {
			if err := fixture.CheckPattern(p); err != nil {
				return nil, exit(exitUsage, "%w", err)
			}
		}
		if !slices.ContainsFunc(names, func(name string) bool { return fixture.Selects(p, name) }) {
			return nil, exit(exitNothing, "%q selects no case%s; see difftest list", p,
				meant(p, namesAndWords(names)))
		}
	}
	var selected []string
	for _, name := range names {
		selects := func(pattern string) bool { return fixture.Selects(pattern, name) }
		if (len(patterns) == 0 || slices.ContainsFunc(patterns, selects)) && !slices.ContainsFunc(skip, selects) {
			selected = append(selected, name)
		}
	}
	if len(selected) == 0 {
		return nil, exit(exitNothing, "no case is selected: --skip leaves out every one")
	}
	return selected, nil
}

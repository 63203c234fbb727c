package command

import (
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// suiteFlag is the suite that a command works on: the embedded one, or a folder.
type suiteFlag struct{ dir string }

func (s *suiteFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.dir, "fixtures", "", "folder of cases to use instead of the embedded ones")
	_ = cmd.MarkFlagDirname("fixtures")
}

// open gives the suite. A link in it that leads out of the folder cannot be followed.
func (s *suiteFlag) open() (fs.FS, error) {
	if s.dir == "" {
		return fixtures.FS, nil
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, exit(exitBroken, "--fixtures: %w", err)
	}
	return root.FS(), nil
}

// cases opens the suite and names its cases. A suite that has some and is broken besides is for
// whoever reads them to report.
func (s *suiteFlag) cases() (fs.FS, []string, error) {
	suite, err := s.open()
	if err != nil {
		return nil, nil, err
	}
	names, err := fixture.Names(suite)
	if err != nil && len(names) == 0 {
		return nil, nil, exit(exitBroken, "%w", err)
	}
	return suite, names, nil
}

// flag is what a command line needs to name this suite again.
func (s *suiteFlag) flag() string {
	if s.dir == "" {
		return ""
	}
	return " --fixtures " + shellWord(s.dir)
}

// shellWord quotes a word for a POSIX shell where it must be.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-/+=:@%,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// read gives the case of that name, or the one case that a pattern selects.
func (s *suiteFlag) read(pattern string) (*fixture.Case, error) {
	suite, names, err := s.cases()
	if err != nil {
		return nil, err
	}
	selected, err := selectCases(names, []string{pattern}, nil)
	if err != nil {
		return nil, err
	}
	if slices.Contains(names, pattern) {
		selected = []string{pattern}
	}
	if len(selected) > 1 {
		return nil, exit(exitUsage, "%q selects %d cases, want one of %s", pattern, len(selected), strings.Join(selected, ", "))
	}
	c, err := fixture.Read(suite, selected[0])
	if err != nil {
		return nil, exit(exitBroken, "%w", err)
	}
	return c, nil
}

// complete offers the names of the cases that begin with a word.
func (s *suiteFlag) complete(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	_, names, err := s.cases()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, word) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

// selectionFlags choose cases of a suite.
type selectionFlags struct{ patterns, skip []string }

func (s *selectionFlags) add(cmd *cobra.Command, suite *suiteFlag) {
	cmd.Flags().StringArrayVar(&s.patterns, "case", nil, "only the cases that `PATTERN` selects: a path glob with **, or a word of the name (repeatable)")
	cmd.Flags().StringArrayVar(&s.skip, "skip", nil, "leave out the cases that `PATTERN` selects (repeatable)")
	for _, flag := range []string{"case", "skip"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, suite.complete)
	}
}

// given says whether anything is chosen.
func (s *selectionFlags) given() bool { return len(s.patterns)+len(s.skip) > 0 }

// flags are what a command line needs to choose the same cases.
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

// cases opens a suite and names the cases that are chosen.
func (s *selectionFlags) cases(suite *suiteFlag) (fs.FS, []string, error) {
	fsys, names, err := suite.cases()
	if err != nil {
		return nil, nil, err
	}
	selected, err := selectCases(names, s.patterns, s.skip)
	return fsys, selected, err
}

// selectCases gives the names that some pattern selects (all without a pattern) and that no skip
// pattern does. A pattern that selects nothing is an error: it is a typing mistake.
func selectCases(names, patterns, skip []string) ([]string, error) {
	for _, p := range slices.Concat(patterns, skip) {
		if !slices.Contains(names, p) && !fixture.ValidPattern(p) {
			return nil, exit(exitUsage, "pattern %q is malformed", p)
		}
		if !slices.ContainsFunc(names, func(name string) bool { return fixture.Selects(p, name) }) {
			return nil, exit(exitNothing, "%q selects no case; difftest list names them", p)
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
		return nil, exit(exitNothing, "no case is selected: --skip takes every one")
	}
	return selected, nil
}

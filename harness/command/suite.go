package command

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// suiteFlag names the suite of a command: a folder, or the embedded suite if dir is empty.
type suiteFlag struct {
	dir string

	mu     sync.Mutex // work that was interrupted may still open the folder
	folder *os.Root   // nil until it is opened
}

// add adds the flag to a command, whose work must be set. The end of the work closes the folder.
func (s *suiteFlag) add(cmd *cobra.Command) {
	work := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		defer s.close()
		return work(cmd, args)
	}
	cmd.Flags().StringVar(&s.dir, "fixtures", "", "use the cases in folder `DIR` instead of the embedded ones")
	_ = cmd.MarkFlagDirname("fixtures")
}

// open returns the suite. Links that lead out of its folder are not followed.
func (s *suiteFlag) open() (fs.FS, error) {
	if s.dir == "" {
		return fixtures.FS, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folder == nil {
		var err error
		if s.folder, err = openFolder(s.dir); err != nil {
			return nil, exit(exitBroken, "--fixtures: %w", err)
		}
	}
	return s.folder.FS(), nil
}

// close closes the folder. Files that are open stay open.
func (s *suiteFlag) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folder != nil {
		_ = s.folder.Close() // nothing was written
	}
}

// cases opens the suite and names its cases. A suite with cases and broken files is no error here:
// the functions that read the cases report the broken files.
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

// suiteHash returns the SHA-256 of the names and descriptions of all cases, in hexadecimal digits.
// A description holds the sums of all other files of its case.
func suiteHash(suite fs.FS, names []string) string {
	sum := sha256.New()
	for _, name := range names {
		text, err := fs.ReadFile(suite, path.Join(name, "case.json"))
		fmt.Fprintf(sum, "%q %d %v\n", name, len(text), err != nil)
		sum.Write(text)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// flag returns the part of a command line that names this suite again.
func (s *suiteFlag) flag() string {
	if s.dir == "" {
		return ""
	}
	return " --fixtures " + shellWord(s.dir)
}

// shellWord returns a word for a POSIX shell, in quotes if it needs them.
func shellWord(s string) string {
	special := func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		digit := '0' <= r && r <= '9'
		return !letter && !digit && !strings.ContainsRune("._-/+=:@%,", r)
	}
	if s != "" && !strings.ContainsFunc(s, special) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// read returns the case of that name, or the only case that a pattern selects.
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
		return nil, exit(exitUsage, "%q selects %d cases, want one of %s",
			pattern, len(selected), strings.Join(selected, ", "))
	}
	c, err := fixture.Read(suite, selected[0])
	if err != nil {
		return nil, exit(exitBroken, "%w", err)
	}
	limitMemory(boundOf(c))
	return c, nil
}

// readAll returns the cases that any of the patterns selects. A pattern that is the name of a case
// selects that case alone.
func (s *suiteFlag) readAll(patterns []string) ([]*fixture.Case, error) {
	suite, names, err := s.cases()
	if err != nil {
		return nil, err
	}
	chosen := map[string]bool{}
	for _, p := range patterns {
		selected := []string{p}
		if !slices.Contains(names, p) {
			if selected, err = selectCases(names, []string{p}, nil); err != nil {
				return nil, err
			}
		}
		for _, name := range selected {
			chosen[name] = true
		}
	}
	var cases []*fixture.Case
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		c, err := fixture.Read(suite, name)
		if err != nil {
			return nil, exit(exitBroken, "%w", err)
		}
		cases = append(cases, c)
	}
	limitMemory(boundOf(cases...))
	return cases, nil
}

// complete offers the cases whose names begin with a word.
func (s *suiteFlag) complete(
	_ *cobra.Command, _ []string, word string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	defer s.close()
	_, names, err := s.cases()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, word) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

package harness

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Bars of the prose and the code of this repository.
const (
	maxChains   = 0.02 // of the lines of comments and pages
	maxColumns  = 100  // of a comment
	maxFunction = 60   // lines, without the tables and long texts in them
)

// chains are words that make a sentence hard to read, because they stand for a name.
var chains = regexp.MustCompile(`(?i)\b(` + strings.Join([]string{
	`is that of`, `are those of`, `that of`, `those of`, `those that`, `those which`, `as that of`,
	`of which`, `is what`, `what is`, `what are`, `in the place of`, `says? whether`, `others than`,
}, "|") + `)\b`)

// generated is the first line of a file that a program wrote.
var generated = regexp.MustCompile(`^// Code generated .* DO NOT EDIT\.$`)

// Comments and pages are plain English.
func TestProse(t *testing.T) {
	var lines int
	var found []string
	eachFile(t, func(path string) {
		for _, l := range prose(t, path) {
			lines++
			if chains.MatchString(l.text) {
				found = append(found, fmt.Sprintf("%s:%d: %s", path, l.number, strings.TrimSpace(l.text)))
			}
		}
	}, ".go", ".py", ".md")
	t.Logf("%d of %d lines have a chain, %.1f %%", len(found), lines, 100*float64(len(found))/float64(lines))
	if float64(len(found)) > maxChains*float64(lines) {
		t.Errorf("more than %.0f %% of the lines have a chain of pronouns:\n%s",
			100*maxChains, strings.Join(found, "\n"))
	}
}

// Comments fit beside their code.
func TestCommentsFitThePage(t *testing.T) {
	var wide []string
	eachFile(t, func(path string) {
		for _, l := range prose(t, path) {
			if width := columns(l.text); width > maxColumns && !generated.MatchString(l.text) {
				wide = append(wide, fmt.Sprintf("%s:%d: %d columns", path, l.number, width))
			}
		}
	}, ".go", ".py")
	if len(wide) > 0 {
		t.Errorf("comments of more than %d columns:\n%s", maxColumns, strings.Join(wide, "\n"))
	}
}

// Functions fit the screen.
func TestFunctionsFitTheScreen(t *testing.T) {
	var long []string
	eachFile(t, func(path string) {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			if n := height(set, f) - tables(set, f); n > maxFunction {
				long = append(long, fmt.Sprintf("%s: %s, %d lines", set.Position(f.Pos()), f.Name.Name, n))
			}
		}
	}, ".go")
	if len(long) > 0 {
		t.Errorf("functions of more than %d lines:\n%s", maxFunction, strings.Join(long, "\n"))
	}
}

// height returns the number of lines of a node.
func height(set *token.FileSet, n ast.Node) int {
	return set.Position(n.End()).Line - set.Position(n.Pos()).Line + 1
}

// tables returns the number of lines inside the outermost composite literals and inside long texts.
func tables(set *token.FileSet, f *ast.FuncDecl) int {
	lines := 0
	ast.Inspect(f.Body, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.CompositeLit, *ast.BasicLit:
			lines += max(0, height(set, n)-2)
			return false
		}
		return true
	})
	return lines
}

// eachFile calls do with the path of every file of the repository that has one of the extensions.
// Data and files that git ignores are left out.
func eachFile(t *testing.T, do func(path string), extensions ...string) {
	t.Helper()
	skip := []string{".git", ".venv", "fixtures", "node_modules", "testdata", "__pycache__"}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case slices.Contains(skip, d.Name()), strings.HasPrefix(d.Name(), ".venv-"):
			if d.IsDir() {
				return fs.SkipDir
			}
		case !d.IsDir() && slices.Contains(extensions, filepath.Ext(path)):
			do(path)
		}
		return nil
	})
	require.NoError(t, err)
}

// line is a line of a file. Numbers count from 1.
type line struct {
	number int
	text   string
}

// prose returns the lines of a source file that hold a comment, or the prose of a page.
func prose(t *testing.T, path string) []line {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	isProse := map[string]func(text string) bool{
		".go": goComment,
		".py": pythonComment(),
		".md": paragraph(),
	}[filepath.Ext(path)]
	var lines []line
	for i, text := range strings.Split(string(text), "\n") {
		if isProse(text) {
			lines = append(lines, line{number: i + 1, text: text})
		}
	}
	return lines
}

// goComment reports whether a line holds a comment that begins with two slashes.
func goComment(text string) bool {
	before, comment, found := strings.Cut(text, "//")
	return found && !strings.HasPrefix(comment, "go:") &&
		(before == "" || strings.HasSuffix(before, " ") || strings.HasSuffix(before, "\t"))
}

// pythonComment returns a function to call with the lines of a file in order. The function reports
// whether a line holds a comment or belongs to a docstring.
func pythonComment() func(text string) bool {
	inside := false
	return func(text string) bool {
		quotes := strings.Count(text, `"""`)
		is := inside || quotes > 0 || strings.Contains(text, "#")
		if quotes == 1 {
			inside = !inside
		}
		return is
	}
}

// paragraph returns a function to call with the lines of a page in order. The function reports
// whether a line is prose: not blank, and not part of a table or of code.
func paragraph() func(text string) bool {
	code := false
	return func(text string) bool {
		if strings.HasPrefix(text, "```") {
			code = !code
			return false
		}
		return !code && strings.TrimSpace(text) != "" && !strings.HasPrefix(text, "|")
	}
}

// columns returns the width of a text, with tab stops every four columns.
func columns(text string) int {
	width := 0
	for _, r := range text {
		if r == '\t' {
			width += 4 - width%4
		} else {
			width++
		}
	}
	return width
}

package harness

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	inCode   = regexp.MustCompile("`([^`\n]+)`")
	repoPath = regexp.MustCompile(`^(attention|cmd|fixtures|harness|pyref|\.ci|\.github)(/[\w.-]+)*/?$`)
)

// Every relative link of a page leads to a file, and every fragment to a heading.
func TestLinksOfPages(t *testing.T) {
	found := 0
	eachFile(t, func(page string) {
		for _, match := range link.FindAllStringSubmatch(read(t, page), -1) {
			to, err := url.Parse(match[1])
			require.NoError(t, err, page)
			if to.IsAbs() {
				continue
			}
			found++
			file := page
			if to.Path != "" {
				file = filepath.Join(filepath.Dir(page), filepath.FromSlash(to.Path))
			}
			_, err = os.Stat(file)
			require.NoError(t, err, "%s links to %s", page, match[1])
			if to.Fragment != "" {
				require.Contains(t, anchors(read(t, file)), to.Fragment, "%s links to %s", page, match[1])
			}
		}
	}, ".md")
	require.Greater(t, found, 20)
}

// madeLater are paths that a checkout does not have: pyref/regenerate makes them.
var madeLater = []string{"pyref/.venv"}

// Every path that a page at the top names in code exists, from the top.
func TestPathsOfPages(t *testing.T) {
	pages, err := filepath.Glob("../*.md")
	require.NoError(t, err)
	found := 0
	for _, page := range pages {
		for _, match := range inCode.FindAllStringSubmatch(read(t, page), -1) {
			if name := match[1]; repoPath.MatchString(name) && strings.Contains(name, "/") &&
				!slices.Contains(madeLater, name) {
				found++
				_, err := os.Stat(filepath.Join("..", filepath.FromSlash(name)))
				require.NoError(t, err, "%s names `%s`", page, name)
			}
		}
	}
	require.Greater(t, found, 20)
}

// anchors returns the fragments that GitHub gives the headings of a page.
func anchors(page string) []string {
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	var names []string
	for _, match := range heading.FindAllStringSubmatch(page, -1) {
		name := drop.ReplaceAllString(strings.ToLower(match[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

package command

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// aboutLicense matches the names of files about a license.
var aboutLicense = regexp.MustCompile(`^(LICEN[CS]E|COPYING|NOTICE)`)

const licensesPage = "../../THIRD_PARTY_LICENSES.md"

// The page has the license of every module in the binary, whatever system it is built for.
// go test ./harness/command -run TestLicenses -update writes it anew.
func TestLicenses(t *testing.T) {
	modules := map[string]string{} // paths and versions, by the folders of their sources
	for _, system := range []string{"linux", "darwin", "windows"} {
		cmd := exec.Command("go", "list", "-deps",
			"-f", "{{with .Module}}{{if not .Main}}{{.Dir}}\t{{.Path}} {{.Version}}{{end}}{{end}}", "../../cmd/difftest")
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=0")
		out, err := cmd.Output()
		require.NoError(t, err)
		for line := range strings.Lines(string(out)) {
			if dir, name, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && dir != "" {
				modules[name] = dir
			}
		}
	}
	require.Greater(t, len(modules), 5)
	if *update {
		require.NoError(t, os.WriteFile(licensesPage, []byte(allLicenses(t, modules)), 0o644))
	}
	page, err := os.ReadFile(licensesPage)
	require.NoError(t, err)
	require.Equal(t, len(modules)+1, strings.Count(string(page), "\n## "), "one section each, and one of Go")
	for name, dir := range modules {
		require.Contains(t, string(page), licenseSection(t, name, dir))
	}
}

// allLicenses returns the page.
func allLicenses(t *testing.T, modules map[string]string) string {
	t.Helper()
	page := "# Third-party licenses\n\nThe binary of difftest holds parts of these modules, and of Go's own library.\n\n"
	root, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	page += licenseSection(t, "Go", strings.TrimSpace(string(root)))
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		page += "\n" + licenseSection(t, name, modules[name])
	}
	return page
}

// licenseSection returns the section of a module, with every file about its license.
func licenseSection(t *testing.T, name, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	section, found := fmt.Sprintf("## %s\n", name), false
	for _, file := range files {
		if !aboutLicense.MatchString(file.Name()) {
			continue
		}
		found = true
		text, err := os.ReadFile(filepath.Join(dir, file.Name()))
		require.NoError(t, err)
		require.NotContains(t, string(text), "````")
		lines := strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
		for i, line := range lines {
			lines[i] = strings.TrimRight(line, " \t\f")
		}
		section += "\n````\n" + strings.Trim(strings.Join(lines, "\n"), "\n") + "\n````\n"
	}
	require.True(t, found, "%s has no file LICENSE, COPYING or NOTICE", name)
	return section
}

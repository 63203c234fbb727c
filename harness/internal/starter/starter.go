// Package starter holds the files with which a project begins to use difftest: a test or a subject
// to fill in, and a workflow for GitHub.
package starter

import (
	"embed"
	"fmt"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

//go:embed files
var files embed.FS

// File is a file to write. Its path has slashes, and is relative to the folder of a project, or to
// the top of its repository if Top is set.
type File struct {
	Path string
	Top  bool
	Text string
}

// workflow is the path of the workflow.
const workflow = ".github/workflows/difftest.yml"

// Go returns the files of a Go package: a test that fails until it is filled in, and a workflow.
// below is the path of the module from the top of the repository, "." for the top itself.
func Go(pkg, below string) []File {
	return []File{
		{Path: "difftest_test.go", Text: strings.ReplaceAll(text("difftest_test.go.txt"), "PACKAGE", pkg)},
		{Path: workflow, Top: true, Text: inFolder(text("go.yml"), below)},
	}
}

// Python returns the files of a project in Python: a subject to fill in, a test for pytest, and a
// workflow. shards is the number of machines that share the cases.
func Python(below string, shards int) []File {
	name := "python.yml"
	if shards > 1 {
		name = "shards.yml"
	}
	return []File{
		{Path: "difftest_subject.py", Text: text("difftest_subject.py")},
		{Path: "test_difftest.py", Text: text("test_difftest.py")},
		{Path: workflow, Top: true, Text: inFolder(inShards(text(name), shards), below)},
	}
}

func text(name string) string {
	data, err := files.ReadFile(path.Join("files", name))
	if err != nil {
		panic(err) // the files are a part of this package
	}
	return string(data)
}

// shardsOfExample is the number of shards in the workflow that is stored.
const shardsOfExample = 3

// inShards returns the workflow for a number of shards.
func inShards(workflow string, shards int) string {
	list := "1"
	for i := 2; i <= shards; i++ {
		list += fmt.Sprintf(", %d", i)
	}
	return strings.NewReplacer(
		"shard: [1, 2, 3]", "shard: ["+list+"]",
		fmt.Sprintf("}}/%d ", shardsOfExample), fmt.Sprintf("}}/%d ", shards),
	).Replace(workflow)
}

// inFolder returns the workflow for a project below the top of its repository.
func inFolder(workflow, below string) string {
	if below == "." || below == "" {
		return workflow
	}
	const limit = "    timeout-minutes: 20\n"
	workflow = strings.Replace(workflow, limit,
		limit+"    defaults:\n      run:\n        working-directory: "+below+"\n", 1)
	return strings.Replace(workflow, "path: ${{ matrix", "path: "+below+"/${{ matrix", 1)
}

var noLetters = regexp.MustCompile(`[^a-z0-9]+`)

// PackageOf returns the name of the Go package in a folder. A folder without Go files gives it the
// letters of its own name.
func PackageOf(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", err
	}
	if len(sources) > 0 {
		file, err := parser.ParseFile(token.NewFileSet(), sources[0], nil, parser.PackageClauseOnly)
		if err != nil {
			return "", err
		}
		return strings.TrimSuffix(file.Name.Name, "_test"), nil
	}
	name := strings.TrimLeft(noLetters.ReplaceAllString(strings.ToLower(filepath.Base(dir)), ""), "0123456789")
	if name == "" {
		name = "mine"
	}
	return name, nil
}

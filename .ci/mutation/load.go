package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// listed holds the fields of go list's description of a package.
type listed struct {
	ImportPath, Dir, Name, Export string
	GoFiles                       []string
	DepOnly                       bool
}

// code is a package's own files, tests left out.
type code struct {
	listed
	fset    *token.FileSet
	files   map[string]*ast.File
	sources map[string][]byte
	imports types.Importer
}

// load returns a package, and its mutants in files whose names match.
func load(pattern string, names *regexp.Regexp) (*code, []mutant, error) {
	pkg, exports, err := list(pattern)
	if err != nil {
		return nil, nil, err
	}
	c := &code{listed: pkg, fset: token.NewFileSet(), files: map[string]*ast.File{}, sources: map[string][]byte{}}
	c.imports = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for _, name := range pkg.GoFiles {
		path := filepath.Join(pkg.Dir, name)
		if c.sources[path], err = os.ReadFile(path); err != nil {
			return nil, nil, err
		}
		if c.files[path], err = parser.ParseFile(c.fset, path, c.sources[path], parser.SkipObjectResolution); err != nil {
			return nil, nil, err
		}
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	if err := c.check(nil, info); err != nil {
		return nil, nil, err
	}
	var found []mutant
	for path, file := range c.files {
		if names.MatchString(filepath.Base(path)) {
			found = append(found, mutants(c.fset, info, file, c.sources[path])...)
		}
	}
	return c, found, nil
}

// check finds the types of a package. A mutant, if there is one, replaces its file.
func (c *code) check(m *mutant, info *types.Info) error {
	var files []*ast.File
	for path, file := range c.files {
		if m != nil && path == m.file {
			changed, err := parser.ParseFile(c.fset, path, m.apply(c.sources[path]), parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			file = changed
		}
		files = append(files, file)
	}
	_, err := (&types.Config{Importer: c.imports}).Check(c.ImportPath, c.fset, files, info)
	return err
}

// list returns a package, and the compiled types of everything that it imports.
func list(pattern string) (listed, map[string]string, error) {
	var pkg listed
	const fields = "-json=ImportPath,Dir,Name,GoFiles,Export,DepOnly"
	out, err := exec.Command("go", "list", "-deps", "-export", fields, pattern).Output()
	if err != nil {
		return pkg, nil, fmt.Errorf("go list %s: %w", pattern, err)
	}
	exports := map[string]string{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkg, exports, nil
		}
		if err != nil {
			return pkg, nil, err
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			pkg = p
		}
	}
}

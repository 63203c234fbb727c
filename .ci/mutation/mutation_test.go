package main

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const sample = `package sample

import "math"

var limit = 3

func Clip[T ~int](values []T, most T) (kept []T) {
	for _, v := range values {
		if v < most && true {
			kept = append(kept, v)
		}
	}
	return kept
}

type set map[int]bool

func (s set) Has(keys ...int) bool { return len(keys) > 0 && s[keys[0]] }

func (set) Nothing() {}

func (s set) Far(x float64) bool { return math.IsInf(-x, 1) }
`

// codeOf returns a package of one file.
func codeOf(t *testing.T, source string) (*code, []mutant) {
	t.Helper()
	c := &code{fset: token.NewFileSet(), files: map[string]*ast.File{}, sources: map[string][]byte{"/a/a.go": []byte(source)}}
	c.Dir, c.Name, c.imports = "/a", "sample", importer.Default()
	file, err := parser.ParseFile(c.fset, "/a/a.go", source, parser.SkipObjectResolution)
	require.NoError(t, err)
	c.files["/a/a.go"] = file
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	require.NoError(t, c.check(nil, info))
	return c, mutants(c.fset, info, file, c.sources["/a/a.go"])
}

func TestMutants(t *testing.T) {
	c, found := codeOf(t, sample)
	var keys []string
	for _, m := range found {
		if c.check(&m, nil) == nil {
			keys = append(keys, strings.TrimPrefix(m.key("/a"), "a.go "))
		}
	}
	slices.Sort(keys)
	require.Equal(t, []string{
		"-: var limit = 4",
		"Clip: if true && true {",
		"Clip: if v < most && false {",
		"Clip: if v < most || true {",
		"Clip: if v <= most && true {",
		"Clip: if v >= most && true {",
		"Clip: return nil",
		"Clip: without kept = append(kept, v)",
		"Far: func (s set) Far(x float64) bool { return math.IsInf(x, 1) }",
		"Has: func (s set) Has(keys ...int) bool { return false }",
		"Has: func (s set) Has(keys ...int) bool { return len(keys) <= 0 && s[keys[0]] }",
		"Has: func (s set) Has(keys ...int) bool { return len(keys) > 0 && s[keys[1]] }",
		"Has: func (s set) Has(keys ...int) bool { return len(keys) > 0 && true }",
		"Has: func (s set) Has(keys ...int) bool { return len(keys) > 0 || s[keys[0]] }",
		"Has: func (s set) Has(keys ...int) bool { return len(keys) > 1 && s[keys[0]] }",
		"Has: func (s set) Has(keys ...int) bool { return len(keys) >= 0 && s[keys[0]] }",
		"Has: func (s set) Has(keys ...int) bool { return true && s[keys[0]] }",
	}, keys)
}

// One program holds all mutants of functions. The call of a mutant has the arguments of its
// function.
func TestSchemata(t *testing.T) {
	c, found := codeOf(t, sample)
	s := newSchemata(c)
	for _, m := range found {
		if c.check(&m, nil) == nil {
			require.Equal(t, m.function != "-", s.add(m), m.shown)
		}
	}
	text := s.overlay()["/a/a.go"]
	require.Contains(t, text, "case 1: return Clip_mutant1[T](values, most);")
	require.Contains(t, text, "return s.Has_mutant")
	require.Contains(t, text, "(keys...);")
	_, _ = codeOf(t, text+"\nvar mutantOn int\n")
}

func TestEquivalents(t *testing.T) {
	reasons, err := readEquivalents("# a comment\n\na.go F: x\n\tno difference\n")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a.go F: x": "no difference"}, reasons)
	for _, text := range []string{"a.go F: x\n", "\tno mutant\n", "a.go F: x\na.go F: y\n\treason\n"} {
		_, err := readEquivalents(text)
		require.Error(t, err, "%q", text)
	}
	_, err = readEquivalents(equivalents)
	require.NoError(t, err)
}

// The same seed draws the same mutants, and another seed others.
func TestDraw(t *testing.T) {
	_, found := codeOf(t, sample)
	one, again, other := slices.Clone(found), slices.Clone(found), slices.Clone(found)
	slices.Reverse(again)
	draw(one, 1)
	draw(again, 1)
	draw(other, 2)
	require.Equal(t, one, again)
	require.NotEqual(t, one, other)
}

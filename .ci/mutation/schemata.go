package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
)

// variable switches on one mutant by its number.
const variable = "DIFFTEST_MUTANT"

// schemata holds many mutants in one program. Each is a copy of its function, which the function
// calls if the mutant is on. One build then serves all of them.
type schemata struct {
	*code
	added  []mutant
	calls  map[*ast.FuncDecl]string // what stands at the beginning of a function
	copies map[string]string        // what stands at the end of a file
}

func newSchemata(c *code) *schemata {
	return &schemata{code: c, calls: map[*ast.FuncDecl]string{}, copies: map[string]string{}}
}

// add takes a mutant, unless a copy of its function could not be called.
func (s *schemata) add(m mutant) bool {
	function := s.around(m)
	if function == nil || function.Name.Name == "init" {
		return false
	}
	name := fmt.Sprintf("%s_mutant%d", function.Name.Name, len(s.added)+1)
	call, ok := callOf(function, name)
	if !ok {
		return false
	}
	if function.Type.Results != nil {
		call = "return " + call
	} else {
		call += "; return"
	}
	source := s.sources[m.file]
	begin, end := s.offset(function.Pos()), s.offset(function.End())
	named, nameEnd := s.offset(function.Name.Pos()), s.offset(function.Name.End())
	s.added = append(s.added, m)
	s.calls[function] += fmt.Sprintf(" case %d: %s;", len(s.added), call)
	head, before, after := source[begin:named], source[nameEnd:m.start], source[m.end:end]
	s.copies[m.file] += fmt.Sprintf("\n%s%s%s%s%s\n", head, name, before, m.text, after)
	return true
}

func (s *schemata) offset(p token.Pos) int { return s.fset.Position(p).Offset }

// around is the function that a mutant stands in, nil if none.
func (s *schemata) around(m mutant) *ast.FuncDecl {
	for _, decl := range s.files[m.file].Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if ok && fn.Body != nil && s.offset(fn.Body.Pos()) < m.start && m.end < s.offset(fn.End()) {
			return fn
		}
	}
	return nil
}

// callOf is the call of a function's copy with the same arguments. It needs a name for each.
func callOf(function *ast.FuncDecl, name string) (string, bool) {
	var arguments, types []string
	for _, field := range function.Type.Params.List {
		if len(field.Names) == 0 {
			return "", false
		}
		for _, argument := range field.Names {
			dots := ""
			if _, variadic := field.Type.(*ast.Ellipsis); variadic {
				dots = "..."
			}
			arguments = append(arguments, argument.Name+dots)
		}
	}
	if function.Type.TypeParams != nil {
		for _, field := range function.Type.TypeParams.List {
			for _, parameter := range field.Names {
				types = append(types, parameter.Name)
			}
		}
		name += "[" + strings.Join(types, ", ") + "]"
	}
	if function.Recv != nil {
		if len(function.Recv.List[0].Names) == 0 || function.Recv.List[0].Names[0].Name == "_" {
			return "", false
		}
		name = function.Recv.List[0].Names[0].Name + "." + name
	}
	return name + "(" + strings.Join(arguments, ", ") + ")", !slices.Contains(arguments, "_")
}

// overlay is the text of every file that differs, and of one more file.
func (s *schemata) overlay() map[string]string {
	texts := map[string]string{
		filepath.Join(s.Dir, "mutant_on.go"): fmt.Sprintf(
			"package %s\n\nimport (\n\t\"os\"\n\t\"strconv\"\n)\n\nvar mutantOn, _ = strconv.Atoi(os.Getenv(%q))\n", s.Name, variable),
	}
	for path, copies := range s.copies {
		source, text, done := s.sources[path], "", 0
		for _, decl := range s.files[path].Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || s.calls[fn] == "" {
				continue
			}
			body := s.offset(fn.Body.Lbrace) + 1
			text += string(source[done:body]) + " switch mutantOn {" + s.calls[fn] + " };"
			done = body
		}
		texts[path] = text + string(source[done:]) + copies
	}
	return texts
}

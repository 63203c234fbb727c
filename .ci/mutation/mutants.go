package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mutant is one small change of a file.
type mutant struct {
	file       string
	start, end int // bytes of the file that are replaced
	text       string
	line       int
	function   string // the function around it, "" outside of functions
	shown      string // the changed line, or the lost statement
}

// key names a mutant in the list of equivalents. Lines may move, so it has no line number.
func (m mutant) key(root string) string {
	path, err := filepath.Rel(root, m.file)
	if err != nil {
		path = m.file
	}
	return fmt.Sprintf("%s %s: %s", filepath.ToSlash(path), m.function, m.shown)
}

// finder collects the mutants of a file.
type finder struct {
	fset     *token.FileSet
	info     *types.Info
	name     string
	source   []byte
	function string
	found    []mutant
}

func mutants(fset *token.FileSet, info *types.Info, file *ast.File, source []byte) []mutant {
	f := &finder{fset: fset, info: info, name: fset.Position(file.Pos()).Filename, source: source}
	for _, decl := range file.Decls {
		f.function = "-"
		if fn, ok := decl.(*ast.FuncDecl); ok {
			f.function = fn.Name.Name
		}
		ast.Inspect(decl, f.visit)
	}
	return f.found
}

// other maps an operator to the operators that take its place.
var other = map[token.Token][]token.Token{
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.QUO}, token.QUO: {token.MUL}, token.REM: {token.MUL},
	token.AND: {token.OR}, token.OR: {token.AND}, token.XOR: {token.AND}, token.SHL: {token.SHR}, token.SHR: {token.SHL},
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL}, token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.ADD_ASSIGN: {token.SUB_ASSIGN}, token.SUB_ASSIGN: {token.ADD_ASSIGN},
	token.MUL_ASSIGN: {token.QUO_ASSIGN}, token.QUO_ASSIGN: {token.MUL_ASSIGN},
	token.INC: {token.DEC}, token.DEC: {token.INC}, token.BREAK: {token.CONTINUE}, token.CONTINUE: {token.BREAK},
}

func (f *finder) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ImportSpec, *ast.StructType, *ast.ArrayType:
		return false
	case *ast.CallExpr:
		return f.call(n)
	case *ast.BinaryExpr:
		f.operator(n.OpPos, n.Op)
		f.operands(n)
	case *ast.UnaryExpr:
		if n.Op == token.NOT || n.Op == token.SUB {
			f.replace(n.OpPos, n.X.Pos(), "")
		}
	case *ast.BasicLit:
		f.number(n)
	case *ast.Ident:
		f.boolean(n)
	case *ast.IfStmt:
		if _, simple := n.Cond.(*ast.BinaryExpr); !simple {
			f.replace(n.Cond.Pos(), n.Cond.End(), "!("+f.text(n.Cond)+")")
		}
	case *ast.AssignStmt:
		f.operator(n.TokPos, n.Tok)
		if n.Tok != token.DEFINE {
			f.replace(n.Pos(), n.End(), "")
		}
	case *ast.IncDecStmt:
		f.operator(n.TokPos, n.Tok)
	case *ast.BranchStmt:
		if n.Label == nil {
			f.operator(n.TokPos, n.Tok)
		}
	case *ast.ExprStmt, *ast.DeferStmt, *ast.SendStmt:
		f.replace(n.Pos(), n.End(), "")
	case *ast.ReturnStmt:
		f.results(n)
	}
	return true
}

// call reports whether the arguments of a call count. Neither the text of a panic nor a capacity
// does.
func (f *finder) call(n *ast.CallExpr) bool {
	name, ok := n.Fun.(*ast.Ident)
	switch what := f.text(n.Fun); {
	case what == "math.Inf" || what == "math.IsInf":
		f.infinity(n)
		return false
	case !ok:
		return true
	case name.Name == "make" && len(n.Args) > 1:
		ast.Inspect(n.Args[1], f.visit)
		return false
	}
	return name.Name != "panic"
}

// infinity takes the arguments of math.Inf or math.IsInf, of whose last the sign alone counts.
func (f *finder) infinity(n *ast.CallExpr) {
	last := len(n.Args) - 1
	for _, x := range n.Args[:last] {
		ast.Inspect(x, f.visit)
	}
	switch sign := n.Args[last].(type) {
	case *ast.UnaryExpr:
		f.replace(sign.OpPos, sign.X.Pos(), "")
	case *ast.BasicLit:
		if sign.Value == "0" {
			f.number(sign)
		}
	}
}

func (f *finder) operator(at token.Pos, op token.Token) {
	for _, instead := range other[op] {
		f.replace(at, at+token.Pos(len(op.String())), instead.String())
	}
}

// operands leaves out one condition of several.
func (f *finder) operands(n *ast.BinaryExpr) {
	neutral, ok := map[token.Token]string{token.LAND: "true", token.LOR: "false"}[n.Op]
	if !ok {
		return
	}
	for _, x := range []ast.Expr{n.X, n.Y} {
		if b, inner := x.(*ast.BinaryExpr); !inner || b.Op != n.Op {
			f.replace(x.Pos(), x.End(), neutral)
		}
	}
}

func (f *finder) number(n *ast.BasicLit) {
	switch n.Kind {
	case token.INT:
		if v, err := strconv.ParseUint(n.Value, 0, 63); err == nil {
			f.replace(n.Pos(), n.End(), strconv.FormatUint(v+1, 10))
		}
	case token.FLOAT:
		if v, err := strconv.ParseFloat(n.Value, 64); err == nil && v == 0 {
			f.replace(n.Pos(), n.End(), "1.0")
			return
		}
		f.replace(n.Pos(), n.End(), "(2*"+n.Value+")")
	}
}

func (f *finder) boolean(n *ast.Ident) {
	instead, ok := map[string]string{"true": "false", "false": "true"}[n.Name]
	if _, constant := f.info.Uses[n].(*types.Const); ok && constant {
		f.replace(n.Pos(), n.End(), instead)
	}
}

// results returns the zero value of one result, unless it is a constant.
func (f *finder) results(n *ast.ReturnStmt) {
	for _, x := range n.Results {
		t, known := f.info.Types[x]
		if !known || t.Value != nil || t.IsNil() {
			continue
		}
		if z := zero(t.Type); z != "" {
			f.replace(x.Pos(), x.End(), z)
		}
	}
}

// zero is the zero value of a type in Go's words, "" where it needs the name of the type.
func zero(t types.Type) string {
	switch u := t.Underlying().(type) {
	case *types.Basic:
		switch {
		case u.Info()&types.IsBoolean != 0:
			return "false"
		case u.Info()&types.IsNumeric != 0:
			return "0"
		case u.Info()&types.IsString != 0:
			return `""`
		}
	case *types.Pointer, *types.Slice, *types.Map, *types.Signature, *types.Chan, *types.Interface:
		if _, parameter := t.(*types.TypeParam); !parameter {
			return "nil"
		}
	}
	return ""
}

func (f *finder) text(n ast.Node) string {
	return string(f.source[f.offset(n.Pos()):f.offset(n.End())])
}

func (f *finder) offset(p token.Pos) int { return f.fset.Position(p).Offset }

// replace records the mutant that has text between two positions, unless it stands there already.
func (f *finder) replace(from, to token.Pos, text string) {
	if string(f.source[f.offset(from):f.offset(to)]) == text {
		return
	}
	m := mutant{
		file: f.name, start: f.offset(from), end: f.offset(to), text: text,
		line: f.fset.Position(from).Line, function: f.function,
	}
	first := bytes.LastIndexByte(f.source[:m.start], '\n') + 1
	last := m.end
	if n := bytes.IndexByte(f.source[m.end:], '\n'); n >= 0 {
		last = m.end + n
	}
	m.shown = strings.Join(strings.Fields(string(f.source[first:m.start])+text+string(f.source[m.end:last])), " ")
	if lost := f.source[m.start:m.end]; text == "" && len(lost) > 1 {
		m.shown = "without " + strings.Join(strings.Fields(string(lost)), " ")
	}
	f.found = append(f.found, m)
}

// apply returns the source with the mutant's text.
func (m mutant) apply(source []byte) []byte {
	return slices.Concat(source[:m.start], []byte(m.text), source[m.end:])
}

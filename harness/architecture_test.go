package harness

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	module   = "github.com/difftest/difftest/"
	internal = "harness/internal/"
)

// mayImport says what each package may import of this module. Data walks fixture -> subject ->
// compare -> replay, pattern and fit -> diagnose -> report, with no step back: no package imports
// one that stands below it.
// Packages in harness/internal are written without their path.
var mayImport = []struct{ name, imports string }{
	{"attention/kernel", ""},
	{"attention", "attention/kernel"},
	{"attention/transformer", "attention"},
	{"fixtures", ""},
	{"num", ""},
	{"printable", ""},
	{"parallel", ""},
	{"campaign", ""},
	{"jsonread", "printable"},
	{"npy", "attention"},
	{"checkpoint", "attention jsonread npy printable"},
	{"fixture", "attention checkpoint jsonread npy parallel printable"},
	{"subject", "attention fixture npy"},
	{"builtin", "attention attention/transformer subject"},
	{"protocol", "attention fixture jsonread npy"},
	{"compare", ""},
	{"oracle", "attention attention/kernel compare fixture num"},
	{"random", "attention fixture"},
	{"graph", "attention attention/kernel jsonread npy num parallel"},
	{"fresh", "attention fixture graph npy oracle random"},
	{"catalogue", "attention graph num oracle"},
	{"edits", "catalogue graph"},
	{"sites", "attention catalogue graph num oracle parallel"},
	{"progress", ""},
	{"replay", "catalogue compare edits graph npy num oracle parallel progress sites"},
	{"pattern", "num oracle"},
	{"fit", "attention compare num oracle parallel pattern"},
	{"reorder", "compare num"},
	{"diagnose", "attention catalogue compare fit num oracle pattern reorder replay"},
	{"trace", "attention compare graph num replay"},
	{"report", "attention catalogue compare diagnose fit num pattern replay trace"},
	{"condition", ""},
	{"judge", "attention catalogue compare diagnose fit fixture fresh graph npy oracle progress replay report subject trace"},
	{"probe", "attention fixture report subject"},
	{"causes", "attention catalogue compare diagnose fit fixture judge num oracle parallel probe replay report subject"},
	{"check", "attention causes compare diagnose fixture judge npy oracle printable probe progress protocol replay report subject trace"},
	{"known", "catalogue edits fixture printable replay report"},
	{"shard", ""},
	{"starter", ""},
	{"bazel", "shard"},
	{"blob", "attention catalogue compare diagnose edits fit fixture jsonread known num oracle pattern printable reorder replay report shard subject trace"},
	{"coverage", "catalogue edits fixture judge oracle parallel replay"},
	{"child", "attention fixture npy printable protocol subject"},
	{"review", "attention compare fixture judge npy oracle"},
	{"variant", "attention oracle"},
	{"oracletest", "attention fixture fixtures num oracle"},
	{"fuzz", "attention check condition fixture fresh oracle report subject"},
	{"selftest", "attention catalogue compare diagnose fixture fresh judge npy oracle random replay report variant"},
	{"harnesstest", "attention builtin fixture fixtures subject"},
	{"harness", "attention bazel causes check child fixture fresh fuzz judge known oracle report shard subject"},
	{"harness/schemas", ""},
	{"harness/command", "attention bazel blob builtin catalogue check checkpoint child compare coverage edits fixture " +
		"fixtures fresh fuzz judge known npy oracle parallel progress printable protocol replay report review selftest shard starter subject"},
	{"cmd/difftest", "harness/command"},
}

func TestImports(t *testing.T) {
	allowed := map[string][]string{}
	for _, p := range mayImport {
		for _, imported := range strings.Fields(p.imports) {
			require.Contains(t, allowed, imported, "%s imports a package that stands below it", p.name)
		}
		allowed[p.name] = strings.Fields(p.imports)
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		name := room(words[0])
		require.Contains(t, allowed, name, "say in mayImport what it may import")
		for _, imported := range words[1:] {
			if strings.HasPrefix(imported, module) {
				require.Contains(t, allowed[name], room(imported), "%s imports it", name)
			}
		}
	}
}

// room is a package's path as mayImport has it.
func room(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), internal)
}

// What the oracle and the catalogue may take from attention: types, their constants and empty
// values, never its arithmetic. An oracle that borrows the subject's mathematics is none.
var typesOfAttention = []string{
	"Tensor", "Mask", "StateDict", "Config", "EmptyRow", "EmptyZero", "EmptyNaN",
	"NotCausal", "LowerRight", "InputLayout", "SequenceFirst", "Unbatched", "RoPE", "Interleaved",
	"Inputs", "SDPAOptions", "ParamLayout", "TorchLayout", "TorchSeparateLayout", "SeedLayout", "LlamaLayout",
	"GPT2Layout", "NeoXLayout",
	"FusedLayout",
	"FormatShape",
	"Placement",
}

func TestOracleSharesNoArithmeticWithAttention(t *testing.T) {
	used := map[string]bool{}
	for _, dir := range []string{"oracle", "catalogue", "replay", "pattern", "fit", "diagnose"} {
		files, err := filepath.Glob("internal/" + dir + "/*.go")
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			require.NoError(t, err)
			ast.Inspect(parsed, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if p, ok := s.X.(*ast.Ident); ok && p.Name == "attention" {
					used[s.Sel.Name] = true
					require.Contains(t, typesOfAttention, s.Sel.Name, "%s uses attention.%s", file, s.Sel.Name)
				}
				return true
			})
		}
	}
	for _, name := range typesOfAttention {
		require.True(t, used[name], "attention.%s is allowed and not used: take it off the list", name)
	}
}

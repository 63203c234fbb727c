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

const module = "github.com/difftest/difftest/"

// What each package may import of this module. Data walks fixture -> subject -> oracle and
// compare -> diagnose -> report, with no step back.
var mayImport = map[string][]string{
	"attention":                    {},
	"fixtures":                     {},
	"harness/internal/num":         {},
	"harness/internal/printable":   {},
	"harness/internal/campaign":    {},
	"harness/internal/npy":         {"attention"},
	"harness/internal/checkpoint":  {"attention", "harness/internal/npy", "harness/internal/printable"},
	"harness/internal/fixture":     {"attention", "harness/internal/checkpoint", "harness/internal/npy"},
	"harness/internal/subject":     {"attention", "harness/internal/fixture"},
	"harness/internal/protocol":    {"attention", "harness/internal/fixture", "harness/internal/npy"},
	"harness/internal/compare":     {},
	"harness/internal/oracle":      {"attention", "harness/internal/compare", "harness/internal/fixture", "harness/internal/num"},
	"harness/internal/catalogue":   {"attention", "harness/internal/num", "harness/internal/oracle"},
	"harness/internal/diagnose":    {"attention", "harness/internal/catalogue", "harness/internal/compare", "harness/internal/num", "harness/internal/oracle"},
	"harness/internal/report":      {"attention", "harness/internal/catalogue", "harness/internal/compare", "harness/internal/diagnose"},
	"harness":                      {"attention", "harness/internal/fixture", "harness/internal/npy", "harness/internal/protocol", "harness/internal/subject", "harness/internal/oracle", "harness/internal/catalogue", "harness/internal/compare", "harness/internal/diagnose", "harness/internal/report"},
	"harness/internal/review":      {"attention", "harness", "harness/internal/fixture", "harness/internal/npy", "harness/internal/compare"},
	"harness/internal/child":       {"attention", "harness/internal/fixture", "harness/internal/npy", "harness/internal/printable", "harness/internal/protocol", "harness/internal/subject"},
	"harness/internal/selftest":    {"attention", "harness", "harness/internal/catalogue", "harness/internal/compare", "harness/internal/diagnose", "harness/internal/fixture", "harness/internal/random", "harness/internal/variant", "harness/internal/npy", "harness/internal/oracle", "harness/internal/report"},
	"harness/internal/harnesstest": {"attention", "harness/internal/subject"},
	"harness/internal/variant":     {"attention", "harness/internal/oracle"},
	"harness/internal/random":      {"attention", "harness/internal/fixture"},
	"harness/command":              {"attention", "fixtures", "harness", "harness/internal/checkpoint", "harness/internal/npy", "harness/internal/catalogue", "harness/internal/child", "harness/internal/fixture", "harness/internal/protocol", "harness/internal/subject", "harness/internal/compare", "harness/internal/diagnose", "harness/internal/report", "harness/internal/review", "harness/internal/selftest"},
	"cmd/difftest":                 {"harness/command"},
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		name := strings.TrimPrefix(words[0], module)
		allowed, known := mayImport[name]
		require.True(t, known, "%s: say here what it may import", name)
		for _, imported := range words[1:] {
			if ours, ok := strings.CutPrefix(imported, module); ok {
				require.Contains(t, allowed, ours, "%s imports it", name)
			}
		}
	}
}

// What the oracle and the catalogue may take from attention: types, their constants and empty
// values, never its arithmetic. An oracle that borrows the subject's mathematics is none.
var typesOfAttention = []string{
	"Tensor", "Mask", "StateDict", "Config", "EmptyRow", "EmptyZero", "EmptyNaN",
	"NotCausal", "LowerRight", "InputLayout", "SequenceFirst", "Unbatched", "RoPE", "Interleaved", "Inputs", "ParamLayout",
	"TorchLayout", "TorchSeparateLayout", "SeedLayout", "LlamaLayout", "GPT2Layout", "NeoXLayout", "FusedLayout", "FormatShape",
}

func TestOracleSharesNoArithmeticWithAttention(t *testing.T) {
	used := map[string]bool{}
	for _, dir := range []string{"oracle", "catalogue", "diagnose"} {
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

package graph_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/graph"
)

var update = flag.Bool("update", false, "write the table of operators into GRAPHS.md")

// GRAPHS.md has a row for every operator.
func TestTheTableOfOperatorsIsUpToDate(t *testing.T) {
	const page = "../../GRAPHS.md"
	data, err := os.ReadFile(page)
	require.NoError(t, err)
	table := regexp.MustCompile(`(?s)\| operator \|.*?\n\n`)
	require.Regexp(t, table, string(data))
	want := table.ReplaceAllLiteralString(string(data), markdown()+"\n")
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
		return
	}
	require.True(t, want == string(data),
		"GRAPHS.md is out of date: go test ./harness/internal/graph -run TestTheTableOfOperators -update")
}

func markdown() string {
	var text strings.Builder
	text.WriteString("| operator | operands | attributes | computes |\n|---|---|---|---|\n")
	for _, o := range graph.Operators() {
		fmt.Fprintf(&text, "| %s | %s | %s | %s |\n",
			o.Name, strings.Join(o.Operands, " "), strings.Join(o.Attributes, " "), o.Does)
	}
	return text.String()
}

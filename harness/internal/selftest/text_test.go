package selftest

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The text for people and the JSON for programs equal the golden files.
func TestFormats(t *testing.T) {
	mistake := func(id string) catalogue.Mistake { m, _ := catalogue.ByID(id); return m }
	r := &Result{
		Seed: 3, Cases: 2,
		Singles:     Counts{Planted: 100, Distinguishable: 90, Right: 60, Class: 20, Unexplained: 10, Constant: 10},
		Pairs:       Counts{Planted: 40, Distinguishable: 30, Right: 20, Wrong: 1},
		LeftOut:     Counts{Planted: 5, Distinguishable: 5, Class: 1, Unexplained: 4, Impostors: 1, Misclassified: 1},
		Independent: Counts{Planted: 1, Distinguishable: 1, Right: 1},
		Variants:    Variants{Run: 24, FalseAlarms: 1},
		Noise:       Noise{Planted: 20, Blamed: 1},
		Detection:   Detection{Planted: 9, Detected: 9},
		Mistakes: []Row{
			{mistake("weights-zero"), ByPyTorch, Counts{Planted: 1, Distinguishable: 1, Right: 1}},
			{mistake("weights-zero"), ByVariant, Counts{Planted: 6, Distinguishable: 6, Right: 6}},
			{mistake("softmax-missing"), ByOracle, Counts{Planted: 4, Distinguishable: 3, Class: 2, Unexplained: 1}},
		},
		Findings: []Finding{
			{wrongName, pairs, "1", "causal-missing+scale-twice", "padding-ignored"},
			{noName, singles, "0", "softmax-missing", "no name, unclear"},
		},
	}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"result.json": func(b *bytes.Buffer) error { return JSON(b, r) },
		"result.txt":  func(b *bytes.Buffer) error { return Text(b, r) },
	} {
		var got bytes.Buffer
		require.NoError(t, write(&got))
		file := "testdata/" + name
		if *update {
			require.NoError(t, os.MkdirAll("testdata", 0o755))
			require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), got.String(), name)
	}
}

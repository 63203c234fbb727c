package harness_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/report"
)

// A layer that forgets its causal mask, and what is found out about it.
func ExampleCheck() {
	forgetful := harness.Subject{
		Name: "forgetful",
		MHA: func(c attention.Config) (harness.Module, error) {
			c.Bidirectional = true
			return attention.New(c)
		},
	}
	r, err := harness.Check(context.Background(), fixtures.FS, forgetful, "mha/unmasked", "mha/causal")
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Count(report.Pass), "passed,", r.Count(report.Fail), "failed")
	wrong := r.Results[1].Diagnosis
	fmt.Println(wrong.Class, wrong.Matches[0].ID())
	fmt.Println(wrong.Structure.Picture())
	// Output:
	// 1 passed, 1 failed
	// missing-feature causal-missing
	// [xxxxxxxx.  batch 0 to batch 4]
}

// An output that was made elsewhere: here PyTorch's own, with its queries in the order of their time reversed.
func ExampleJudge() {
	c, err := fixture.Read(fixtures.FS, "sdpa/causal")
	if err != nil {
		panic(err)
	}
	got := c.Output.Float64s()
	rows, width := c.Output.Shape[2], c.Output.Shape[3]
	reversed := make([]float64, 0, len(got))
	for head := range len(got) / (rows * width) {
		for row := range rows {
			reversed = append(reversed, got[(head*rows+rows-1-row)*width:][:width]...)
		}
	}
	r, err := harness.Judge(context.Background(), c, c.Output.Shape, reversed)
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Verdict, r.Diagnosis.Matches[0].ID())
	// Output:
	// fail output-time-reversed
}

// Outputs in a folder, a file for each case: those that are missing are skipped.
func ExampleCheckOutputs() {
	right, err := fixtures.FS.ReadFile("seed/causal/expected/output.npy")
	if err != nil {
		panic(err)
	}
	outputs := fstest.MapFS{"seed/causal/output.npy": {Data: right}}
	r, err := harness.CheckOutputs(context.Background(), fixtures.FS, outputs, "seed/causal", "seed/unmasked")
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Count(report.Pass), "passed,", r.Count(report.Skip), "skipped")
	// Output:
	// 1 passed, 1 skipped
}

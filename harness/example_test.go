package harness_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness"
)

// Every case is a subtest. The layer here is the built-in one; a port has its own maker.
func ExampleRun() {
	var t *testing.T // of func TestAttention(t *testing.T)
	harness.Run(t, fixtures.FS, harness.Subject{
		Name: "mine",
		SDPA: attention.SDPA,
		MHA:  func(c attention.Config) (harness.Module, error) { return attention.New(c) },
	}, harness.Select("seed/**"))
}

// A layer that forgets its causal mask, and what Check finds out about it.
func ExampleCheck() {
	forgetful := harness.Subject{
		Name: "forgetful",
		MHA: func(c attention.Config) (harness.Module, error) {
			c.Bidirectional = true
			return attention.New(c)
		},
	}
	r, err := harness.Check(context.Background(), fixtures.FS, forgetful,
		harness.Select("mha/unmasked", "mha/causal", "seed/causal"))
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Count(harness.Pass), "passed,", r.Count(harness.Fail), "failed")
	for _, result := range r.Results {
		for _, e := range result.Explanations {
			fmt.Println(result.Case, result.Class, e.IDs)
		}
	}
	for _, cause := range r.Causes {
		fmt.Println(cause.ID, "explains", cause.Failures)
	}
	// Output:
	// 1 passed, 2 failed
	// mha/causal missing-feature [causal-missing]
	// seed/causal missing-feature [causal-missing]
	// causal-missing explains [mha/causal seed/causal]
}

// A layer that does not support a case says so, and is not judged on it.
func ExampleSubject() {
	noRoPE := harness.Subject{MHA: func(c attention.Config) (harness.Module, error) {
		if c.RoPE != nil {
			return nil, fmt.Errorf("no rotary positions yet: %w", errors.ErrUnsupported)
		}
		return attention.New(c)
	}}
	r, err := harness.Check(context.Background(), fixtures.FS, noRoPE,
		harness.Select("seed/causal", "decoder/rope-half"))
	if err != nil {
		panic(err)
	}
	for _, result := range r.Results {
		fmt.Println(result.Case, result.Verdict, result.Err)
	}
	// Output:
	// decoder/rope-half skip make the layer: no rotary positions yet: unsupported operation
	// seed/causal pass
}

// An output that was made elsewhere: here PyTorch's own, with its queries in reversed order.
func ExampleJudge() {
	c, err := harness.ReadCase(fixtures.FS, "sdpa/causal")
	if err != nil {
		panic(err)
	}
	got := c.Output.Clone()
	rows, width := got.Shape[2], got.Shape[3]
	for head := range len(got.Data) / (rows * width) {
		for row := range rows {
			from := c.Output.Data[(head*rows+rows-1-row)*width:][:width]
			copy(got.Data[(head*rows+row)*width:], from)
		}
	}
	r, err := harness.Judge(context.Background(), c, got)
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Verdict, r.Explanations[0].IDs, r.Explanations[0].Title)
	// Output:
	// fail [output-time-reversed] the positions of the output reversed
}

// Outputs in a folder, a file for each case. Cases without an output are skipped.
func ExampleCheckFolder() {
	right, err := fixtures.FS.ReadFile("seed/causal/expected/output.npy")
	if err != nil {
		panic(err)
	}
	outputs := fstest.MapFS{"seed/causal/output.npy": {Data: right}}
	r, err := harness.CheckFolder(context.Background(), fixtures.FS, outputs, harness.Select("seed/**"))
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Count(harness.Pass), "passed,", r.Count(harness.Skip), "skipped")
	// Output:
	// 1 passed, 1 skipped
}

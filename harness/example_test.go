package harness_test

import (
	"context"
	"fmt"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness"
	"github.com/difftest/difftest/harness/report"
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

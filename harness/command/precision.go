package command

import (
	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/subject"
)

// addPrecision adds the flag that declares an arithmetic.
func addPrecision(cmd *cobra.Command, precision *string, what string) {
	cmd.Flags().StringVar(precision, "precision", "",
		what+", which sets the noise: `P` is float16, bfloat16, tf32, int8-cache, fp8-e4m3-cache or fp8-e5m2-cache")
	precisions := []cobra.Completion{
		"float16", "bfloat16", "tf32", "int8-cache", "fp8-e4m3-cache", "fp8-e5m2-cache",
	}
	_ = cmd.RegisterFlagCompletionFunc("precision",
		cobra.FixedCompletions(precisions, cobra.ShellCompDirectiveNoFileComp))
}

// precisionFlag returns the end of a command line that declares the same precision.
func precisionFlag(declared subject.Precision) string {
	if declared == subject.Float32 {
		return ""
	}
	return " --precision " + string(declared)
}

package command

import (
	"github.com/spf13/cobra"
)

// stopFlags end a run after some failures.
type stopFlags struct {
	first bool
	most  int
}

func (s *stopFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&s.first, "fail-fast", false, "end the run at the first failure")
	f.IntVar(&s.most, "max-fail", 0, "end the run after `N` failures")
	cmd.MarkFlagsMutuallyExclusive("fail-fast", "max-fail")
}

func (s *stopFlags) check() error {
	if s.most < 0 {
		return exit(exitUsage, "--max-fail: %d, want 1 or more", s.most)
	}
	return nil
}

// reached reports whether the number of failures ends the run.
func (s *stopFlags) reached(failures int) bool {
	return s.first && failures > 0 || s.most > 0 && failures >= s.most
}

package command

import (
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// stateFlag names a file with the parameters that layers load in place of the case's. It is not called
// --weights: that is what check calls attention weights.
type stateFlag struct{ file string }

func (s *stateFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.file, "state-dict", "", "parameters to load, strictly, in place of the case's: `FILE`.safetensors, .pt, .pth or .npz")
	_ = cmd.MarkFlagFilename("state-dict", "safetensors", "pt", "pth", "bin", "npz")
}

// read gives the parameters of the file, nil without one. Every case that is selected must have parameters:
// one that has none would pass whatever the file holds.
func (s *stateFlag) read(suite fs.FS, cases []string) (attention.StateDict, error) {
	if s.file == "" {
		return nil, nil
	}
	for _, name := range cases {
		c, err := fixture.Read(suite, name)
		if err != nil {
			return nil, exit(exitBroken, "%w", err)
		}
		if c.Op != fixture.MultiHead {
			return nil, exit(exitUsage, "--state-dict: %s has no state dict; --case selects those that do", name)
		}
	}
	f, err := openTensors(s.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dict, _, err := f.StateDict()
	if err != nil {
		return nil, exit(exitBroken, "%s: %w", s.file, err)
	}
	return dict, nil
}

// flag is what a command line needs to name the file again.
func (s *stateFlag) flag() string {
	if s.file == "" {
		return ""
	}
	return " --state-dict " + shellWord(s.file)
}

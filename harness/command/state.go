package command

import (
	"io/fs"
	"maps"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// stateFlag names a file of parameters that layers load instead of the case's own. The flag is not
// called --weights, because the weights of check are attention weights.
type stateFlag struct{ file string }

func (s *stateFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.file, "state-dict", "",
		"load parameters, strictly, from `FILE`.safetensors, .pt, .pth or .npz instead of the case's")
	_ = cmd.MarkFlagFilename("state-dict", "safetensors", "pt", "pth", "bin", "npz")
}

// read returns the parameters in the file; nil if there is no file. Every selected case must have
// parameters: a case without them would pass whatever the file holds.
func (s *stateFlag) read(suite fs.FS, cases []string) (attention.StateDict, error) {
	if s.file == "" {
		return nil, nil
	}
	wanted := attention.StateDict{}
	for _, name := range cases {
		c, err := fixture.Read(suite, name)
		if err != nil {
			return nil, exit(exitBroken, "%w", err)
		}
		if c.Op != fixture.MultiHead {
			return nil, exit(exitUsage, "--state-dict: %s has no state dict; select cases with --case", name)
		}
		maps.Copy(wanted, c.State)
	}
	f, err := openTensors(s.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dict, left, err := f.StateDict()
	if err != nil {
		return nil, exit(exitBroken, "%s: %w", s.file, err)
	}
	for _, name := range left {
		if wanted[name] != nil {
			_, err := f.Tensor(name).Float32s()
			return nil, exit(exitBroken, "%s: %w", s.file, err)
		}
	}
	return dict, nil
}

// flag returns the part of a command line that names the file again.
func (s *stateFlag) flag() string {
	if s.file == "" {
		return ""
	}
	return " --state-dict " + shellWord(s.file)
}

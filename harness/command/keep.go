package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/protocol"
)

// keepFlag names a folder for wrong outputs.
type keepFlag struct{ dir string }

func (k *keepFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.dir, "keep", "",
		"save wrong outputs in folder `DIR`, each with its request and inputs, for difftest check DIR")
	_ = cmd.MarkFlagDirname("keep")
}

// save writes the output of a case that is wrong, and all that is needed to look at it again.
func (k *keepFlag) save(suite fs.FS, precision string, j check.Judged) error {
	if k.dir == "" || j.Output == nil || !j.Result.Wrong() && len(j.Result.Findings) == 0 {
		return nil
	}
	c, err := fixture.Read(suite, j.Result.Case)
	if err != nil {
		return err
	}
	dir := filepath.Join(k.dir, filepath.FromSlash(c.Name))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	_, err = protocol.Write(dir, c)
	err = errors.Join(err, saveTensor(filepath.Join(dir, protocol.OutputFile), j.Output),
		saveTensor(filepath.Join(dir, protocol.WeightsFile), j.Weights))
	file := filepath.Join(dir, protocol.ReplyFile)
	if precision == "" {
		if gone := os.Remove(file); !errors.Is(gone, fs.ErrNotExist) { // of an earlier run
			err = errors.Join(err, gone)
		}
		return err
	}
	reply := fmt.Appendf(nil, "{\"type\": %q, \"precision\": %q}\n", protocol.TypeOK, precision)
	return errors.Join(err, os.WriteFile(file, reply, 0o644))
}

// saveTensor writes a tensor as float64, which holds every value exactly. A nil tensor has no file.
func saveTensor(file string, t *attention.Tensor) error {
	if t == nil {
		return nil
	}
	a, err := npy.Float64Array(t.Shape, t.Float64s())
	if err != nil {
		return err
	}
	text, err := a.EncodeNPY()
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

package selftest

import (
	"context"
	"io/fs"
)

// output is one that pyref planted.
type output struct{}

func readPlanted(fsys fs.FS) ([]*trial, error) { return nil, nil }

func (t *trial) judgeOutputs(ctx context.Context) error { return nil }

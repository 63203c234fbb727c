package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/judge"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/protocol"
	"github.com/difftest/difftest/harness/internal/trace"
)

// traced judges the outputs of modules inside a model, by their paths; nil if there are none.
func traced(ctx context.Context, c *fixture.Case, inside map[string]*npy.Array) (*trace.Trace, error) {
	if len(inside) == 0 {
		return nil, nil
	}
	values := map[string]*trace.Array{}
	for name, a := range inside {
		numbers, err := a.Float64s()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path.Join(c.Name, protocol.TraceDir, name+".npy"), err)
		}
		values[name] = &trace.Array{Shape: a.Shape, Data: numbers}
	}
	return judge.Trace(ctx, c, values)
}

// readTrace reads the outputs of modules that stand beside the output of a case.
func readTrace(outputs fs.FS, c *fixture.Case) (map[string]*npy.Array, error) {
	dir := path.Join(c.Name, protocol.TraceDir)
	files, err := fs.ReadDir(outputs, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	inside := map[string]*npy.Array{}
	for _, f := range files {
		file := path.Join(dir, f.Name())
		data, err := fixture.ReadFile(outputs, file)
		if err != nil {
			return nil, err
		}
		a, _, err := npy.ParseOutput(data, c.Precision)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		inside[strings.TrimSuffix(f.Name(), ".npy")] = a
	}
	return inside, nil
}

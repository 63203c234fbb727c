package check

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/protocol"
	"github.com/difftest/difftest/harness/internal/trace"
)

// valuesOf returns the numbers of arrays by the paths of the modules that gave them.
func valuesOf(c *fixture.Case, arrays map[string]*npy.Array) (map[string]*trace.Array, error) {
	values := map[string]*trace.Array{}
	for name, a := range arrays {
		numbers, err := a.Float64s()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path.Join(c.Name, protocol.TraceDir, name+".npy"), err)
		}
		values[name] = &trace.Array{Shape: a.Shape, Data: numbers}
	}
	return values, nil
}

// readTrace reads the outputs of modules that stand beside the output of a case.
func readTrace(outputs fs.FS, c *fixture.Case) (map[string]*trace.Array, error) {
	dir := path.Join(c.Name, protocol.TraceDir)
	files, err := fs.ReadDir(outputs, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	inside := map[string]*trace.Array{}
	for _, f := range files {
		file := path.Join(dir, f.Name())
		data, err := fixture.ReadFile(outputs, file)
		if err != nil {
			return nil, err
		}
		a, numbers, err := npy.ParseOutput(data, c.Precision)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		inside[strings.TrimSuffix(f.Name(), ".npy")] = &trace.Array{Shape: a.Shape, Data: numbers}
	}
	return inside, nil
}

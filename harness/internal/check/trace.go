package check

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/protocol"
	"github.com/difftest/difftest/harness/internal/trace"
)

// valuesOf returns the outputs of modules that a program has given, by their paths; nil for nil.
func valuesOf(arrays map[string]*npy.Array) map[string]*trace.Array {
	if arrays == nil {
		return nil
	}
	values := map[string]*trace.Array{}
	for name, a := range arrays {
		values[name] = valueOf(a)
	}
	return values
}

// valueOf returns an array of float32 or float64. Values of fewer bits would all be wrong by the
// noise of float32.
func valueOf(a *npy.Array) *trace.Array {
	if a.DType != npy.Float32 && a.DType != npy.Float64 {
		return &trace.Array{Problem: fmt.Sprintf("not compared: it is %s, want float32", a.DType)}
	}
	numbers, err := a.Float64s()
	if err != nil {
		return &trace.Array{Problem: "not compared: " + err.Error()}
	}
	return &trace.Array{Shape: a.Shape, Data: numbers}
}

// readTrace reads the outputs of modules that stand beside the output of a case. It returns nil if
// there are none.
func readTrace(outputs fs.FS, c *fixture.Case) (map[string]*trace.Array, error) {
	inside, err := readModules(outputs, path.Join(c.Name, protocol.TraceDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return inside, err
}

// readModules reads the files of a folder as the outputs of modules, by their paths. A file that
// holds no array does not take the verdict from the output.
func readModules(files fs.FS, dir string) (map[string]*trace.Array, error) {
	found, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, err
	}
	inside := map[string]*trace.Array{}
	for _, f := range found {
		name, isArray := strings.CutSuffix(f.Name(), ".npy")
		if !isArray {
			inside[printable.Line(f.Name())] = &trace.Array{Problem: "not compared: it is no .npy file"}
			continue
		}
		data, err := fixture.ReadFile(files, path.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		if a, err := npy.Parse(data); err == nil {
			inside[printable.Line(name)] = valueOf(a)
		} else {
			inside[printable.Line(name)] = &trace.Array{Problem: "not compared: " + err.Error()}
		}
	}
	return inside, nil
}

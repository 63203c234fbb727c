package selftest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// rightOutput is the id of an output without a mistake in the index.
const rightOutput = "right"

// output is an output that pyref computed, in the order of dimensions of its case.
type output struct {
	id     string // of the mistake that was made, or rightOutput
	values []float64
}

// readPlanted reads the folder that `python -m pyref plant --fresh SEED DIR` wrote: new cases, and
// PyTorch's float32 output on each of them with every mistake. The error names the file, and every
// problem found.
func readPlanted(dir fs.FS) ([]*trial, error) {
	if dir == nil {
		return nil, nil
	}
	cases, err := fs.Sub(dir, "cases")
	if err != nil {
		return nil, err
	}
	index, err := readIndex(dir)
	if err != nil {
		return nil, err
	}
	var trials []*trial
	var errs []error
	for i, name := range slices.Sorted(maps.Keys(index)) {
		t := &trial{name: name, n: i}
		t.given, err = fixture.Read(cases, name)
		switch {
		case err != nil:
		case t.given.Op == fixture.Module:
			err = fmt.Errorf("cases/%s/case.json: op: %s, on which no mistake can be made", name, fixture.Module)
		default:
			t.outputs, err = readOutputs(dir, t.given, index[name])
		}
		trials, errs = append(trials, t), append(errs, err)
	}
	return trials, errors.Join(errs...)
}

const indexFile = "planted/index.json"

// readIndex returns the ids of the outputs of each case. The error says that an id is unknown, or
// names a random mistake.
func readIndex(dir fs.FS) (map[string][]string, error) {
	data, err := readFile(dir, indexFile)
	if err != nil {
		return nil, err
	}
	var index map[string][]string
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("%s: %w", indexFile, err)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(index)) {
		for _, id := range index[name] {
			if m, ok := catalogue.ByID(id); id != rightOutput && (!ok || m.Random) {
				errs = append(errs,
					fmt.Errorf("%s: %s: %q is no known mistake that can be replayed", indexFile, name, id))
			}
		}
	}
	if len(index) == 0 {
		errs = append(errs, fmt.Errorf("%s: it has no case", indexFile))
	}
	return index, errors.Join(errs...)
}

// readOutputs reads the outputs of a case, which one file holds along its first dimension.
func readOutputs(dir fs.FS, c *fixture.Case, ids []string) ([]output, error) {
	file := "planted/" + strings.ReplaceAll(c.Name, "/", "-") + ".npy"
	data, err := readFile(dir, file)
	if err != nil {
		return nil, err
	}
	a, err := npy.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	values, err := a.Float64s()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if want := append([]int{len(ids)}, c.Output.Shape...); !slices.Equal(a.Shape, want) {
		return nil, fmt.Errorf("%s: shape is %s, the index and the case give %s",
			file, attention.FormatShape(a.Shape), attention.FormatShape(want))
	}
	var outputs []output
	for i, id := range ids {
		size := len(c.Output.Data)
		outputs = append(outputs, output{id, values[i*size:][:size]})
	}
	return outputs, nil
}

func readFile(dir fs.FS, name string) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := fixture.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// judgeOutputs judges the outputs that pyref computed on a case. PyTorch may make a mistake there
// that the catalogue cannot make; then its output is right, or another mistake's, or should get no
// name.
func (t *trial) judgeOutputs(ctx context.Context) error {
	for _, out := range t.outputs {
		if out.id == rightOutput {
			t.judgeVariant("plain PyTorch", 1, t.toBatchFirst(out.values), t.truth)
			continue
		}
		m, _ := catalogue.ByID(out.id)
		p := plant{mistakes: []catalogue.Mistake{m}, by: ByPyTorch, got: t.toBatchFirst(out.values)}
		p.exact = t.withNoise(p)
		p.measure(t.truth)
		r, err := t.judge(ctx, p, "")
		if err != nil {
			return err
		}
		t.tally(&t.found.Independent, independent, p, r, p.visible)
	}
	return nil
}

// toBatchFirst brings values of an output into the oracle's order of dimensions, (B, T, width).
func (t *trial) toBatchFirst(values []float64) []float64 {
	a := oracle.Array{Shape: t.c.Output.Shape, Value: values}
	return oracle.ToBatchFirst(t.c.Layer.InputLayout, a).Value
}

// withNoise returns PyTorch's output with the noise of its mistake. If the catalogue cannot make
// the mistake on the case, the noise is the right output's.
func (t *trial) withNoise(p plant) compare.Expected {
	noise := t.truth
	if problem, ok := catalogue.Make(t.problem, nil, p.mistakes...); ok {
		noise = problem.Run().Expected()
	}
	return withValues(noise, p.got)
}

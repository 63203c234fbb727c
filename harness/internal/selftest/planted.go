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

// rightOutput stands in the index for an output without a mistake.
const rightOutput = "right"

// output is one that pyref planted, in the order of its case.
type output struct {
	id     string
	values []float64
}

// readPlanted reads what `python -m pyref plant --fresh SEED DIR` wrote: new cases, and what PyTorch gives on
// each in float32 with every mistake. The error names the file, and every problem found.
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

// readIndex gives the mistakes that were planted on each case. All of them are known.
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
				errs = append(errs, fmt.Errorf("%s: %s: %q is no known mistake that can be replayed", indexFile, name, id))
			}
		}
	}
	if len(index) == 0 {
		errs = append(errs, fmt.Errorf("%s: it has no case", indexFile))
	}
	return index, errors.Join(errs...)
}

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
		return nil, fmt.Errorf("%s: shape is %s, the index and the case give %s", file, attention.FormatShape(a.Shape), attention.FormatShape(want))
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

// judgeOutputs judges what was planted on a case elsewhere. A mistake of which the catalogue says that it
// cannot be made here has a right output, or that of another one, or should have no name.
func (t *trial) judgeOutputs(ctx context.Context) error {
	for _, out := range t.outputs {
		if out.id == rightOutput {
			t.judgeVariant("plain PyTorch", 1, t.inOracleOrder(out.values), t.truth)
			continue
		}
		m, _ := catalogue.ByID(out.id)
		p := plant{mistakes: []catalogue.Mistake{m}, by: ByPyTorch, got: t.inOracleOrder(out.values)}
		p.exact = t.measured(p)
		p.measure(t.truth)
		r, err := t.judged(ctx, p, "")
		if err != nil {
			return err
		}
		t.tally(&t.found.Independent, independent, p, r, p.visible)
	}
	return nil
}

// inOracleOrder is an output in the order (B, T, width).
func (t *trial) inOracleOrder(values []float64) []float64 {
	if t.c.Op == fixture.SDPA {
		return values
	}
	return oracle.ToBatchFirst(t.c.Layer.InputLayout, oracle.Array{Shape: t.c.Output.Shape, Value: values}).Value
}

// measured is the output itself, with the noise of the mistake, or of the right computation where the
// catalogue cannot make it: what another mistake gives is held against PyTorch's numbers.
func (t *trial) measured(p plant) compare.Expected {
	noise := t.truth
	if problem, ok := changed(t.problem, nil, p.mistakes...); ok {
		noise = problem.Run().Expected()
	}
	return withValues(noise, p.got)
}

package command

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
)

// holdAgainst writes whether the layer or the module of a case would load the file, and where the
// values differ.
func holdAgainst(w io.Writer, f *checkpoint.File, c *fixture.Case) (fits bool, err error) {
	model, err := modelOf(c)
	if err != nil {
		return false, err
	}
	found, err := f.Against(model)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(w, "\nagainst %s, %s\n", c.Name, keysOf(c))
	prefixed := writeNaming(w, found, len(model))
	l := loadOf(f, model, found)
	if c.Op == fixture.MultiHead {
		l.leaveOut(w, f)
	}
	l.write(w, found)
	if len(found.Equal) > 0 {
		fmt.Fprintf(w, "  proves nothing, because every element is the same number: %s\n", namedAll(found.Equal))
	}
	differ := 0
	for _, finding := range found.Findings {
		differ += len(finding.Names)
	}
	switch {
	case prefixed || !l.succeeds():
		fmt.Fprintln(w, "it would not load")
	case differ > 0:
		fmt.Fprintf(w, "it would load; %d of %d parameters differ from the case's\n", differ, len(model))
	default:
		fmt.Fprintln(w, "it would load, and has the case's values")
		return true, nil
	}
	return false, nil
}

// keysOf names the keys of a case: the layout of a layer, or the class of a module.
func keysOf(c *fixture.Case) string {
	if c.Op == fixture.Module {
		return "module " + named(c.Module)
	}
	return attention.Recognized{ParamLayout: c.Layer.ParamLayout, Prefix: c.Layer.Prefix}.String()
}

// modelOf returns the parameters and buffers of a case.
func modelOf(c *fixture.Case) (map[string]checkpoint.Parameter, error) {
	arrays, err := c.StateArrays()
	if err != nil {
		return nil, err
	}
	model := map[string]checkpoint.Parameter{}
	for _, name := range slices.Sorted(maps.Keys(arrays)) {
		a := arrays[name]
		values, err := valuesOf(a)
		if err != nil {
			return nil, fmt.Errorf("state_dict.%s: %w", name, err)
		}
		model[name] = checkpoint.Parameter{DType: a.DType, Shape: a.Shape, Values: values}
	}
	return model, nil
}

// valuesOf returns the values of an array of any type as float64.
func valuesOf(a *npy.Array) ([]float64, error) {
	if a.DType.IsFloat() {
		return a.Float64s()
	}
	data, err := a.EncodeNPY()
	if err != nil {
		return nil, err
	}
	f, err := checkpoint.New(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	return f.Tensors[0].Float64s()
}

// writeNaming writes the prefix that one side has and the other lacks, and reports whether there is
// one.
func writeNaming(w io.Writer, found *checkpoint.Comparison, parameters int) bool {
	count := fmt.Sprintf("%d of %d parameters are", found.Named, parameters)
	if found.Named == parameters {
		count = "every parameter is"
	}
	switch n := found.Naming; {
	case n.File != "":
		fmt.Fprintf(w, "  %s there with the prefix %q: remove it from the keys\n", count, n.File)
	case n.Model != "":
		fmt.Fprintf(w, "  %s there without the prefix %q: add it to the keys\n", count, n.Model)
	case len(found.Undecided) > 0:
		fmt.Fprintf(w, "  %d prefixes fit the names, and the values fit none of them: %s\n",
			len(found.Undecided), shortened(found.Undecided))
		return true
	default:
		return false
	}
	return true
}

// shortened names the first of many names.
func shortened(names []string) string {
	const shown = 8
	if len(names) <= shown {
		return namedAll(names)
	}
	return fmt.Sprintf("%s and %d more", namedAll(names[:shown]), len(names)-shown)
}

// load lists why a strict load of a file fails, apart from a prefix.
type load struct {
	missing, unexpected []string
	outside             []string // without the prefix
	mismatched          int      // parameters of another shape, or of a type that cannot be read
}

func loadOf(f *checkpoint.File, model map[string]checkpoint.Parameter, found *checkpoint.Comparison) *load {
	l := &load{}
	known := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(model)) {
		t := f.Tensor(found.Naming.InFile(name))
		if t == nil {
			l.missing = append(l.missing, name)
			continue
		}
		known[t.Name] = true
		if !t.Readable() || !slices.Equal(t.Shape, model[name].Shape) {
			l.mismatched++
		}
	}
	for _, t := range f.Tensors {
		switch {
		case known[t.Name]:
		case strings.HasPrefix(t.Name, found.Naming.File):
			l.unexpected = append(l.unexpected, t.Name)
		default:
			l.outside = append(l.outside, t.Name)
		}
	}
	return l
}

// leaveOut drops tensors that are no floats from the unexpected ones, because the layers of this
// module have float parameters alone.
func (l *load) leaveOut(w io.Writer, f *checkpoint.File) {
	var left []string
	l.unexpected = slices.DeleteFunc(l.unexpected, func(name string) bool {
		if f.Tensor(name).DType.IsFloat() {
			return false
		}
		left = append(left, name)
		return true
	})
	if len(left) > 0 {
		fmt.Fprintf(w, "  left out, because parameters are floats: %s\n", shortened(left))
	}
}

func (l *load) succeeds() bool {
	return len(l.missing)+len(l.unexpected)+l.mismatched == 0
}

// write writes one line for each parameter, or for several with the same finding. Missing and
// unexpected keys that a finding explains are not listed again.
func (l *load) write(w io.Writer, found *checkpoint.Comparison) {
	explained := map[string]bool{}
	for _, name := range found.Explained {
		explained[name] = true
	}
	for _, finding := range found.Findings {
		for _, name := range finding.Names {
			explained[name] = true
		}
	}
	isExplained := func(name string) bool { return explained[name] }
	for _, list := range []struct {
		what  string
		names []string
	}{{"missing", l.missing}, {"unexpected", l.unexpected}} {
		names := slices.DeleteFunc(slices.Clone(list.names), isExplained)
		if len(names) > 0 {
			fmt.Fprintf(w, "  %s: %s\n", list.what, shortened(names))
		}
	}
	if len(l.outside) > 0 {
		fmt.Fprintf(w, "  without the prefix: %s\n", shortened(l.outside))
	}
	for _, finding := range found.Findings {
		fmt.Fprintf(w, "  %s: %s\n", namedAll(finding.Names), finding.Text)
	}
}

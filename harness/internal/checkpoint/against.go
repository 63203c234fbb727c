package checkpoint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/npy"
)

// Parameter is a parameter or a buffer of a model.
type Parameter struct {
	DType  npy.DType
	Shape  []int
	Values []float64
}

// Comparison tells how the tensors of a file stand to the parameters of a model.
type Comparison struct {
	Naming Naming

	// Undecided lists prefixes that fit as many names, if the values fit under none of them.
	Undecided []string

	// Named counts the parameters that the file has under the naming.
	Named int

	// Findings describe wrong and missing parameters, sorted by name. A missing parameter without
	// an explanation is not among them.
	Findings []Finding

	// Equal names parameters whose values are all the same number, in the file and in the model.
	// They agree, and prove nothing.
	Equal []string

	// Explained names tensors of the file that a finding takes for parameters of other names.
	Explained []string
}

// Finding describes wrong values of one parameter, or of several with the same error.
type Finding struct {
	Names []string
	Text  string
}

// Against compares the tensors of the file with the parameters of a model, by name and by value. A
// finding names what was done to a parameter only if all of its numbers show it: exchanged,
// transposed, rows in another order, part of a stack, w - 1 for w, the bits of another type.
// Numbers agree if a rounding of each, to its own type or to the narrower type that all of its
// tensor shows, can explain their distance.
func (f *File) Against(model map[string]Parameter) (*Comparison, error) {
	a := &against{
		file: f, names: slices.Sorted(maps.Keys(model)), params: map[string]numbers{},
		own: map[string]*Tensor{}, owner: map[*Tensor]string{}, right: map[string]bool{},
		arrays: map[*Tensor]numbers{}, exchanged: map[string]bool{}, explained: map[string]bool{},
	}
	for name, p := range model {
		a.params[name] = numbersOf(p.DType, p.Shape, p.Values)
	}
	var c Comparison
	var err error
	if c.Naming, c.Undecided, err = a.naming(); err != nil {
		return nil, err
	}
	if c.Equal, err = a.match(c.Naming); err != nil {
		return nil, err
	}
	c.Named = len(a.own)
	for _, name := range a.names {
		if a.right[name] || a.exchanged[name] {
			continue
		}
		finding, err := a.explain(name)
		if err != nil {
			return nil, err
		}
		if finding.Text != "" {
			c.add(finding)
		}
	}
	c.Explained = slices.Sorted(maps.Keys(a.explained))
	return &c, nil
}

// add adds a finding, or its names to an earlier one with the same text.
func (c *Comparison) add(finding Finding) {
	for i, earlier := range c.Findings {
		if earlier.Text == finding.Text {
			c.Findings[i].Names = append(earlier.Names, finding.Names...)
			return
		}
	}
	c.Findings = append(c.Findings, finding)
}

// against holds the parameters of a model by name, and the tensors of a file.
type against struct {
	file   *File
	names  []string
	params map[string]numbers

	own   map[string]*Tensor // the tensor of a parameter's name, nil if missing
	owner map[*Tensor]string
	right map[string]bool

	exchanged map[string]bool // parameters that a finding has named already
	explained map[string]bool // tensors

	arrays map[*Tensor]numbers // read, while they are few
	kept   int                 // elements in arrays
}

// mostKept bounds the elements that are kept in memory, as float64.
const mostKept = 1 << 27

// read returns the values of a tensor.
func (a *against) read(t *Tensor) (numbers, error) {
	if v, ok := a.arrays[t]; ok {
		return v, nil
	}
	values, err := t.Float64s()
	if err != nil {
		return numbers{}, err
	}
	v := numbersOf(t.DType, t.Shape, values)
	if a.kept += len(values); a.kept <= mostKept {
		a.arrays[t] = v
	}
	return v, nil
}

// match finds the tensor of each parameter by its name, and the parameters whose values are right.
// match returns the parameters with right values that consist of one repeated number.
func (a *against) match(n Naming) (equal []string, err error) {
	for _, name := range a.names {
		t := a.file.Tensor(n.InFile(name))
		if t == nil {
			t = a.file.Tensor(name)
		}
		if t == nil {
			continue
		}
		a.own[name], a.owner[t] = t, name
		if a.right[name], err = a.holds(t, name); err != nil {
			return nil, err
		}
		if want := a.params[name]; a.right[name] && len(want.values) > 1 && want.constant() {
			equal = append(equal, name)
		}
	}
	return equal, nil
}

// holds reports whether a tensor has the shape and the values of a parameter.
func (a *against) holds(t *Tensor, name string) (bool, error) {
	if !t.Readable() || !slices.Equal(t.Shape, a.params[name].shape) {
		return false, nil
	}
	got, err := a.read(t)
	return err == nil && got.equals(a.params[name]), err
}

// proves reports whether a tensor has the shape and the values of a parameter, and not by chance.
func (a *against) proves(t *Tensor, name string) (bool, error) {
	held, err := a.holds(t, name)
	if err != nil || !held {
		return false, err
	}
	got, err := a.read(t)
	return err == nil && a.params[name].tells(got.grain), err
}

// explain describes a parameter that is wrong or missing. Its text is empty if a missing parameter
// is nowhere.
func (a *against) explain(name string) (Finding, error) {
	t := a.own[name]
	if t != nil && !t.Readable() {
		return Finding{[]string{name}, fmt.Sprintf("its dtype is %s, which cannot be read", t.DType)}, nil
	}
	steps := []func(*Tensor, string) (string, error){
		a.other, a.arranged, a.otherArranged, a.elsewhere, a.partOf, a.madeOf, a.otherShape, a.otherNumbers,
	}
	if t == nil {
		steps = []func(*Tensor, string) (string, error){a.elsewhere, a.partOf, a.madeOf}
	}
	for _, step := range steps {
		text, err := step(t, name)
		if err != nil {
			return Finding{}, err
		}
		if names, ok := strings.CutPrefix(text, exchangedWith); ok {
			a.exchanged[names] = true
			pair := []string{name, names}
			slices.Sort(pair)
			return Finding{pair, "each has the values of the other: exchange the two keys"}, nil
		}
		if text != "" && t == nil {
			text = "it is missing; " + text
		}
		if text != "" {
			return Finding{[]string{name}, text}, nil
		}
	}
	return Finding{}, nil
}

// exchangedWith begins the text of other for two parameters that are exchanged.
const exchangedWith = "exchanged with "

// other recognises the values of another parameter.
func (a *against) other(t *Tensor, name string) (string, error) {
	for _, other := range a.names {
		if other == name {
			continue
		}
		found, err := a.proves(t, other)
		if err != nil {
			return "", err
		}
		if !found {
			continue
		}
		switch theirs := a.own[other]; {
		case a.right[other]:
			return fmt.Sprintf("it has the values of %s, which are under %s too: load its own", other, other), nil
		case theirs != nil:
			if back, err := a.proves(theirs, name); back || err != nil {
				return exchangedWith + other, err
			}
		}
		return fmt.Sprintf("it has the values of %s: save them under that key", other), nil
	}
	return "", nil
}

// arranged recognises the right values in another order, or less or more by 1.
func (a *against) arranged(t *Tensor, name string) (string, error) {
	got, err := a.read(t)
	if err != nil {
		return "", err
	}
	want := a.params[name]
	if text := rearranged(got, want); text != "" {
		return text, nil
	}
	if !slices.Equal(got.shape, want.shape) || !got.tells(want.grain) || !want.tells(got.grain) {
		return "", nil
	}
	switch {
	case got.shiftedBy(1, want):
		return "it is stored as w - 1, as Gemma stores the weights of norms: add 1", nil
	case got.shiftedBy(-1, want):
		return "it is stored as w + 1: subtract 1", nil
	}
	return "", nil
}

// otherArranged recognises the values of another parameter, transposed.
func (a *against) otherArranged(t *Tensor, name string) (string, error) {
	got, err := a.read(t)
	if err != nil || len(got.shape) != 2 {
		return "", err
	}
	for _, other := range a.names {
		want := a.params[other]
		if other == name || len(want.shape) != 2 {
			continue
		}
		if equalGrids(got.grid().transposed(), want.grid()) && want.tells(got.grain) {
			return fmt.Sprintf("it has the values of %s, transposed", other), nil
		}
	}
	return "", nil
}

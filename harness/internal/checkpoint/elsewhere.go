package checkpoint

import (
	"fmt"
	"slices"
)

// free reports whether a tensor is not the right one of its own name.
func (a *against) free(t *Tensor) bool {
	return t.Readable() && !a.right[a.owner[t]]
}

// elsewhere finds the values of a parameter under another name.
func (a *against) elsewhere(own *Tensor, name string) (string, error) {
	want, tied := a.params[name], ""
	for _, t := range a.file.Tensors {
		if t == own {
			continue
		}
		found, err := a.proves(t, name)
		if err != nil {
			return "", err
		}
		if found && a.free(t) {
			a.explained[t.Name] = true
			return fmt.Sprintf("%s has its values: rename that key", t.Name), nil
		}
		if found && tied == "" {
			tied = fmt.Sprintf("%s has its values too (tied weights): load them in both places", t.Name)
		}
		turned := []int{}
		if len(t.Shape) == 2 {
			turned = []int{t.Shape[1], t.Shape[0]}
		}
		if !a.free(t) || len(t.Shape) != 2 || !slices.Equal(turned, want.shape) {
			continue
		}
		got, err := a.read(t)
		if err != nil {
			return "", err
		}
		if equalGrids(got.grid().transposed(), want.grid()) && want.tells(got.grain) {
			a.explained[t.Name] = true
			return fmt.Sprintf("%s is its transpose: rename that key and transpose it", t.Name), nil
		}
	}
	return tied, nil
}

// partOf finds the values of a parameter in a larger tensor.
func (a *against) partOf(_ *Tensor, name string) (string, error) {
	want := a.params[name]
	for _, t := range a.file.Tensors {
		if !a.free(t) || !sharesSide(t.Shape, want.shape) {
			continue
		}
		got, err := a.read(t)
		if err != nil {
			return "", err
		}
		if p, found := findPart(name, want, got); found {
			a.explained[t.Name] = true
			return p.inside(t.Name), nil
		}
	}
	return "", nil
}

// madeOf finds smaller tensors that make up a parameter.
func (a *against) madeOf(_ *Tensor, name string) (string, error) {
	want := a.params[name]
	var parts []part
	for _, t := range a.file.Tensors {
		if !a.free(t) || !sharesSide(t.Shape, want.shape) {
			continue
		}
		got, err := a.read(t)
		if err != nil {
			return "", err
		}
		if p, found := findPart(t.Name, got, want); found {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return "", nil
	}
	parts, rows, covered := stack(parts, want.grid())
	for _, p := range parts {
		a.explained[p.name] = true
	}
	return stacked(parts, rows, covered), nil
}

// sharesSide reports whether one array may be a part of the other: both are vectors, or a side of
// one is a side of the other. It saves reading most tensors of a large file.
func sharesSide(a, b []int) bool {
	if len(a) < 2 || len(b) < 2 {
		return len(a) == 1 && len(b) == 1
	}
	lastA, lastB := a[len(a)-1], b[len(b)-1]
	return lastA == lastB || len(a) == 2 && a[0] == lastB || len(b) == 2 && b[0] == lastA ||
		len(a) == 2 && len(b) == 2 && a[0] == b[0]
}

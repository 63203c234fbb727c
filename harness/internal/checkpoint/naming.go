package checkpoint

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Naming relates the names in a file to a model's: a prefix on one side that the other side lacks,
// such as "model." and "module.".
type Naming struct {
	File  string // the prefix before each name in the file
	Model string // the prefix of each of the model's names that the file lacks
}

// InFile returns the name that the file has for a parameter.
func (n Naming) InFile(name string) string { return n.File + strings.TrimPrefix(name, n.Model) }

// naming finds the prefix under which the file has most parameters, at least half of them. If
// several fit, such as the layers of a model, or if it lacks some, the values decide. If several
// fit, and the values none of them, they are in undecided.
func (a *against) naming() (best Naming, undecided []string, err error) {
	votes := map[Naming]int{}
	for _, t := range a.file.Tensors {
		for prefix, rest := range cuts(t.Name) {
			if _, known := a.params[rest]; known {
				votes[Naming{File: prefix}]++
			}
		}
	}
	for _, name := range a.names {
		for prefix, rest := range cuts(name) {
			if prefix != "" && a.file.Tensor(rest) != nil {
				votes[Naming{Model: prefix}]++
			}
		}
	}
	most := 0
	for _, n := range votes {
		most = max(most, n)
	}
	if most == votes[Naming{}] {
		return Naming{}, nil, nil
	}
	// The layer with the right values may lack names that other layers have.
	maps.DeleteFunc(votes, func(n Naming, fit int) bool { return 2*fit < most || n == Naming{} })
	fitting := slices.SortedFunc(maps.Keys(votes), func(a, b Naming) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Model, b.Model))
	})
	if len(fitting) == 1 && most == len(a.names) {
		return fitting[0], nil, nil
	}
	most = 0
	for _, n := range fitting {
		right, err := a.rightUnder(n)
		if err != nil {
			return Naming{}, nil, err
		}
		if right > most {
			best, most = n, right
		}
		if votes[n] == len(a.names) {
			undecided = append(undecided, n.File+n.Model)
		}
	}
	if most > 0 || len(undecided) == 1 {
		undecided = nil
	}
	return best, undecided, nil
}

// rightUnder counts the parameters whose values the file proves to have under a naming.
func (a *against) rightUnder(n Naming) (int, error) {
	right := 0
	for _, name := range a.names {
		t := a.file.Tensor(n.InFile(name))
		if t == nil {
			continue
		}
		proven, err := a.proves(t, name)
		if err != nil {
			return 0, err
		}
		if proven {
			right++
		}
	}
	return right, nil
}

// cuts yields the ways to cut a name after a dot, and the whole name after an empty prefix.
func cuts(name string) map[string]string {
	pairs := map[string]string{"": name}
	for i := range name {
		if name[i] == '.' {
			pairs[name[:i+1]] = name[i+1:]
		}
	}
	return pairs
}

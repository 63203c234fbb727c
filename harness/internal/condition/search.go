package condition

import (
	"cmp"
	"slices"
	"strings"
)

// Table holds points with a number in each column, failing or passing.
type Table struct {
	Names  []string
	Points []Point
	// Apart reports whether two columns are not compared with each other; nil if all are.
	Apart func(x, y int) bool
}

// Point is one row of a table.
type Point struct {
	Values []int
	Failed bool
}

// Condition is a conjunction of atoms.
type Condition []Atom

// Holds reports whether a point has all properties.
func (c Condition) Holds(values []int) bool {
	return !slices.ContainsFunc(c, func(a Atom) bool { return !a.Holds(values) })
}

// Text returns the condition in the names of a table's columns.
func (c Condition) Text(names []string) string {
	if len(c) == 0 {
		return "always"
	}
	parts := make([]string, len(c))
	for i, a := range c {
		parts[i] = a.text(names)
	}
	return strings.Join(parts, " and ")
}

func (c Condition) cost() float64 {
	total := float64(len(c)) // a conjunction of fewer atoms is always cheaper
	for _, a := range c {
		total += a.cost()
	}
	return total
}

// moduli are the moduli of residues that the search tries.
var moduli = []int{2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 32, 48, 64, 96, 128, 256}

const (
	nearest    = 6  // bounds of a column that are tried on each side
	combined   = 90 // atoms that are combined with each other
	candidates = 60 // conditions that a search returns
)

// Search returns conditions that hold on every failing point and on no passing one, the simplest
// first. It returns nil if no conjunction of three atoms does, or if no point fails.
func (t *Table) Search() []Condition {
	var failing, passing []Point
	for _, p := range t.Points {
		if p.Failed {
			failing = append(failing, p)
		} else {
			passing = append(passing, p)
		}
	}
	switch {
	case len(failing) == 0:
		return nil
	case len(passing) == 0:
		return []Condition{{}}
	}
	atoms := t.useful(failing, passing)
	var found []Condition
	for size := 1; size <= 3 && len(found) == 0; size++ {
		found = combine(atoms, size, len(passing))
	}
	slices.SortStableFunc(found, func(a, b Condition) int { return cmp.Compare(a.cost(), b.cost()) })
	return found[:min(len(found), candidates)]
}

// judged is an atom that holds on every failing point, and the passing points that it excludes.
type judged struct {
	Atom
	excludes set
}

// useful returns the atoms that hold on every failing point and exclude a passing one.
func (t *Table) useful(failing, passing []Point) []judged {
	var atoms []judged
	for _, a := range t.atoms(failing, passing) {
		if slices.ContainsFunc(failing, func(p Point) bool { return !a.Holds(p.Values) }) {
			continue
		}
		j := judged{a, newSet(len(passing))}
		for i, p := range passing {
			if !a.Holds(p.Values) {
				j.excludes.add(i)
			}
		}
		if j.excludes.count() > 0 {
			atoms = append(atoms, j)
		}
	}
	slices.SortStableFunc(atoms, func(a, b judged) int { return cmp.Compare(a.cost(), b.cost()) })
	return atoms
}

// atoms returns every atom that the points suggest.
func (t *Table) atoms(failing, passing []Point) []Atom {
	var atoms []Atom
	for x := range t.Names {
		atoms = append(atoms, bounds(x, failing, passing)...)
		atoms = append(atoms, Atom{X: x, Kind: Power}, Atom{X: x, Kind: NoPower})
		for _, m := range moduli {
			r := failing[0].Values[x] % m
			atoms = append(atoms, Atom{X: x, Kind: Residue, Mod: m, N: r})
			for _, other := range []int{0, 1, m - 1} {
				if m > 2 {
					atoms = append(atoms, Atom{X: x, Kind: NoResidue, Mod: m, N: other})
				}
			}
		}
		for y := range t.Names {
			if x == y || t.Apart != nil && t.Apart(x, y) {
				continue
			}
			atoms = append(atoms, Atom{X: x, Y: y, Kind: Above}, Atom{X: x, Y: y, Kind: NotBelow},
				Atom{X: x, Y: y, Kind: Multiple}, Atom{X: x, Y: y, Kind: NoMultiple})
			if x < y {
				atoms = append(atoms, Atom{X: x, Y: y, Kind: Same}, Atom{X: x, Y: y, Kind: Different})
			}
		}
	}
	return atoms
}

// bounds returns intervals that hold all failing points. Between the nearest passing value and the
// first failing one the bound is not known: both ends are returned.
func bounds(x int, failing, passing []Point) []Atom {
	least, most := failing[0].Values[x], failing[0].Values[x]
	for _, p := range failing {
		least, most = min(least, p.Values[x]), max(most, p.Values[x])
	}
	var below, above []int
	for _, p := range passing {
		if v := p.Values[x]; v < least {
			below = append(below, v+1)
		} else if v > most {
			above = append(above, v-1)
		}
	}
	slices.Sort(below)
	slices.Sort(above)
	below, above = slices.Compact(below), slices.Compact(above)
	slices.Reverse(below)
	var atoms []Atom
	for _, v := range append([]int{least}, below[:min(len(below), nearest)]...) {
		atoms = append(atoms, Atom{X: x, Kind: AtLeast, N: v})
	}
	for _, v := range append([]int{most}, above[:min(len(above), nearest)]...) {
		if v == least {
			continue // the number itself, below
		}
		atoms = append(atoms, Atom{X: x, Kind: AtMost, N: v})
	}
	if least == most {
		atoms = append(atoms, Atom{X: x, Kind: Equals, N: least})
	}
	return atoms
}

// combine returns conjunctions of the given size that exclude all passing points.
func combine(atoms []judged, size, passing int) []Condition {
	if size > 1 && len(atoms) > combined {
		atoms = strongest(atoms)
	}
	var found []Condition
	var grow func(from int, c Condition, left set)
	grow = func(from int, c Condition, left set) {
		for i := from; i < len(atoms) && len(found) < 20*candidates; i++ {
			rest := left.without(atoms[i].excludes)
			own := append(slices.Clone(c), atoms[i].Atom)
			switch {
			case rest.count() == 0 && len(own) == size:
				found = append(found, own)
			case len(own) < size && rest.count() > 0 && rest.count() < left.count():
				grow(i+1, own, rest)
			}
		}
	}
	all := newSet(passing)
	for i := range passing {
		all.add(i)
	}
	grow(0, nil, all)
	return found
}

// strongest returns the atoms that exclude the most points, in the order of their costs. Of atoms
// that exclude the same points the first two stay.
func strongest(atoms []judged) []judged {
	kept, seen := []judged{}, map[string]int{}
	for _, a := range atoms {
		if seen[a.excludes.key()]++; seen[a.excludes.key()] <= 2 {
			kept = append(kept, a)
		}
	}
	counts := make([]int, len(kept))
	for i, a := range kept {
		counts[i] = a.excludes.count()
	}
	slices.Sort(counts)
	least := counts[max(0, len(counts)-combined)]
	kept = slices.DeleteFunc(kept, func(a judged) bool { return a.excludes.count() < least })
	return kept[:min(len(kept), 2*combined)]
}

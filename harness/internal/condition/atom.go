package condition

import (
	"fmt"
	"math"
	"math/bits"
)

// Atom is one property of a point: column X compared with a number, with a residue, or with another
// column.
type Atom struct {
	X    int // a column
	Kind Kind
	Y    int // a column, only of a kind that compares two columns
	N    int // a bound, a value or a residue
	Mod  int // the modulus of a residue
}

// Kind is the form of an atom.
type Kind int

// The kinds.
const (
	AtLeast    Kind = iota // x >= N
	AtMost                 // x <= N
	Equals                 // x = N
	Residue                // x mod Mod = N
	NoResidue              // x mod Mod != N
	Power                  // x is a power of two
	NoPower                // x is no power of two
	Above                  // x > y
	NotBelow               // x >= y
	Same                   // x = y
	Different              // x != y
	Multiple               // x mod y = 0
	NoMultiple             // x mod y != 0
)

// Holds reports whether a point has the property.
func (a Atom) Holds(values []int) bool {
	x := values[a.X]
	switch a.Kind {
	case AtLeast:
		return x >= a.N
	case AtMost:
		return x <= a.N
	case Equals:
		return x == a.N
	case Residue:
		return x%a.Mod == a.N
	case NoResidue:
		return x%a.Mod != a.N
	case Power:
		return isPower(x)
	case NoPower:
		return !isPower(x)
	}
	y := values[a.Y]
	switch a.Kind {
	case Above:
		return x > y
	case NotBelow:
		return x >= y
	case Same:
		return x == y
	case Different:
		return x != y
	case Multiple:
		return y != 0 && x%y == 0
	}
	return y != 0 && x%y != 0
}

func isPower(x int) bool { return x > 0 && bits.OnesCount(uint(x)) == 1 }

// text returns the atom in the names of its columns.
func (a Atom) text(names []string) string {
	x, y := names[a.X], ""
	if a.Kind >= Above {
		y = names[a.Y]
	}
	switch a.Kind {
	case AtLeast:
		return fmt.Sprintf("%s >= %d", x, a.N)
	case AtMost:
		return fmt.Sprintf("%s <= %d", x, a.N)
	case Equals:
		return fmt.Sprintf("%s = %d", x, a.N)
	case Residue:
		return fmt.Sprintf("%s mod %d = %d", x, a.Mod, a.N)
	case NoResidue:
		return fmt.Sprintf("%s mod %d != %d", x, a.Mod, a.N)
	case Power:
		return x + " is a power of two"
	case NoPower:
		return x + " is no power of two"
	case Above:
		return x + " > " + y
	case NotBelow:
		return x + " >= " + y
	case Same:
		return x + " = " + y
	case Different:
		return x + " != " + y
	case Multiple:
		return x + " mod " + y + " = 0"
	}
	return x + " mod " + y + " != 0"
}

// cost orders atoms from simple to contrived. Bounds beside a power of two are likely bounds of
// programs, and so are moduli that are powers of two.
func (a Atom) cost() float64 {
	cost := map[Kind]float64{
		AtLeast: 1, AtMost: 1.05, Equals: 1.1, Residue: 1.3, NoResidue: 1.2, Power: 1.5, NoPower: 1.5,
		Above: 1.3, NotBelow: 1.32, Same: 1.4, Different: 1.35, Multiple: 1.5, NoMultiple: 1.5,
	}[a.Kind]
	switch a.Kind {
	case AtLeast, AtMost, Equals:
		if !isPower(a.N) && !isPower(a.N-1) && !isPower(a.N+1) {
			cost += 0.1
		}
	case Residue, NoResidue:
		cost += math.Log2(float64(a.Mod)) / 50
		if !isPower(a.Mod) {
			cost += 0.1
		}
	}
	return cost + float64(a.X)/1000 + float64(a.Y)/5000
}

package catalogue

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// Number is a number that an implementation may have wrong, such as the base of RoPE. A search
// finds its value from an output.
type Number struct {
	ID    string   // "rope-base"
	Title string   // follows "the": "RoPE base"
	Fix   string   // where the right number comes from, a sentence
	Stage Stage    // the first step of the computation that it changes
	Refs  []string // the faults it covers, by their ids in testdata/faults.txt
	// Evidence is the address of a public report; empty if none was found.
	Evidence string
	// Alike names other changes that give the same output by their mathematics, a sentence; nil or
	// "" if there are none.
	Alike func(*oracle.Problem) string

	// Configured means that configurations have the number. Only such numbers are searched beside
	// another mistake.
	Configured bool
	// Usual lists values that configurations have. They are tried first.
	Usual []float64
	// Step restricts the number to multiples of it; 0 if the number is continuous.
	Step int
	// Added means that the number is added to something: 0 is right, and values have a sign. Other
	// continuous numbers are positive, and searched by their logarithm.
	Added bool
	// Periodic means that the error has several minima, so that the grid must be fine.
	Periodic bool
	// Vanishes means that every value below some bound gives the same output as 0 does. A number
	// without it is not named if the least or the greatest value of its range gives the output too.
	Vanishes bool

	// Get returns the number; false if the computation has none.
	Get func(*oracle.Problem) (float64, bool)
	// Set changes the number of a fork. It writes to nothing that the fork shares.
	Set func(fork *oracle.Problem, value float64)
	// Range returns the least and the greatest value to search.
	Range func(*oracle.Problem) (least, most float64)
}

// Numbers are the numbers that a search can find from an output.
var Numbers = slices.Concat(scoreNumbers, rotaryNumbers, positionNumbers, cacheNumbers)

// InModelsAlone returns a number that no computation of attention has.
func (n Number) InModelsAlone() Number {
	n.Get = rightIf(0, func(*oracle.Problem) bool { return false })
	return n
}

// NumberByID returns a number by its id, and whether there is one.
func NumberByID(id string) (Number, bool) {
	i := slices.IndexFunc(Numbers, func(n Number) bool { return n.ID == id })
	if i < 0 {
		return Number{}, false
	}
	return Numbers[i], true
}

// between is the range of a number that no problem limits.
func between(least, most float64) func(*oracle.Problem) (float64, float64) {
	return func(*oracle.Problem) (float64, float64) { return least, most }
}

// around is the range from the right number divided by a factor to the right number times it.
func around(get func(*oracle.Problem) (float64, bool), factor float64) func(*oracle.Problem) (float64, float64) {
	return func(p *oracle.Problem) (least, most float64) {
		right, _ := get(p)
		return right / factor, right * factor
	}
}

// rightIf returns the right value of a number that a problem has if a condition holds.
func rightIf(value float64, has func(*oracle.Problem) bool) func(*oracle.Problem) (float64, bool) {
	return func(p *oracle.Problem) (float64, bool) { return value, has(p) }
}

// Draw returns a random wrong value of a number that a problem has: a usual one, one up to 30 times
// as large or as small, or one of the whole numbers of its range. It returns false if the range
// holds the right value alone.
func (n Number) Draw(r *rand.Rand, p *oracle.Problem) (value float64, ok bool) {
	const factor, most, tries = 30, 3, 100
	right, _ := n.Get(p)
	least, greatest := n.Range(p)
	for range tries {
		value := right * math.Exp(2*math.Log(factor)*(r.Float64()-0.5))
		switch {
		case n.Step > 0:
			value = least + float64(n.Step*r.IntN(int(greatest-least)/n.Step+1))
		case n.Added:
			value = most * r.NormFloat64()
		case len(n.Usual) > 0 && r.IntN(3) == 0:
			value = n.Usual[r.IntN(len(n.Usual))]
		}
		if value != right && least <= value && value <= greatest {
			return value, true
		}
	}
	return 0, false
}

// Package catalogue holds the known ways to get attention wrong, each a small change to the oracle's
// problem. It says nothing of how they are recognised.
package catalogue

import (
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// Mistake is one known way to get attention wrong.
type Mistake struct {
	ID          string
	Title       string // follows "computed with"
	Explanation string // what goes wrong, a sentence
	Fix         string // what to do about it, a sentence
	Family      Family
	Kind        Kind
	Stage       Stage
	Needs       string   // what a case must have for the mistake to be made on it
	Refs        []string // the faults that it covers, by their number in the collection that was measured
	Evidence    string   // a public report of it; "" where none was found

	// Random mistakes draw values, so that their outputs cannot be replayed: only their size and
	// direction say something.
	Random bool

	// Lower is the arithmetic of a mistake that computes in fewer bits. Its errors are known in part
	// alone, so that its outputs cannot be replayed: that part of them is what tells it.
	Lower *oracle.Precision

	// Plant makes the mistake: it puts new arrays in the place of those that it changes, and writes to
	// none. It says false when the problem has nothing to get wrong so.
	Plant func(p *oracle.Problem, r *rand.Rand) bool
}

// Family is what a mistake is about.
type Family string

// The families, in the order of the catalogue.
const (
	Weights        Family = "weights"
	Biases         Family = "biases"
	Files          Family = "files"
	Heads          Family = "heads"
	Masks          Family = "masks"
	Scales         Family = "scales"
	Softmax        Family = "softmax"
	Scores         Family = "scores"
	RoPE           Family = "rope"
	KVCache        Family = "kv cache"
	ALiBi          Family = "alibi"
	RelativeBias   Family = "relative bias"
	QKNorm         Family = "qk norm"
	CrossAttention Family = "cross attention"

	Precision Family = "precision"
)

// Kind says what part of an implementation a mistake is in, and with that the class of a failure.
type Kind int

const (
	// Unloaded: no parameter is the state dict's.
	Unloaded Kind = iota
	// Parameters: some of them are not.
	Parameters
	// Missing: the parameters are right and a mask, the scale or the biases are missing.
	Missing
	// Altered: the parameters are right and the scores are computed, hidden or weighed in another way.
	Altered
	// Layout: the parameters are right and numbers stand in the wrong places.
	Layout
	// Rounded: everything is right to fewer bits.
	Rounded
)

// Stage is the first thing that a mistake changes.
type Stage int

// The stages, in the order of the computation. What comes before a mistake's stage can be shared with
// the right computation: see [oracle.Problem.Fork] and [oracle.Problem.ForkAfterContext].
const (
	Projection Stage = iota // inputs, parameters, or what becomes of queries, keys and values before they meet
	Score                   // scores, masks, softmax
	Context                 // what becomes of the context: heads merged, the output projection, the result
)

// Mistakes are all of them.
var Mistakes = slices.Concat(
	weights, biases, files, heads, masks, scales, softmaxes, scores, rotations, caches, slopes, relatives, norms, memories, precisions,
)

// Replayable says whether the mistake gives one output, to rounding, so that a subject's can be held
// against it.
func (m Mistake) Replayable() bool { return !m.Random && m.Lower == nil }

// Make returns a fork of p with the mistakes made one after the other, and reports whether each of
// them has something to get wrong there. The fork takes from a cached p whatever comes before the
// first mistake. Only random mistakes draw from r, which may be nil for others.
func Make(p *oracle.Problem, r *rand.Rand, mistakes ...Mistake) (*oracle.Problem, bool) {
	wrong := p.Fork()
	if !slices.ContainsFunc(mistakes, func(m Mistake) bool { return m.Stage != Context }) {
		wrong = p.ForkAfterContext()
	}
	for _, m := range mistakes {
		if !m.Plant(wrong, r) {
			return nil, false
		}
	}
	return wrong, true
}

// ByID finds a mistake.
func ByID(id string) (Mistake, bool) {
	i := slices.IndexFunc(Mistakes, func(m Mistake) bool { return m.ID == id })
	if i < 0 {
		return Mistake{}, false
	}
	return Mistakes[i], true
}

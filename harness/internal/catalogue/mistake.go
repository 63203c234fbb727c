// Package catalogue holds the known ways to get attention wrong, each as a small change to an
// [oracle.Problem]. Package diagnose recognises them.
//
// Each family has a file here, and a file with the same mistakes in PyTorch in pyref/planted. A
// mistake is one entry in its family's list. testdata/planted holds the outputs of PyTorch.
package catalogue

import (
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// Mistake is one known way to get attention wrong.
type Mistake struct {
	ID          string
	Title       string // follows "computed with"
	Explanation string // what goes wrong, in one or two sentences
	Fix         string // what to do or to look at, in one or two sentences
	Family      Family
	Kind        Kind
	Stage       Stage
	Needs       string   // what a case needs for the mistake to apply; empty if nothing
	Refs        []string // the faults it covers, by their ids in testdata/faults.txt
	Evidence    string   // the address of a public report; empty if none was found

	// Random mistakes draw values. Their outputs cannot be replayed: only their size and direction
	// can be recognised.
	Random bool

	// Lower is the arithmetic of a mistake that computes at a lower precision, nil for others. Its
	// outputs cannot be replayed either, but the known part of its errors can be recognised.
	Lower *oracle.Precision

	// OnTables reports whether Plant knows problems with an [oracle.Turn], which have no attention.
	// Any other mistake does not apply to them.
	OnTables bool

	// Variants are the same mistake with another number or in another form, such as another width
	// of a tile. Each has an id of its own. The catalogue's tests ask for two cases that see the
	// mistake itself; a variant may need a larger case.
	Variants []Mistake
	// VariantOf is the id of the mistake that has this one as a variant; empty if none has.
	VariantOf string

	// Plant changes p to make the mistake. It replaces the arrays that it changes, and never writes
	// into them. It reports whether the mistake applies to p; if not, p's output stays right.
	Plant func(p *oracle.Problem, r *rand.Rand) bool

	// Edit makes the mistake in the graph of a module. Mistakes with an Edit have no Plant.
	Edit graph.Edit
	// Joint edits change several nodes of a layer together. One of these nodes alone makes another
	// mistake.
	Joint bool
}

// plant is the type of [Mistake.Plant].
type plant = func(p *oracle.Problem, r *rand.Rand) bool

// Family groups mistakes by the part of attention that they are about.
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
	Precision      Family = "precision"

	Norm           Family = "norm"
	Activation     Family = "activation"
	MLP            Family = "mlp"
	Residual       Family = "residual"
	Embedding      Family = "embedding"
	Head           Family = "head"
	ModelAttention Family = "attention in a model"
	Linear         Family = "linear"
	Expert         Family = "expert"
	StateSpace     Family = "state space"
	Convolution    Family = "convolution"
	Pooling        Family = "pooling and interpolation"
	Recurrent      Family = "recurrent"
	LayerOrder     Family = "layer order"
	Schedule       Family = "schedule"
)

// Kind is the kind of damage that a mistake does. It decides the class of a failure.
type Kind int

const (
	// Unloaded mistakes have no parameter of the state dict.
	Unloaded Kind = iota
	// Parameters mistakes have some parameters that are not the state dict's.
	Parameters
	// Missing mistakes have the right parameters, but lack a mask, the scale, biases or another
	// part.
	Missing
	// Altered mistakes have the right parameters, but compute, mask or weight the scores
	// differently.
	Altered
	// Layout mistakes have the right parameters, but put numbers in the wrong places.
	Layout
	// Rounded mistakes are right to fewer bits.
	Rounded
)

// Stage is the first step of the computation that a mistake changes. Everything before it can be
// shared with the right computation: see [oracle.Problem.Fork] and
// [oracle.Problem.ForkAfterContext].
type Stage int

// The stages, in the order of the computation.
const (
	Projection Stage = iota // inputs, parameters, and queries, keys and values before the scores
	Score                   // scores, masks, softmax
	Context                 // merging the heads, the output projection, the result
)

// Mistakes lists all mistakes, by family.
var Mistakes = slices.Concat(
	weights,
	biases,
	files,
	heads,
	masks,
	scales,
	softmax,
	scores,
	rope,
	kvCache,
	alibi,
	relativeBias,
	qkNorm,
	crossAttention,
	precision,
)

// Replayable reports whether the mistake has a single output, up to rounding, with which a
// subject's output can be compared.
func (m Mistake) Replayable() bool { return !m.Random && m.Lower == nil }

// Make plants the mistakes, one after the other, in a fork of p. It returns nil and false if one of
// them does not apply. Mistakes in whole models do not apply to any problem. A fork of a cached p
// reuses everything that comes before the first mistake. Only random mistakes draw from r; it may
// be nil for others.
func Make(p *oracle.Problem, r *rand.Rand, mistakes ...Mistake) (*oracle.Problem, bool) {
	wrong := p.Fork()
	if !slices.ContainsFunc(mistakes, func(m Mistake) bool { return m.Stage != Context }) {
		wrong = p.ForkAfterContext()
	}
	for _, m := range mistakes {
		if m.Plant == nil || p.Turn != nil && !m.OnTables || !m.Plant(wrong, r) {
			return nil, false
		}
	}
	return wrong, true
}

// WithVariants lists all mistakes by family, each followed by its variants.
var WithVariants = func() (all []Mistake) {
	for _, m := range Mistakes {
		all = append(append(all, m), m.Variants...)
	}
	return all
}()

// ByID returns the mistake or the variant with the given id, and whether there is one.
func ByID(id string) (Mistake, bool) {
	i := slices.IndexFunc(WithVariants, func(m Mistake) bool { return m.ID == id })
	if i < 0 {
		return Mistake{}, false
	}
	return WithVariants[i], true
}

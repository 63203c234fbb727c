package fit

import "github.com/difftest/difftest/harness/internal/oracle"

// Projection is one of the four linear maps of a layer.
type Projection int

// The projections, in the order of [oracle.Layer.Projections].
const (
	QueryProjection Projection = iota
	KeyProjection
	ValueProjection
	OutputProjection
)

var allProjections = []Projection{QueryProjection, KeyProjection, ValueProjection, OutputProjection}

// String returns the projection's name: "query".
func (m Projection) String() string { return [...]string{"query", "key", "value", "output"}[m] }

// headsOf returns the number of heads that a projection serves.
func headsOf(l *oracle.Layer, m Projection) int {
	if m == KeyProjection || m == ValueProjection {
		return l.KVHeads
	}
	return l.Heads
}

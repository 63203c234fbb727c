package catalogue

import (
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// queryCount is L.
func queryCount(p *oracle.Problem) int { return p.Query.Shape[len(p.Query.Shape)-2] }

// keyCount is S, with cached keys and without appended ones.
func keyCount(p *oracle.Problem) int {
	n := p.Key.Shape[len(p.Key.Shape)-2]
	if p.Past != nil {
		n += p.Past.Key.Shape[2]
	}
	return n
}

// appended counts the keys that stand behind all others and are seen by every query.
func appended(p *oracle.Problem) int {
	n := 0
	if p.Layer != nil && p.Layer.LearnedKey != nil {
		n++
	}
	if p.Layer != nil && p.Layer.ZeroKey {
		n++
	}
	return n
}

// headCount is H, of the queries.
func headCount(p *oracle.Problem) int {
	if p.Layer != nil {
		return p.Layer.Heads
	}
	return p.Query.Shape[len(p.Query.Shape)-3]
}

// headWidth is E, of queries and keys.
func headWidth(p *oracle.Problem) int {
	if p.Layer != nil {
		return p.Layer.Query.Out / p.Layer.Heads
	}
	return num.Last(p.Query.Shape)
}

// modelWidth is D; a function has what its heads are together.
func modelWidth(p *oracle.Problem) int {
	if p.Layer != nil {
		return num.Last(p.Query.Shape)
	}
	return headCount(p) * headWidth(p)
}

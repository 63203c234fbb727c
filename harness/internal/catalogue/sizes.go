package catalogue

import (
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// batchSize returns B. For a function it is the product of all dimensions before the heads.
func batchSize(p *oracle.Problem) int {
	if p.Layer != nil {
		return p.Query.Shape[0]
	}
	return num.Size(p.Query.Shape[:len(p.Query.Shape)-3])
}

// queryCount returns L, the number of queries.
func queryCount(p *oracle.Problem) int { return p.Query.Shape[len(p.Query.Shape)-2] }

// keyCount returns S, the number of keys: cached and new ones, but no appended ones.
func keyCount(p *oracle.Problem) int { return p.Key.Shape[len(p.Key.Shape)-2] + pastCount(p) }

// pastCount returns P, the number of cached keys.
func pastCount(p *oracle.Problem) int {
	if p.Past == nil {
		return 0
	}
	return p.Past.Key.Shape[len(p.Past.Key.Shape)-2]
}

// appendedCount returns the number of keys appended after all others: bias_k and add_zero_attn.
// Every query sees them.
func appendedCount(p *oracle.Problem) int {
	n := 0
	if p.Layer != nil && p.Layer.LearnedKey != nil {
		n++
	}
	if p.Layer != nil && p.Layer.ZeroKey {
		n++
	}
	return n
}

// headCount returns H, the number of query heads.
func headCount(p *oracle.Problem) int {
	if p.Layer != nil {
		return p.Layer.Heads
	}
	return p.Query.Shape[len(p.Query.Shape)-3]
}

// kvHeadCount returns Hk, the number of key and value heads.
func kvHeadCount(p *oracle.Problem) int {
	if p.Layer != nil {
		return p.Layer.KVHeads
	}
	return p.Key.Shape[len(p.Key.Shape)-3]
}

// headWidth returns E, the number of features in a query or key head.
func headWidth(p *oracle.Problem) int {
	if p.Layer != nil {
		return layerHeadWidth(p.Layer)
	}
	return num.Last(p.Query.Shape)
}

// layerHeadWidth returns E of a layer.
func layerHeadWidth(l *oracle.Layer) int { return l.Query.Out / l.Heads }

// modelWidth returns D. For a function it is H*E.
func modelWidth(p *oracle.Problem) int {
	if p.Layer != nil {
		return num.Last(p.Query.Shape)
	}
	return headCount(p) * headWidth(p)
}

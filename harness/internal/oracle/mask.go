package oracle

import "github.com/difftest/difftest/harness/internal/num"

// Mask tells which keys each query of a head sees.
type Mask struct {
	Queries, Keys int
	Sees          []bool // (Queries, Keys)
}

// Masks returns the mask of the first head of every batch element. It returns nil for a rotation,
// which has no keys, and if a mask would have more elements than the limit.
func (p *Problem) Masks(limit int) []Mask {
	if p.Turn != nil {
		return nil
	}
	scores := p.scores()
	if num.Size(scores[len(scores)-2:]) > limit {
		return nil
	}
	m := p.masks(num.Last(scores))
	var all []Mask
	for n := 0; n < num.Size(scores[:len(scores)-2]); n += m.heads {
		mask := Mask{Queries: m.queries, Keys: m.keys}
		for i := range m.queries {
			v := m.viewer(n, i)
			for j := range m.keys {
				mask.Sees = append(mask.Sees, m.sees(&v, j))
			}
		}
		all = append(all, mask)
	}
	return all
}

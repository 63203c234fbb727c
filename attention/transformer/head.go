package transformer

import (
	"math"

	"github.com/difftest/difftest/attention"
)

// head turns hidden states into logits.
type head struct {
	linear  *linear // shares its weight with the tokens' table if the head is tied
	softcap float64 // c in c * tanh(logit / c), 0 for none
}

// tiedHead adds a head (V, D). Tied, its weight is the table of the tokens under a second name.
func (s scope) tiedHead(tied bool, table *attention.Tensor) *linear {
	if tied {
		return &linear{weight: s.share("weight", table)}
	}
	return s.linear(table.Shape[1], table.Shape[0], withoutBias)
}

// cap is pass 7: logits are bent so that none is beyond the softcap, in place.
func (h *head) cap(logits *attention.Tensor) {
	if h.softcap == 0 {
		return
	}
	for i, v := range logits.Data {
		logits.Data[i] = float32(h.softcap * math.Tanh(float64(v)/h.softcap))
	}
}

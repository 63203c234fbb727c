package oracle

import "sync"

// sight is the keys that a query sees. Nobody may write to its arrays.
type sight struct {
	once   sync.Once
	keys   []int
	masked []bool
	spans  []span
}

// span is a span of n keys side by side. first is the index of its first key in row.keys, key the
// index among all keys.
type span struct{ first, key, n int }

// spansOf joins neighbouring keys into spans, appended to memory.
func spansOf(keys []int, memory []span) []span {
	for n, j := range keys {
		if last := len(memory) - 1; last >= 0 && memory[last].key+memory[last].n == j {
			memory[last].n++
			continue
		}
		memory = append(memory, span{n, j, 1})
	}
	return memory
}

// sightOf returns the keys that take part for a query of a head, which all heads of a batch element
// share.
func (c *core) sightOf(head, query int) *sight {
	s := &c.sights[head/c.masks.heads*c.masks.queries+query]
	s.once.Do(func() {
		s.keys, s.masked = c.masks.visible(head, query, make([]int, 0, c.masks.all), make([]bool, 0, c.masks.all))
		s.spans = spansOf(s.keys, nil)
	})
	return s
}

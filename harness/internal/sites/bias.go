package sites

import "math"

// slopes returns ALiBi's slopes, one for each head, or nil if the bias is not a slope times the
// distance of query and key. A number beside it that is the same for a whole row has no effect.
func (m *scoresMask) slopes(offset int) []float64 {
	if m.bias == nil {
		return nil
	}
	slopes, last, fits := make([]float64, m.heads), -1, true
	lastDistance := 0.0
	m.each(func(at, _, h, i, j int) {
		distance := math.Abs(float64(j - i - offset))
		if j == 0 {
			last = -1
		}
		if !m.sees[at] {
			return
		}
		if last >= 0 {
			fell := m.bias[last] - m.bias[at]
			if slopes[h] == 0 && distance != lastDistance {
				slopes[h] = fell / (distance - lastDistance)
			}
			off := math.Abs(fell - slopes[h]*(distance-lastDistance))
			fits = fits && off <= 1e-9*(1+math.Abs(m.bias[at]))
		}
		last, lastDistance = at, distance
	})
	for _, slope := range slopes {
		fits = fits && slope > 0
	}
	if !fits {
		return nil
	}
	return slopes
}

// relative returns the bias as a table by the distance of key and query, (2R+1, heads), nil if it is
// no such table. Too few queries fit by chance.
func (m *scoresMask) relative(offset int) []float64 {
	const minQueries = 3
	if m.bias == nil || m.queries < minQueries {
		return nil
	}
	reach := max(m.keys, m.queries+offset) - 1
	table, seen := make([]float64, (2*reach+1)*m.heads), make([]bool, (2*reach+1)*m.heads)
	fits := true
	m.each(func(at, _, h, i, j int) {
		if !m.known[at] {
			return
		}
		place := (j-i-offset+reach)*m.heads + h
		if !seen[place] {
			table[place], seen[place] = m.bias[at], true
		}
		fits = fits && math.Abs(table[place]-m.bias[at]) <= 1e-12*(1+math.Abs(m.bias[at]))
	})
	if !fits {
		return nil
	}
	return table
}

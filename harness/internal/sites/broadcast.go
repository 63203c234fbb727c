package sites

// broadcast maps places in a shape to places in an array that is broadcast to it.
type broadcast struct{ shape, steps []int }

func newBroadcast(from, to []int) broadcast {
	b := broadcast{shape: to, steps: make([]int, len(to))}
	step := 1
	for back := 1; back <= len(from); back++ {
		if n := from[len(from)-back]; n > 1 {
			b.steps[len(to)-back] = step
			step *= n
		}
	}
	return b
}

func (b broadcast) index(place int) int {
	index := 0
	for d := len(b.shape) - 1; d >= 0; d-- {
		index += place % b.shape[d] * b.steps[d]
		place /= b.shape[d]
	}
	return index
}

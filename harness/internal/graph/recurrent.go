package graph

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/num"
)

// layer is a recurrent layer on an input of shape (time, batch, features). Its weights have a
// block of rows for each gate.
type layer[T Float] struct {
	x                  *Tensor[T]
	w, u, b, c         *Tensor[T] // of the input and the state, and their biases or nil
	steps, batch, size int
	gates              int
	reverse            bool
}

// layerOf checks the shapes of a recurrent layer.
func layerOf[T Float](n *Node, x *Tensor[T], weights []*Tensor[T], gates int) (*layer[T], error) {
	l := &layer[T]{x: x, w: weights[0], u: weights[1], b: weights[2], c: weights[3]}
	if len(x.Shape) != 3 || len(l.w.Shape) != 2 || len(l.u.Shape) != 2 {
		return nil, fmt.Errorf("a recurrent layer on %v with weights %v and %v", x.Shape, l.w.Shape, l.u.Shape)
	}
	l.steps, l.batch, l.size = x.Shape[0], x.Shape[1], l.u.Shape[1]
	l.gates, l.reverse = gates, n.Attributes.Reverse
	rows := gates * l.size
	if !slices.Equal(l.w.Shape, []int{rows, x.Shape[2]}) || l.u.Shape[0] != rows {
		return nil, fmt.Errorf("weights %v and %v for %d gates on %v", l.w.Shape, l.u.Shape, gates, x.Shape)
	}
	for _, bias := range weights[2:] {
		if bias != nil && !slices.Equal(bias.Shape, []int{rows}) {
			return nil, fmt.Errorf("bias of shape %v for %d rows", bias.Shape, rows)
		}
	}
	return l, nil
}

// state returns a copy of a first state, zeros if it is absent.
func (l *layer[T]) state(t *Tensor[T]) ([]T, error) {
	if t == nil {
		return make([]T, l.batch*l.size), nil
	}
	if !slices.Equal(t.Shape, []int{l.batch, l.size}) {
		return nil, fmt.Errorf("a state of shape %v, want %v", t.Shape, []int{l.batch, l.size})
	}
	return slices.Clone(t.Data), nil
}

// fromInput returns the products of one step's input, with their bias, for a batch element.
func (l *layer[T]) fromInput(step, batch int) []T {
	width := l.x.Shape[2]
	x := l.x.Data[(step*l.batch+batch)*width:][:width]
	return products(l.w, x, l.b)
}

// fromState returns the products of the state of a batch element, with their bias.
func (l *layer[T]) fromState(state []T) []T { return products(l.u, state, l.c) }

// products returns a matrix times a vector, plus a bias.
func products[T Float](w *Tensor[T], x []T, bias *Tensor[T]) []T {
	out := make([]T, w.Shape[0])
	for i := range out {
		out[i] = dot(x, w.Data[i*len(x):(i+1)*len(x)], 1)
		if bias != nil {
			out[i] += bias.Data[i]
		}
	}
	return out
}

// run calls step for each time and batch element, in the layer's direction, and returns what step
// gives.
func (l *layer[T]) run(step func(time, batch int) []T) (*Tensor[T], error) {
	out, err := New[T]([]int{l.steps, l.batch, l.size})
	if err != nil {
		return nil, err
	}
	for i := range l.steps {
		time := i
		if l.reverse {
			time = l.steps - 1 - i
		}
		for b := range l.batch {
			copy(out.Data[(time*l.batch+b)*l.size:], step(time, b))
		}
	}
	return out, nil
}

// order returns the place of each gate of `standard` in the weights.
func order(gates, standard string) ([]int, error) {
	places := make([]int, len(standard))
	for i, gate := range standard {
		places[i] = strings.IndexRune(gates, gate)
		if places[i] < 0 || len(gates) != len(standard) {
			return nil, fmt.Errorf("gates: %.200q, want an order of %.200q", gates, standard)
		}
	}
	return places, nil
}

// lstm computes one layer of torch.nn.LSTM in one direction, and returns its hidden states.
func lstm[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	return longShort(n, in, func(hidden, _ []T) []T { return hidden })
}

// lstmCells returns the cells of such a layer.
func lstmCells[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	return longShort(n, in, func(_, cells []T) []T { return cells })
}

func longShort[T Float](n *Node, in []*Tensor[T], give func(hidden, cells []T) []T) (*Tensor[T], error) {
	l, err := layerOf(n, in[0], in[3:], 4)
	if err != nil {
		return nil, err
	}
	at, err := order(n.Attributes.Gates, "ifgo")
	if err != nil {
		return nil, err
	}
	hiddens, err := l.state(in[1])
	if err != nil {
		return nil, err
	}
	cells, err := l.state(in[2])
	if err != nil {
		return nil, err
	}
	return l.run(func(time, batch int) []T {
		h, c := hiddens[batch*l.size:][:l.size], cells[batch*l.size:][:l.size]
		x, u := l.fromInput(time, batch), l.fromState(h)
		gate := func(g, j int) float64 { return float64(x[at[g]*l.size+j] + u[at[g]*l.size+j]) }
		for j := range h {
			input, forget, output := T(num.Sigmoid(gate(0, j))), T(num.Sigmoid(gate(1, j))), T(num.Sigmoid(gate(3, j)))
			c[j] = forget*c[j] + input*T(math.Tanh(gate(2, j)))
			h[j] = output * T(math.Tanh(float64(c[j])))
		}
		return give(h, c)
	})
}

// gru computes one layer of torch.nn.GRU in one direction. The reset gate acts after the product
// with the state, as in PyTorch, or before it, on the state.
func gru[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	l, err := layerOf(n, in[0], in[2:], 3)
	if err != nil {
		return nil, err
	}
	at, err := order(n.Attributes.Gates, "rzn")
	if err != nil {
		return nil, err
	}
	before := n.Attributes.Reset == "before"
	if !before && n.Attributes.Reset != "after" {
		return nil, fmt.Errorf("reset: %.200q, want after or before", n.Attributes.Reset)
	}
	state, err := l.state(in[1])
	if err != nil {
		return nil, err
	}
	return l.run(func(time, batch int) []T {
		h := state[batch*l.size:][:l.size]
		x, u := l.fromInput(time, batch), l.fromState(h)
		gate := func(g, j int) T { return T(num.Sigmoid(float64(x[at[g]*l.size+j] + u[at[g]*l.size+j]))) }
		reset := make([]T, l.size)
		for j := range h {
			reset[j] = gate(0, j)
		}
		candidate := u[at[2]*l.size:][:l.size]
		if before {
			scaled := make([]T, l.size)
			for j := range h {
				scaled[j] = reset[j] * h[j]
			}
			candidate = l.fromState(scaled)[at[2]*l.size:][:l.size]
		}
		for j := range h {
			if !before {
				candidate[j] *= reset[j]
			}
			update, new := gate(1, j), T(math.Tanh(float64(x[at[2]*l.size+j]+candidate[j])))
			h[j] = (1-update)*new + update*h[j]
		}
		return h
	})
}

// rnn computes one layer of torch.nn.RNN in one direction.
func rnn[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	l, err := layerOf(n, in[0], in[2:], 1)
	if err != nil {
		return nil, err
	}
	f, ok := map[string]func(float64) float64{
		"tanh": math.Tanh,
		"relu": func(x float64) float64 { return max(x, 0) },
	}[n.Attributes.Function]
	if !ok {
		return nil, fmt.Errorf("function: %.200q, want tanh or relu", n.Attributes.Function)
	}
	state, err := l.state(in[1])
	if err != nil {
		return nil, err
	}
	return l.run(func(time, batch int) []T {
		h := state[batch*l.size:][:l.size]
		x, u := l.fromInput(time, batch), l.fromState(h)
		for j := range h {
			h[j] = T(f(float64(x[j] + u[j])))
		}
		return h
	})
}

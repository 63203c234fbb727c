package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

const gateOrder = "PyTorch stores the gates of an LSTM as i, f, g, o, and the gates of a GRU as r, z, n."

// recurrent holds mistakes with LSTM, GRU and plain recurrent layers.
var recurrent = []catalogue.Mistake{
	gateMistake("lstm-gates-onnx", "iofg", "the gates of the LSTM as ONNX orders them",
		"The blocks of the weights were read as input, output, forget, cell."),
	gateMistake("lstm-gates-tensorflow", "igfo", "the gates of the LSTM as TensorFlow orders them",
		"The blocks of the weights were read as input, cell, forget, output."),
	gateMistake("lstm-gates-coreml", "ifog", "the gates of the LSTM as Core ML orders them",
		"The blocks of the weights were read as input, forget, output, cell."),
	gateMistake("gru-gates-keras", "zrn", "the gates of the GRU as Keras and ONNX order them",
		"The blocks of the weights were read as update, reset, new."),
	{
		ID: "gru-reset-before", Title: "the reset gate of the GRU before the product", Family: catalogue.Recurrent, Kind: catalogue.Altered,
		Explanation: "The state was multiplied by the reset gate, then by its weight.",
		Fix:         "Multiply W h + b by the reset gate: reset_after, linear_before_reset = 1.",
		Refs:        []string{"R05"},
		Edit:        resetSet("before"),
	},
	{
		ID: "gru-reset-after", Title: "the reset gate of the GRU behind the product", Family: catalogue.Recurrent, Kind: catalogue.Altered,
		Explanation: "W h + b was multiplied by the reset gate.",
		Fix:         "Multiply the state by the reset gate first: reset_after is False, linear_before_reset = 0.",
		Refs:        []string{"R05"},
		Edit:        resetSet("after"),
	},
	{
		ID: "recurrent-input-bias-missing", Title: "the input biases of recurrent layers left out", Family: catalogue.Recurrent, Kind: catalogue.Parameters,
		Explanation: "Only the bias of the state is added.",
		Fix:         "Load bias_ih and bias_hh, and add both.",
		Refs:        []string{"R03"},
		Edit:        biasesSet(func(d *draft, b, c graph.Operand) (x, y graph.Operand) { return graph.None, c }),
	},
	{
		ID: "recurrent-state-bias-missing", Title: "the state biases of recurrent layers left out", Family: catalogue.Recurrent, Kind: catalogue.Parameters,
		Explanation: "Only the bias of the input is added.",
		Fix:         "Load bias_ih and bias_hh, and add both.",
		Refs:        []string{"R03", "R06"},
		Edit:        biasesSet(func(d *draft, b, c graph.Operand) (x, y graph.Operand) { return b, graph.None }),
	},
	{
		ID: "recurrent-biases-exchanged", Title: "the biases of recurrent layers exchanged", Family: catalogue.Recurrent, Kind: catalogue.Parameters,
		Explanation: "The bias of the input is added to the products of the state, and the reverse.",
		Fix:         "bias_ih belongs to the input, bias_hh to the state.",
		Refs:        []string{"R03"},
		Edit:        biasesSet(func(d *draft, b, c graph.Operand) (x, y graph.Operand) { return c, b }),
	},
	{
		ID: "recurrent-biases-twice", Title: "the biases of recurrent layers added twice", Family: catalogue.Recurrent, Kind: catalogue.Parameters,
		Explanation: "The sum of both biases was loaded as each of them.",
		Fix:         "Load bias_ih and bias_hh one by one, or their sum once.",
		Refs:        []string{"R03"},
		Edit: biasesSet(func(d *draft, b, c graph.Operand) (x, y graph.Operand) {
			sum := d.op("add", d.v.Shape(b), b, c)
			return sum, sum
		}),
	},
	{
		ID: "lstm-forget-bias-added", Title: "1 added to the forget gate of the LSTM", Family: catalogue.Recurrent, Kind: catalogue.Altered,
		Explanation: "The cell adds a forget bias of 1, as cells of TensorFlow do.",
		Fix:         "Set forget_bias to 0: the weights have it already.",
		Refs:        []string{"R04"},
		Edit: onlyIf(isLSTM, func(v *graph.View, n graph.Node) []graph.Node {
			at := len(n.Operands) - 2
			if n.Operands[at].Absent {
				return nil
			}
			d, shape := newDraft(v, n), v.Shape(n.Operands[at])
			size := shape[0] / 4
			forget := d.op("add", []int{size}, d.slice(n.Operands[at], shape, 0, size, 2*size), graph.Number(1))
			joined := n.Become("cat", d.slice(n.Operands[at], shape, 0, 0, size), forget,
				d.slice(n.Operands[at], shape, 0, 2*size, 4*size))
			return d.end(n.Put(at, d.put(shape, joined)))
		}),
	},
	{
		ID: "recurrent-state-not-carried", Title: "a state that is not carried from step to step", Family: catalogue.Recurrent, Kind: catalogue.Missing,
		Explanation: "Each step starts with zeros.",
		Fix:         "Give each step the state of the step before.",
		Refs:        []string{"R07"},
		Edit: onlyIf(isRecurrent, func(v *graph.View, n graph.Node) []graph.Node {
			d, x := newDraft(v, n), v.Shape(n.Operands[0])
			alone := d.reshape(n.Operands[0], 1, x[0]*x[1], x[2])
			flat := []int{1, x[0] * x[1], n.Shape[2]}
			return d.end(n.Pass(d.put(flat, withoutStates(n).Put(0, alone))))
		}),
	},
	{
		ID: "lstm-states-exchanged", Title: "the hidden state and the cell of the LSTM exchanged", Family: catalogue.Recurrent, Kind: catalogue.Parameters,
		Explanation: "The first hidden state was given as the first cell, and the reverse.",
		Fix:         "The states are (h, c) in PyTorch.",
		Refs:        []string{"R09"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if !isLSTM(v, n) || n.Operands[1] == n.Operands[2] {
				return nil
			}
			return nodes(n.Put(1, n.Operands[2]).Put(2, n.Operands[1]))
		},
	},
	{
		ID: "recurrent-reverse-not-flipped", Title: "the output of the reverse direction not turned back", Family: catalogue.Recurrent, Kind: catalogue.Layout,
		Explanation: "The first output of the reverse direction is the output of the last step.",
		Fix:         "Reverse the output of the reverse direction before joining it with the other.",
		Refs:        []string{"R10"},
		Edit: onlyIf(isRecurrent, func(v *graph.View, n graph.Node) []graph.Node {
			if !n.Attributes.Reverse || n.Shape[0] > maxOrder {
				return nil
			}
			d := newDraft(v, n)
			return d.end(n.Pass(d.flip(d.put(n.Shape, n), n.Shape, 0)))
		}),
	},
	{
		ID: "recurrent-directions-exchanged", Title: "the two directions joined in the other order", Family: catalogue.Recurrent, Kind: catalogue.Layout,
		Explanation: "The features of the reverse direction come first.",
		Fix:         "Join the forward direction, then the reverse one.",
		Refs:        []string{"R11"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "cat" || len(n.Operands) != 2 {
				return nil
			}
			first, second := v.Maker(n.Operands[0]), v.Maker(n.Operands[1])
			if first == nil || second == nil || !isRecurrent(v, *first) || !isRecurrent(v, *second) ||
				first.Attributes.Reverse == second.Attributes.Reverse || n.Attributes.Dim != 2 {
				return nil
			}
			return nodes(n.With(n.Operands[1], n.Operands[0]))
		},
	},
	{
		ID: "recurrent-batch-as-time", Title: "batch and time exchanged in recurrent layers", Family: catalogue.Recurrent, Kind: catalogue.Layout,
		Explanation: "The layer goes from one sequence to the next, not from step to step.",
		Fix:         "Set batch_first to what the input has: (batch, time, features) or (time, batch, features).",
		Refs:        []string{"R12"},
		Edit: onlyIf(isRecurrent, func(v *graph.View, n graph.Node) []graph.Node {
			d, x := newDraft(v, n), v.Shape(n.Operands[0])
			turned := d.permute(n.Operands[0], x, 1, 0, 2)
			shape := []int{x[1], x[0], n.Shape[2]}
			result := d.put(shape, withoutStates(n).Put(0, turned))
			return d.end(n.Become("permute", result).Set(func(a *graph.Attributes) { a.Dims = []int{1, 0, 2} }))
		}),
	},
	{
		ID: "rnn-relu", Title: "ReLU for tanh in recurrent layers", Family: catalogue.Recurrent, Kind: catalogue.Altered,
		Explanation: "The state goes through ReLU.",
		Fix:         "Use tanh: nonlinearity.",
		Refs:        []string{"R14"},
		Edit: where(func(_ *graph.View, n graph.Node) bool { return n.Op == "rnn" && n.Attributes.Function == "tanh" },
			func(n graph.Node) graph.Node { return n.Set(func(a *graph.Attributes) { a.Function = "relu" }) }),
	},
}

var (
	isLSTM      = isOp("lstm", "lstm_cells")
	isRecurrent = isOp("lstm", "gru", "rnn")
)

// gateMistake returns the mistake of weights whose gates are read in another order than PyTorch's.
func gateMistake(id, order, title, explanation string) catalogue.Mistake {
	ref, standard := "R01", "ifgo"
	if len(order) == 3 {
		ref, standard = "R02", "rzn"
	}
	fits := func(_ *graph.View, n graph.Node) bool { return n.Attributes.Gates == standard }
	return catalogue.Mistake{
		ID: id, Title: title, Explanation: explanation, Fix: gateOrder,
		Family: catalogue.Recurrent, Kind: catalogue.Layout, Refs: []string{ref},
		Edit: where(fits, func(n graph.Node) graph.Node {
			return n.Set(func(a *graph.Attributes) { a.Gates = order })
		}),
	}
}

func resetSet(reset string) graph.Edit {
	return where(func(_ *graph.View, n graph.Node) bool { return n.Op == "gru" && n.Attributes.Reset != reset },
		func(n graph.Node) graph.Node { return n.Set(func(a *graph.Attributes) { a.Reset = reset }) })
}

// biasesSet returns an edit of the two biases of recurrent layers that have them.
func biasesSet(change func(d *draft, input, state graph.Operand) (x, y graph.Operand)) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		at := len(n.Operands) - 2
		if !slices.Contains([]string{"lstm", "lstm_cells", "gru", "rnn"}, n.Op) || n.Operands[at].Absent || n.Operands[at+1].Absent {
			return nil
		}
		d := newDraft(v, n)
		input, state := change(d, n.Operands[at], n.Operands[at+1])
		return d.end(n.Put(at, input).Put(at+1, state))
	}
}

// withoutStates returns a recurrent layer that starts with zeros.
func withoutStates(n graph.Node) graph.Node {
	n = n.Put(1, graph.None)
	if n.Op == "lstm" {
		n = n.Put(2, graph.None)
	}
	return n
}

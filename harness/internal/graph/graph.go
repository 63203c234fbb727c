// Package graph reads and computes the graph of a PyTorch module: the operations that the module
// consists of, as pyref captured them. A graph is computed in float64 for its truth, and in float32
// for the noise of a program with a mistake. The package knows operators, but no mistakes.
package graph

import (
	"encoding/json"
	"fmt"
)

// Graph is a list of nodes in the order of their computation.
type Graph struct {
	Inputs     map[string]string // from the name of a value to the role of the input
	Parameters []string          // keys of the state dict, which also name their values
	Constants  []string
	Output     string
	Nodes      []Node

	// base is the graph that an edit changed, nil for a graph that no edit made. All nodes but the
	// ones whose names are in changed are as in base.
	base    *Graph
	changed map[string]bool
}

// Node is one operation. Its name names its value.
type Node struct {
	Name       string     `json:"name"`
	Op         string     `json:"op"`
	Operands   []Operand  `json:"operands"`
	Attributes Attributes `json:"attributes"`
	Shape      []int      `json:"shape"`
	Module     string     `json:"module"` // path of the module that asked for the operation
	Class      string     `json:"class"`  // class of this module
	Computed   Computed   `json:"-"`      // nil if the operator gives the value
}

// Computed gives a node a value that no operator gives. It takes the operands in float64 and
// returns the value. If rounding is asked for, it also returns the standard deviation that float32
// gives to each element beyond the rounding of the operands, or nil if it gives none.
type Computed func(operands []*Tensor[float64], rounding Rounding) (value *Tensor[float64], sigma []float64, err error)

// Rounding says whether a [Computed] node returns its rounding beside its value.
type Rounding int

// The two requests.
const (
	NoRounding Rounding = iota
	WithRounding
)

// Operand is a value by its name, a number if Name is empty, or absent.
type Operand struct {
	Name   string
	Number float64
	Absent bool
}

// Value returns the operand that is a value.
func Value(name string) Operand { return Operand{Name: name} }

// Number returns the operand that is a number.
func Number(x float64) Operand { return Operand{Number: x} }

// None is the operand that is absent, such as the bias of a layer without one.
var None = Operand{Absent: true}

// UnmarshalJSON reads a string, a number or null.
func (o *Operand) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*o = None
		return nil
	}
	*o = Operand{}
	if data[0] == '"' {
		return json.Unmarshal(data, &o.Name)
	}
	if err := json.Unmarshal(data, &o.Number); err != nil {
		return fmt.Errorf("operand %.100q: want a name, a number or null", data)
	}
	return nil
}

// Attributes are the settings of an operation. Each operator uses a few of them.
type Attributes struct {
	Shape       []int    `json:"shape"`       // reshape, expand
	Dims        []int    `json:"dims"`        // permute, index and reductions
	Keep        bool     `json:"keep"`        // reductions: reduced dimensions stay
	Dim         int      `json:"dim"`         // of most operators that have one dimension
	Start       int      `json:"start"`       // slice
	Stop        int      `json:"stop"`        // slice
	Step        int      `json:"step"`        // slice
	Index       int      `json:"index"`       // select
	Weight      string   `json:"weight"`      // linear: "out, in" or "in, out"
	Approximate string   `json:"approximate"` // gelu: "none" or "tanh"
	Factor      *float64 `json:"factor"`      // gelu: nil is sqrt(2 / pi)
	Eps         float64  `json:"eps"`         // norms
	Offset      float64  `json:"offset"`      // rms_norm: added to the weight
	Pairs       string   `json:"pairs"`       // rotary: "halves" or "neighbours"
	Times       int      `json:"times"`       // repeat_interleave
	Count       int      `json:"count"`       // topk, topk_indices
	Kernel      []int    `json:"kernel"`      // max_pool, average_pool
	Stride      []int    `json:"stride"`      // convolutions and pools
	Padding     []int    `json:"padding"`     // convolutions and pools
	Dilation    []int    `json:"dilation"`    // convolutions
	Groups      int      `json:"groups"`      // convolutions, group_norm
	Scale       float64  `json:"scale"`       // attention: factor of the scores
	Softcap     *float64 `json:"softcap"`     // attention: c in c tanh(score / c), or nil
	Causal      bool     `json:"causal"`      // attention: a query sees no later key

	OutputPadding []int     `json:"output_padding"` // added at the end
	CountPadding  bool      `json:"count_padding"`  // average_pool: padding counts as zeros
	Size          []int     `json:"size"`           // upsample: pixels of the output
	Steps         []float64 `json:"steps"`          // upsample: input pixels for each
	Corners       bool      `json:"corners"`        // upsample: corners coincide
	Mode          string    `json:"mode"`           // upsample, pad: "linear", "reflect"
	Before        []int     `json:"before"`         // pad: widths, for every dimension
	After         []int     `json:"after"`          // pad
	Value         float64   `json:"value"`          // pad
	Gates         string    `json:"gates"`          // lstm, gru: their order in the weights
	Reset         string    `json:"reset"`          // gru: "after" or "before" the product
	Function      string    `json:"function"`       // rnn: "tanh" or "relu"
	Reverse       bool      `json:"reverse"`        // lstm, gru, rnn: from the last step
}

package harness_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/attention/transformer"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/harnesstest"
)

// llama is a port of a Llama that loads its parameters with a change, and traces its modules.
type llama struct {
	*transformer.Model
	t      *testing.T
	change func(attention.StateDict)
	dict   attention.StateDict
}

// portOf returns a subject that computes Llamas alone.
func portOf(t *testing.T, change func(attention.StateDict)) harness.Subject {
	return harness.Subject{Name: "port", Model: func(d harness.Description) (harness.Model, error) {
		c, err := transformer.ParseConfig(d.Class, d.Settings)
		if _, ok := c.(transformer.LlamaConfig); !ok || err != nil {
			return nil, errors.Join(errors.ErrUnsupported, err)
		}
		m, err := transformer.New(c)
		return &llama{Model: m, t: t, change: change}, err
	}}
}

func (l *llama) LoadStateDict(
	dict attention.StateDict, s attention.Strictness,
) (attention.IncompatibleKeys, error) {
	l.dict = dict
	l.change(l.dict)
	return l.Model.LoadStateDict(dict, s)
}

func (l *llama) Forward(a harness.Arguments) (*attention.Tensor, error) {
	in := transformer.Inputs{}
	for name, to := range map[string]*[][]int{"input_ids": &in.InputIDs, "attention_mask": &in.AttentionMask} {
		given := a.Integers[name]
		for i := range given.Shape[0] {
			*to = append(*to, given.Data[i*given.Shape[1]:][:given.Shape[1]])
		}
	}
	return l.Model.Forward(in)
}

// Trace computes the outputs of the modules of layer 1 by the graph of the case, with the parameters
// that were loaded.
func (l *llama) Trace() map[string]*attention.Tensor {
	c := harnesstest.ReadCase(l.t, "models/llama")
	g, err := graph.Parse(c.Graph)
	require.NoError(l.t, err)
	given, err := graph.Given[float64](g, c.Given)
	require.NoError(l.t, err)
	for key, t := range l.dict {
		given[key] = &graph.Tensor[float64]{Shape: t.Shape, Data: t.Float64s()}
	}
	values, err := graph.Run(g, given)
	require.NoError(l.t, err)
	traced := map[string]*attention.Tensor{}
	for _, o := range graph.NewView(g, values).ModuleOutputs() {
		if graph.Within(o.Path, "model.layers.1") {
			value := values[g.Nodes[o.Node].Name]
			out := attention.NewTensor(value.Shape...)
			for i, x := range value.Data {
				out.Data[i] = float32(x)
			}
			traced[o.Path] = out
		}
	}
	return traced
}

// A port of a model in Go passes. With a parameter twice as large, the first wrong module has the
// name of its path.
func TestModel(t *testing.T) {
	right, err := harness.Check(t.Context(), fixtures.FS, portOf(t, func(attention.StateDict) {}),
		harness.Select("models/llama", "models/gpt2"))
	require.NoError(t, err)
	require.True(t, right.OK(), right.Results)
	require.Equal(t, 1, right.Count(harness.Pass))
	require.Equal(t, 1, right.Count(harness.Skip))
	require.Empty(t, right.Results[1].First)

	const wrongModule = "model.layers.1.mlp.up_proj"
	wrong, err := harness.Check(t.Context(), fixtures.FS, portOf(t, func(dict attention.StateDict) {
		for i := range dict[wrongModule+".weight"].Data {
			dict[wrongModule+".weight"].Data[i] *= 2
		}
	}), harness.Select("models/llama"))
	require.NoError(t, err)
	require.Equal(t, harness.Fail, wrong.Results[0].Verdict)
	require.Equal(t, wrongModule, wrong.Results[0].First)
}

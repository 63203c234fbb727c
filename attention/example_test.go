package attention_test

import (
	"fmt"

	"github.com/difftest/difftest/attention"
)

// Two equal keys share the weight of a query. The causal mask hides the second key from the first
// query.
func ExampleSDPA() {
	q := &attention.Tensor{Shape: []int{1, 2, 1}, Data: []float32{1, 1}}   // (H, L, E)
	v := &attention.Tensor{Shape: []int{1, 2, 1}, Data: []float32{10, 20}} // (H, S, Ev)
	out, err := attention.SDPA(q, q, v, attention.SDPAOptions{Causality: attention.TopLeft})
	if err != nil {
		panic(err)
	}
	fmt.Println(out.Shape, out.Data)
	// Output:
	// [1 2 1] [10 15]
}

// True takes part in SDPAOptions.Allow. One row (1, S) broadcasts to both queries.
func ExampleSDPA_mask() {
	q := &attention.Tensor{Shape: []int{1, 2, 1}, Data: []float32{1, 1}}
	k := &attention.Tensor{Shape: []int{1, 3, 1}, Data: []float32{1, 1, 1}}
	v := &attention.Tensor{Shape: []int{1, 3, 1}, Data: []float32{10, 20, 90}}
	out, err := attention.SDPA(q, k, v, attention.SDPAOptions{
		Allow: &attention.Mask{Shape: []int{1, 3}, Data: []bool{true, true, false}},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(out.Data)
	// Output:
	// [15 15]
}

// A layer is made from a configuration, filled from a state dict and called on its inputs.
func ExampleMultiHead() {
	layer, err := attention.New(attention.Config{
		EmbedDim: 2, NumHeads: 1, ParamLayout: attention.SeedLayout, WithoutBias: true,
	})
	if err != nil {
		panic(err)
	}
	identity := &attention.Tensor{Shape: []int{2, 2}, Data: []float32{1, 0, 0, 1}}
	weights := attention.StateDict{"W_Q": identity, "W_K": identity, "W_V": identity, "W_O": identity}
	if _, err := layer.LoadStateDict(weights, attention.Strict); err != nil {
		panic(err)
	}
	x := &attention.Tensor{Shape: []int{1, 2, 2}, Data: []float32{1, 0, 0, 1}} // (B, T, D)
	out, err := layer.Forward(attention.Inputs{Query: x, Key: x, Value: x})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%v %.4f\n", out.Output.Shape, out.Output.Data)
	// Output:
	// [1 2 2] [1.0000 0.0000 0.3302 0.6698]
}

// True is ignored in Inputs.Padding and Inputs.Block. The weights of the padded key are 0.
func ExampleMultiHead_Forward() {
	layer, err := attention.New(attention.Config{
		EmbedDim: 2, NumHeads: 1, Bidirectional: true, NeedWeights: attention.AveragedWeights,
	})
	if err != nil {
		panic(err)
	}
	x := attention.NewTensor(1, 3, 2)
	out, err := layer.Forward(attention.Inputs{
		Query: x, Key: x, Value: x,
		Padding: &attention.Mask{Shape: []int{1, 3}, Data: []bool{false, false, true}},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(out.Weights.Shape, out.Weights.Data)
	// Output:
	// [1 3 3] [0.5 0.5 0 0.5 0.5 0 0.5 0.5 0]
}

// The error of a strict load lists every problem. The layer keeps its parameters.
func ExampleMultiHead_LoadStateDict() {
	layer, err := attention.New(attention.Config{
		EmbedDim: 2, NumHeads: 1, ParamLayout: attention.SeedLayout, WithoutBias: true,
	})
	if err != nil {
		panic(err)
	}
	square := &attention.Tensor{Shape: []int{2, 2}, Data: []float32{1, 0, 0, 1}}
	_, err = layer.LoadStateDict(attention.StateDict{
		"W_Q": square, "W_K": square, "W_V": attention.NewTensor(2), "W_out": square,
	}, attention.Strict)
	fmt.Println(err)
	fmt.Println(layer.StateDict()["W_Q"].Data)
	// Output:
	// error(s) in loading state_dict for MultiHead:
	// 	missing key(s) in state_dict: "W_O"
	// 	unexpected key(s) in state_dict: "W_out"
	// 	size mismatch for W_V: the state dict has shape (2,), the model has (2, 2)
	// [0 0 0 0]
}

// Four heads share two key heads. query_key_value holds the rows of one key head after another: its
// two query heads, its key and its value.
func ExampleConfig_Placements() {
	c := attention.Config{
		EmbedDim: 8, NumHeads: 4, NumKVHeads: 2, ParamLayout: attention.NeoXLayout, Prefix: "layers.0.",
	}
	for i, p := range c.Placements() {
		part, row := "all of it", 2 // the projection's own row 2
		if p.Part != "" {
			part = p.Part
		}
		if p.Row != nil {
			row = p.Row(row)
		}
		name := []string{"query", "key", "value", "output"}[i]
		fmt.Printf("%-6s %s, %s: row 2 is row %d\n", name, p.Weight, part, row)
	}
	// Output:
	// query  layers.0.query_key_value.weight, query part: row 2 is row 2
	// key    layers.0.query_key_value.weight, key part: row 2 is row 12
	// value  layers.0.query_key_value.weight, value part: row 2 is row 14
	// output layers.0.dense.weight, all of it: row 2 is row 2
}

// Check lists every reason why New would refuse a configuration.
func ExampleConfig_Check() {
	c := attention.Config{EmbedDim: 10, NumHeads: 4, Window: -1}
	fmt.Println(c.Check())
	// Output:
	// config: num heads 4 does not divide embed dim 10
	// config: window -1, want 0 (none) or at least 1
}

// The names in a checkpoint of unknown origin tell its layout and prefix.
func ExampleRecognize() {
	checkpoint := attention.StateDict{
		"layers.0.qkv_proj.weight": {Shape: []int{6, 2}, Data: []float32{1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1}},
		"layers.0.o_proj.weight":   {Shape: []int{2, 2}, Data: []float32{1, 0, 0, 1}},
	}
	found, err := attention.Recognize(checkpoint)
	if err != nil {
		panic(err)
	}
	fmt.Println(found)
	layer, err := attention.New(attention.Config{
		EmbedDim: 2, NumHeads: 1, WithoutBias: true, ParamLayout: found.ParamLayout, Prefix: found.Prefix,
	})
	if err != nil {
		panic(err)
	}
	_, err = layer.LoadStateDict(checkpoint, attention.Strict)
	fmt.Println(err)
	// Output:
	// keys qkv_proj o_proj after "layers.0."
	// <nil>
}

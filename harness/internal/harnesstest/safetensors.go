package harnesstest

import (
	"bytes"

	"github.com/nlpodyssey/safetensors"

	"github.com/difftest/difftest/attention"
)

// Safetensors returns the .safetensors file of a state dict.
func Safetensors(dict attention.StateDict) []byte {
	views := map[string]safetensors.TensorView{}
	for key, t := range dict {
		shape := make([]uint64, len(t.Shape))
		for i, d := range t.Shape {
			shape[i] = uint64(d)
		}
		var data bytes.Buffer
		write(&data, t.Data)
		view, err := safetensors.NewTensorView(safetensors.F32, shape, data.Bytes())
		if err != nil {
			panic(err)
		}
		views[key] = view
	}
	file, err := safetensors.Serialize(views, nil)
	if err != nil {
		panic(err)
	}
	return file
}

package checkpoint_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/checkpoint"
)

func TestNaming(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 5))
	w := model()
	behind := func(prefix string, dict attention.StateDict) attention.StateDict {
		out := attention.StateDict{}
		for key, v := range dict {
			out[prefix+key] = v
		}
		return out
	}
	layers := attention.StateDict{}
	for i := range 12 {
		for key, v := range w {
			layers[fmt.Sprintf("layers.%d.%s", i, key)] = drawn(r, 0, v.Shape...)
		}
	}
	for _, tc := range []struct {
		name        string
		model, file attention.StateDict
		want        checkpoint.Naming
		undecided   int
	}{
		{"the same", w, w, checkpoint.Naming{}, 0},
		{"module", w, behind("module.", w), checkpoint.Naming{File: "module."}, 0},
		{
			"in a model", w, changed(behind("model.layers.0.attn.", w), attention.StateDict{"norm": drawn(r, 0, 3)}),
			checkpoint.Naming{File: "model.layers.0.attn."}, 0,
		},
		{"missing in the file", behind("model.", w), w, checkpoint.Naming{Model: "model."}, 0},
		{"no dot", w, behind("x", w), checkpoint.Naming{}, 0},
		{"one layer of many", w, changed(layers, behind("layers.7.", w)), checkpoint.Naming{File: "layers.7."}, 0},
		{
			"one layer by one tensor", w, changed(layers, attention.StateDict{"layers.3.W_V": w["W_V"]}),
			checkpoint.Naming{File: "layers.3."}, 0,
		},
		{
			"one layer of many, not whole", w, changed(layers, behind("layers.7.", w), "layers.7.W_K", "layers.7.b"),
			checkpoint.Naming{File: "layers.7."}, 0,
		},
		{"no layer of many", w, layers, checkpoint.Naming{}, 12},
		{
			"its own names " +
				"first", w, changed(w, behind("old.", changed(w, attention.StateDict{"W_Q": drawn(r, 0, 20, 20)}))),
			checkpoint.Naming{}, 0,
		},
		{"one name of many", w, attention.StateDict{"encoder.b": drawn(r, 0, 20)}, checkpoint.Naming{}, 0},
		{
			"one name of many, twice", w, attention.StateDict{"a.b": drawn(r, 0, 20), "c.b": drawn(r, 0, 20)},
			checkpoint.Naming{}, 0,
		},
		{"most names, no value", w, changed(behind("m.", layersOf(r, w)), nil, "m.zero"), checkpoint.Naming{}, 0},
		{"most names and values", w, changed(behind("m.", w), nil, "m.W_K"), checkpoint.Naming{File: "m."}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := fileOf(t, tc.file).Against(parameters(tc.model))
			require.NoError(t, err)
			require.Equal(t, tc.want, c.Naming)
			require.Len(t, c.Undecided, tc.undecided)
		})
	}
}

// layersOf draws other values for every parameter.
func layersOf(r *rand.Rand, dict attention.StateDict) attention.StateDict {
	out := attention.StateDict{}
	for key, v := range dict {
		out[key] = drawn(r, 0, v.Shape...)
	}
	return out
}

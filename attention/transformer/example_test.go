package transformer_test

import (
	"fmt"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/attention/transformer"
)

// A model is made from the configuration of its family, filled from a state dict and called on
// token ids.
func ExampleNew() {
	model, err := transformer.New(transformer.GPT2Config{
		VocabSize: 3, NPositions: 4, NEmbd: 2, NLayer: 1, NHead: 1,
		ActivationFunction: transformer.GELUNew, LayerNormEpsilon: 1e-5, TieWordEmbeddings: true,
	})
	if err != nil {
		panic(err)
	}
	// Zeros elsewhere: each token passes all layers unchanged.
	dict := model.StateDict()
	dict["lm_head.weight"].Data = []float32{1, -1, -1, 1, 2, 0} // (V, D)
	dict["transformer.ln_f.weight"].Data = []float32{1, 1}      // (D)
	if _, err := model.LoadStateDict(dict, attention.Strict); err != nil {
		panic(err)
	}
	logits, err := model.Forward(transformer.Inputs{InputIDs: [][]int{{0, 1}}})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%v %.2f\n", logits.Shape, logits.Data)
	// Output:
	// [1 2 3] [2.00 -2.00 2.00 -2.00 2.00 -2.00]
}

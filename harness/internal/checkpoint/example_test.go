package checkpoint_test

import (
	"fmt"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/checkpoint"
)

// A layer takes its parameters from what torch.save(model.state_dict()) wrote.
func Example() {
	f, err := checkpoint.Open("testdata/layer.pt")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	dict, left, err := f.StateDict()
	if err != nil {
		fmt.Println(err)
		return
	}
	layer, err := attention.New(attention.Config{EmbedDim: 4, NumHeads: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = layer.LoadStateDict(dict, attention.Strict)
	fmt.Println(f.Format, len(dict), left, err)
	// Output: PyTorch 4 [] <nil>
}

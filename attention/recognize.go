package attention

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Recognized is the result of [Recognize]. Fields of the same names in [Config] take both values.
type Recognized struct {
	// ParamLayout is the layout whose weights the state dict holds.
	ParamLayout ParamLayout
	// Prefix comes before every name, and is empty or ends in a dot.
	Prefix string
}

// String names the layout, and the prefix if there is one: keys q_proj k_proj v_proj o_proj after
// "layers.0.".
func (r Recognized) String() string {
	if r.Prefix == "" {
		return r.ParamLayout.String()
	}
	return fmt.Sprintf("%v after %q", r.ParamLayout, r.Prefix)
}

// signatures lists the weights that every state dict of a layout has.
var signatures = []struct {
	layout  ParamLayout
	weights []string
}{
	{TorchLayout, []string{"in_proj_weight", "out_proj.weight"}},
	{TorchSeparateLayout, []string{"q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"}},
	{SeedLayout, []string{"W_Q", "W_K", "W_V", "W_O"}},
	{LlamaLayout, []string{"q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight"}},
	{GPT2Layout, []string{"c_attn.weight", "c_proj.weight"}},
	{NeoXLayout, []string{"query_key_value.weight", "dense.weight"}},
	{FusedLayout, []string{"qkv_proj.weight", "o_proj.weight"}},
}

// Recognize finds the layout and the prefix of a layer's state dict by the names of its weights.
// Shapes and other entries do not matter.
//
// An error tells that no layout fits, or that several layouts or prefixes do, as in the state dict
// of a model with several layers. The error then lists them, and [Config.ParamLayout] and
// [Config.Prefix] have to select one.
//
// PyTorch has no such function: there, the module that loads a state dict defines its names.
func Recognize(dict StateDict) (Recognized, error) {
	var found []Recognized
	for _, s := range signatures {
		for name := range dict {
			prefix, ok := strings.CutSuffix(name, s.weights[0])
			if ok && (prefix == "" || strings.HasSuffix(prefix, ".")) && hasAll(dict, prefix, s.weights[1:]) {
				found = append(found, Recognized{s.layout, prefix})
			}
		}
	}
	slices.SortFunc(found, func(a, b Recognized) int {
		return cmp.Or(cmp.Compare(a.Prefix, b.Prefix), cmp.Compare(a.ParamLayout, b.ParamLayout))
	})
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Recognized{}, fmt.Errorf("no known layout has the keys %s", quoted(slices.Sorted(maps.Keys(dict))))
	}
	errs := []error{fmt.Errorf("ambiguous: %d layouts fit the state dict", len(found))}
	for _, r := range found {
		errs = append(errs, fmt.Errorf("%v", r))
	}
	return Recognized{}, errors.Join(errs...)
}

// hasAll reports whether dict has every name under the prefix.
func hasAll(dict StateDict, prefix string, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		_, ok := dict[prefix+name]
		return !ok
	})
}

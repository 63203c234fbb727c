package attention

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Recognized is a layout found in a state dict.
type Recognized struct {
	ParamLayout ParamLayout
	Prefix      string
}

func (r Recognized) String() string {
	if r.Prefix == "" {
		return r.ParamLayout.String()
	}
	return fmt.Sprintf("%v after %q", r.ParamLayout, r.Prefix)
}

// signatures are the weights that every state dict of a layout has.
var signatures = []struct {
	keys    ParamLayout
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

// Recognize finds the layout and the prefix of a state dict by its names. It fails when no layout
// fits, and when several do, as in the state dict of a model with more than one layer: it then
// names them, and [Config.Keys] and [Config.Prefix] have to say which is meant.
func Recognize(dict StateDict) (Recognized, error) {
	var found []Recognized
	for _, s := range signatures {
		for name := range dict {
			prefix, ok := strings.CutSuffix(name, s.weights[0])
			if ok && (prefix == "" || strings.HasSuffix(prefix, ".")) && hasAll(dict, prefix, s.weights[1:]) {
				found = append(found, Recognized{s.keys, prefix})
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

func hasAll(dict StateDict, prefix string, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		_, ok := dict[prefix+name]
		return !ok
	})
}

package attention

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// StateDict maps the names of parameters to their values, as torch.nn.Module.state_dict does:
// "out_proj.weight" to a tensor (D, D).
type StateDict map[string]*Tensor

// Strictness selects what [MultiHead.LoadStateDict] does with keys that do not match: the argument
// strict of torch.nn.Module.load_state_dict.
type Strictness int

const (
	// Strict refuses a state dict with missing or unexpected keys: strict=True, PyTorch's default.
	Strict Strictness = iota
	// Lenient loads the keys that match and returns the others: strict=False.
	Lenient
)

// IncompatibleKeys lists the keys that do not match, as torch.nn.Module.load_state_dict returns
// them.
type IncompatibleKeys struct {
	// Missing lists the parameters that the state dict lacks, in the layer's order.
	Missing []string
	// Unexpected lists the keys of the state dict that the layer has no parameter for, sorted.
	Unexpected []string
}

// SizeMismatch is a parameter whose shape in the state dict differs from its shape in the layer.
type SizeMismatch struct {
	// Name is the parameter's key, with the prefix.
	Name string
	// Dict and Model are the shapes in the state dict and in the layer.
	Dict, Model []int
}

// LoadError lists everything that is wrong with a state dict.
type LoadError struct {
	// Module is the type of the layer, "MultiHead".
	Module string
	// Invalid holds an error for every tensor that [Tensor.Check] refuses. PyTorch has no such
	// tensors.
	Invalid []error
	// Keys lists the keys that do not match, none in a lenient load.
	Keys IncompatibleKeys
	// Mismatched lists the parameters of another shape, in the layer's order.
	Mismatched []SizeMismatch
}

// Error lists every problem on its own line, in PyTorch's order and nearly in its words: missing
// keys, unexpected keys, size mismatches. Invalid tensors come first.
func (e *LoadError) Error() string {
	lines := []string{"error(s) in loading state_dict for " + e.Module + ":"}
	for _, err := range e.Invalid {
		lines = append(lines, err.Error())
	}
	if len(e.Keys.Missing) > 0 {
		lines = append(lines, "missing key(s) in state_dict: "+quoted(e.Keys.Missing))
	}
	if len(e.Keys.Unexpected) > 0 {
		lines = append(lines, "unexpected key(s) in state_dict: "+quoted(e.Keys.Unexpected))
	}
	for _, m := range e.Mismatched {
		lines = append(lines, fmt.Sprintf("size mismatch for %s: the state dict has shape %s, the model has %s",
			m.Name, FormatShape(m.Dict), FormatShape(m.Model)))
	}
	return strings.Join(lines, "\n\t")
}

// Unwrap returns the errors in Invalid, for [errors.Is] and [errors.As].
func (e *LoadError) Unwrap() []error { return e.Invalid }

func quoted(keys []string) string {
	words := make([]string, len(keys))
	for i, k := range keys {
		words[i] = fmt.Sprintf("%q", k)
	}
	return strings.Join(words, ", ")
}

// parameter is one tensor of a layer under its name in the state dict.
type parameter struct {
	name  string
	shape []int
	value *Tensor // nil in a list of names and shapes
}

// Parameter is one tensor of a module under its name in the state dict.
type Parameter struct {
	Name  string
	Value *Tensor
}

// LoadParameters copies the values of dict into params, a module's parameters in its own order, as
// [MultiHead.LoadStateDict] does for a layer. Errors name the type of the module. Parameters may
// share a tensor, as tied weights do; the last of them decides.
func LoadParameters(
	module string, params []Parameter, dict StateDict, strictness Strictness,
) (IncompatibleKeys, error) {
	list := make([]parameter, len(params))
	for i, p := range params {
		list[i] = parameter{name: p.Name, shape: p.Value.Shape, value: p.Value}
	}
	return load(module, list, dict, strictness)
}

// load copies the values of dict into params, which are in the layer's order, or returns an error
// and changes nothing.
func load(module string, params []parameter, dict StateDict, strictness Strictness) (IncompatibleKeys, error) {
	keys, err := checkLoad(module, params, dict, strictness)
	if err != nil {
		return keys, err
	}
	for _, p := range params {
		if t, ok := dict[p.name]; ok {
			copy(p.value.Data, t.Data)
		}
	}
	return keys, nil
}

// checkLoad compares a state dict with the parameters of a layer. Its error is a *LoadError unless
// the strictness is unknown.
func checkLoad(module string, params []parameter, dict StateDict, strictness Strictness) (IncompatibleKeys, error) {
	if strictness != Strict && strictness != Lenient {
		return IncompatibleKeys{}, fmt.Errorf("load state dict: unknown strictness %d", strictness)
	}
	keys := incompatible(params, dict)
	failure := LoadError{Module: module, Invalid: invalid(dict), Mismatched: mismatched(params, dict)}
	if strictness == Strict {
		failure.Keys = keys
	}
	if len(failure.Invalid)+len(failure.Keys.Missing)+len(failure.Keys.Unexpected)+len(failure.Mismatched) > 0 {
		return keys, &failure
	}
	return keys, nil
}

func incompatible(params []parameter, dict StateDict) IncompatibleKeys {
	var keys IncompatibleKeys
	known := make(map[string]bool, len(params))
	for _, p := range params {
		known[p.name] = true
		if _, ok := dict[p.name]; !ok {
			keys.Missing = append(keys.Missing, p.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(dict)) {
		if !known[name] {
			keys.Unexpected = append(keys.Unexpected, name)
		}
	}
	return keys
}

func invalid(dict StateDict) []error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(dict)) {
		if err := dict[name].Check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errs
}

func mismatched(params []parameter, dict StateDict) []SizeMismatch {
	var wrong []SizeMismatch
	for _, p := range params {
		if t := dict[p.name]; t != nil && !slices.Equal(t.Shape, p.shape) {
			wrong = append(wrong, SizeMismatch{
				Name: p.name, Dict: slices.Clone(t.Shape), Model: slices.Clone(p.shape),
			})
		}
	}
	return wrong
}

package attention

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// StateDict maps parameter names to values: "out_proj.weight" to a (D, D) tensor.
type StateDict map[string]*Tensor

// Strictness says what [MultiHead.LoadStateDict] does with keys that do not match.
type Strictness int

const (
	// Strict refuses a state dict with missing or unexpected keys. PyTorch's default.
	Strict Strictness = iota
	// Lenient loads the keys that match and returns the others; strict=False.
	Lenient
)

// IncompatibleKeys are the keys that a state dict lacks and those it has too many, as
// load_state_dict returns them. Missing keys are in the order of the layer's parameters,
// unexpected keys are sorted.
type IncompatibleKeys struct {
	Missing, Unexpected []string
}

// SizeMismatch is a parameter whose shape in the state dict is not that of the model.
type SizeMismatch struct {
	Name        string
	Dict, Model []int
}

// LoadError is everything that is wrong with a state dict, in PyTorch's order: missing keys,
// unexpected keys, size mismatches. Invalid tensors, which PyTorch cannot have, come first.
type LoadError struct {
	Module     string // the layer's type, "MultiHead"
	Invalid    []error
	Keys       IncompatibleKeys // empty in a lenient load
	Mismatched []SizeMismatch
}

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

// Unwrap gives the errors of invalid tensors.
func (e *LoadError) Unwrap() []error { return e.Invalid }

func quoted(keys []string) string {
	words := make([]string, len(keys))
	for i, k := range keys {
		words[i] = fmt.Sprintf("%q", k)
	}
	return strings.Join(words, ", ")
}

// parameter is one named value of a layer.
type parameter struct {
	name  string
	shape []int
	value *Tensor
}

// load copies the values of dict into params, which stand in the model's order, or changes
// nothing and returns a *LoadError.
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

// checkLoad compares a state dict with the parameters of a model.
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
			wrong = append(wrong, SizeMismatch{p.name, slices.Clone(t.Shape), slices.Clone(p.shape)})
		}
	}
	return wrong
}

package graph

import (
	"fmt"

	"github.com/difftest/difftest/harness/internal/npy"
)

// Given returns the inputs, parameters and constants of a graph as tensors. arrays has them by
// role: "inputs.x", "state_dict.up.weight", "constants.mask". In float64 the parameters of float32
// stay as they are: see [Tensor.Wide].
func Given[T Float](g *Graph, arrays map[string]*npy.Array) (Values[T], error) {
	values := Values[T]{}
	add := func(name, role string) error {
		a := arrays[role]
		if a == nil {
			return fmt.Errorf("%s: missing", role)
		}
		t, err := FromArray[T](a)
		if err != nil {
			return fmt.Errorf("%s: %w", role, err)
		}
		values[name] = t
		return nil
	}
	for name, role := range g.Inputs {
		if err := add(name, "inputs."+role); err != nil {
			return nil, err
		}
	}
	for _, key := range g.Parameters {
		if a := arrays["state_dict."+key]; a != nil {
			if t, err := narrowed[T](a); err == nil && !sameBits[T]() {
				values[key] = t
				continue
			}
		}
		if err := add(key, "state_dict."+key); err != nil {
			return nil, err
		}
	}
	for _, name := range g.Constants {
		if err := add(name, "constants."+name); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// sameBits reports whether T is float32.
func sameBits[T Float]() bool {
	_, same := any(T(0)).(float32)
	return same
}

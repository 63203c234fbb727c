// Package harnesstest holds helpers that tests of the harness and of the command share: the
// implementations of the debugging story that difftest began with, which are wrong on purpose, and
// writers of .npy and .safetensors files.
package harnesstest

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/subject"
)

// NeverLoaded makes layers whose load is replaced instead of called. Their weights stay as they
// were drawn, N(0, 1).
func NeverLoaded() subject.Subject {
	return layers("never loaded", func(c attention.Config) (subject.Module, error) { return neverLoaded(c) })
}

// Unmasked makes layers without a causal mask. Their weights are right.
func Unmasked() subject.Subject {
	return layers("no causal mask", func(c attention.Config) (subject.Module, error) {
		c.Bidirectional = true
		return attention.New(c)
	})
}

// Both is NeverLoaded and Unmasked at once.
func Both() subject.Subject {
	return layers("never loaded, no causal mask", func(c attention.Config) (subject.Module, error) {
		c.Bidirectional = true
		return neverLoaded(c)
	})
}

// OtherWeights makes layers with random weights of the right size. Nothing in their output looks
// wild.
func OtherWeights() subject.Subject {
	return layers("other weights of the right scale", func(c attention.Config) (subject.Module, error) {
		m, err := attention.New(c)
		return redrawn{m}, err
	})
}

func layers(name string, maker func(attention.Config) (subject.Module, error)) subject.Subject {
	return subject.Subject{Name: name, MHA: maker}
}

// assigned makes the mistake MHSA.load_state_dict = {...} in Go: its load is a field, and the load
// assigns to that field instead of loading.
type assigned struct {
	*attention.MultiHead
	load func(attention.StateDict)
}

func neverLoaded(c attention.Config) (subject.Module, error) {
	m, err := attention.New(c)
	if err != nil {
		return nil, err
	}
	_, err = m.LoadStateDict(random(m.StateDict(), 1), attention.Strict)
	return &assigned{MultiHead: m}, err
}

func (m *assigned) LoadStateDict(dict attention.StateDict, s attention.Strictness) (attention.IncompatibleKeys, error) {
	m.load = func(attention.StateDict) { _, _ = m.MultiHead.LoadStateDict(dict, s) }
	return attention.IncompatibleKeys{}, nil
}

// redrawn loads random values of each parameter's own scale.
type redrawn struct{ *attention.MultiHead }

func (m redrawn) LoadStateDict(dict attention.StateDict, s attention.Strictness) (attention.IncompatibleKeys, error) {
	return m.MultiHead.LoadStateDict(random(dict, 0), s)
}

// random draws a state dict of the same shapes and the given standard deviation; 0 means each
// parameter's own.
func random(dict attention.StateDict, scale float64) attention.StateDict {
	r := rand.New(rand.NewPCG(20, 26))
	out := attention.StateDict{}
	for _, key := range slices.Sorted(maps.Keys(dict)) {
		t := dict[key]
		std := scale
		if std == 0 {
			for _, v := range t.Data {
				std += float64(v) * float64(v) / float64(len(t.Data))
			}
			std = math.Sqrt(std)
		}
		drawn := attention.NewTensor(t.Shape...)
		for i := range drawn.Data {
			drawn.Data[i] = float32(std * r.NormFloat64())
		}
		out[key] = drawn
	}
	return out
}

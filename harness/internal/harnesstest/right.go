package harnesstest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/builtin"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/subject"
)

// BuiltIn returns the implementation that difftest has itself, which is right.
func BuiltIn() subject.Subject {
	s := builtin.Subject()
	s.Name = "attention"
	return s
}

// AttentionCases names the embedded cases that are no captured modules.
func AttentionCases(t testing.TB) []string {
	t.Helper()
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	modules := 0
	names = slices.DeleteFunc(names, func(name string) bool {
		is := ReadCase(t, name).Op == fixture.Module
		if is {
			modules++
		}
		return is
	})
	require.Positive(t, modules)
	return names
}

// ReadCase reads an embedded case. The test ends if the case cannot be read.
func ReadCase(t testing.TB, name string) *fixture.Case {
	t.Helper()
	c, err := fixture.Read(fixtures.FS, name)
	require.NoError(t, err)
	return c
}

// Layer is a right layer, except for the methods that a test replaces.
type Layer struct {
	*attention.MultiHead

	// OnLoad replaces LoadStateDict unless it is nil.
	OnLoad func(attention.StateDict) error
	// Instead replaces Forward unless it is nil.
	Instead func(attention.Inputs) (*attention.Tensor, error)
	// After runs after each forward, with the inputs, the state dict that was loaded, and the
	// output.
	After func(in attention.Inputs, dict attention.StateDict, out *attention.Tensor)

	dict attention.StateDict
}

// LoadStateDict loads a state dict, or calls OnLoad.
func (l *Layer) LoadStateDict(dict attention.StateDict, s attention.Strictness) (attention.IncompatibleKeys, error) {
	l.dict = dict
	if l.OnLoad != nil {
		return attention.IncompatibleKeys{}, l.OnLoad(dict)
	}
	return l.MultiHead.LoadStateDict(dict, s)
}

// Forward computes the output, or calls Instead.
func (l *Layer) Forward(in attention.Inputs) (attention.Outputs, error) {
	if l.Instead != nil {
		out, err := l.Instead(in)
		return attention.Outputs{Output: out}, err
	}
	out, err := l.MultiHead.Forward(in)
	if l.After != nil {
		l.After(in, l.dict, out.Output)
	}
	return out, err
}

// SubjectOf returns a subject whose layers are copies of l.
func SubjectOf(l Layer) subject.Subject {
	return subject.Subject{MHA: func(c attention.Config) (subject.Module, error) {
		m, err := attention.New(c)
		l.MultiHead = m
		return &l, err
	}}
}

// Unreadable returns a subject whose layers hide their parameters: none of them is a StateDicter.
func Unreadable(s subject.Subject) subject.Subject {
	made := s.MHA
	s.Name += ", not read back"
	s.MHA = func(c attention.Config) (subject.Module, error) {
		m, err := made(c)
		return struct{ subject.Module }{m}, err
	}
	return s
}

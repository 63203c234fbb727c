package subject

import (
	"fmt"

	"github.com/difftest/difftest/attention"
)

// Loading is the subject with a state dict of its own: every layer loads it, strictly, in place of the case's.
// The case still judges the output by its own parameters.
func (s Subject) Loading(dict attention.StateDict) Subject {
	maker := s.MHA
	if maker == nil {
		return s
	}
	s.MHA = func(c attention.Config) (Module, error) {
		m, err := maker(c)
		if err != nil {
			return nil, err
		}
		return loading{m, dict}, nil
	}
	return s
}

// loading is a layer that loads another state dict than it is given.
type loading struct {
	Module
	dict attention.StateDict
}

func (l loading) LoadStateDict(attention.StateDict, attention.Strictness) (attention.IncompatibleKeys, error) {
	own := attention.StateDict{}
	for key, t := range l.dict {
		own[key] = t.Clone()
	}
	keys, err := l.Module.LoadStateDict(own, attention.Strict)
	if err != nil {
		return keys, fmt.Errorf("of its own: %w", err)
	}
	return keys, nil
}

package subject_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/subject"
)

// meddling is a model that changes what it is given.
type meddling struct {
	dict    attention.StateDict
	changes func(subject.Arguments, attention.StateDict)
}

func (m *meddling) LoadStateDict(
	dict attention.StateDict, _ attention.Strictness,
) (attention.IncompatibleKeys, error) {
	m.dict = dict
	return attention.IncompatibleKeys{}, nil
}

func (m *meddling) Forward(a subject.Arguments) (*attention.Tensor, error) {
	m.changes(a, m.dict)
	return attention.NewTensor(1), nil
}

// A model gets copies of a case's arguments and parameters, and must not change them.
func TestRunProtectsTheDataOfAModule(t *testing.T) {
	c := harnesstest.ReadCase(t, "models/llama")
	for want, changes := range map[string]func(subject.Arguments, attention.StateDict){
		"the subject changes its input input_ids": func(a subject.Arguments, _ attention.StateDict) {
			a.Integers["input_ids"].Data[0]++
		},
		"the subject changes its input attention_mask": func(a subject.Arguments, _ attention.StateDict) {
			delete(a.Integers, "attention_mask")
		},
		"the subject changes the state dict it loads: lm_head.weight": func(
			_ subject.Arguments, dict attention.StateDict,
		) {
			dict["lm_head.weight"].Data[0]++
		},
	} {
		s := subject.Subject{Model: func(d subject.Description) (subject.Model, error) {
			require.Equal(t, "pyref.zoo.decoders.LlamaForCausalLM", d.Class)
			require.Contains(t, d.Keys, "lm_head.weight")
			require.Contains(t, string(d.Settings), "rms_norm_eps")
			require.Contains(t, d.Structure[0], "LlamaForCausalLM")
			return &meddling{changes: changes}, nil
		}}
		require.Equal(t, []string{want}, s.Run(t.Context(), c).Findings)
		require.NoError(t, harnesstest.BuiltIn().Run(t.Context(), c).Err, "the case is as it was")
	}
	require.ErrorIs(t, subject.Subject{}.Run(t.Context(), c).Err, subject.ErrNotOffered)
}

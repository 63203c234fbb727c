package checkpoint_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/fixture"
)

func TestTwins(t *testing.T) {
	w := model()
	w["tied"] = w["W_Q"]
	w["also"] = attention.NewTensor(12) // all zero, like "zero"
	w["flat"] = &attention.Tensor{Shape: []int{400}, Data: w["W_Q"].Data}
	twins, err := fileOf(t, w).Twins()
	require.NoError(t, err)
	require.Equal(t, [][]string{{"W_Q", "tied"}}, twins)
}

func TestStatistics(t *testing.T) {
	statistics := func(values ...float32) (checkpoint.Statistics, error) {
		w := &attention.Tensor{Shape: []int{len(values)}, Data: values}
		return fileOf(t, attention.StateDict{"w": w}).Tensor("w").Statistics()
	}
	s, err := statistics(0, 1, -3, 0, float32(math.NaN()), 2)
	require.NoError(t, err)
	want := checkpoint.Statistics{Elements: 6, Zeros: 2, NonFinite: 1, Mean: 0, Std: math.Sqrt(14.0 / 5), Largest: 3}
	require.Equal(t, want, s)
	s, err = statistics(float32(math.Inf(1)))
	require.NoError(t, err)
	require.Equal(t, 1, s.NonFinite)
	require.True(t, math.IsNaN(s.Mean) && math.IsNaN(s.Std) && math.IsNaN(s.Largest))
}

// No parameter of a case looks untouched, except two that were drawn so on purpose.
func TestParametersOfCasesDoNotLookUntouched(t *testing.T) {
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	looked := map[string][]string{}
	count := 0
	for _, name := range names {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		if len(c.State) == 0 {
			continue
		}
		f := fileOf(t, c.State)
		count += len(f.Tensors)
		for _, tensor := range f.Tensors {
			s, err := tensor.Statistics()
			require.NoError(t, err)
			if s.Origin != "" {
				looked[s.Origin] = append(looked[s.Origin], name+" "+tensor.Name)
			}
		}
		found, err := f.Against(parameters(c.State))
		require.NoError(t, err)
		require.Empty(t, found.Findings, name)
		require.Equal(t, checkpoint.Naming{}, found.Naming, name)
	}
	require.Greater(t, count, 300)
	require.Equal(t, map[string][]string{
		"as torch.randn draws them: mean 0, standard deviation 1": {
			"mha/hot in_proj_weight", "mha/hot out_proj.weight",
		},
	}, looked)
}

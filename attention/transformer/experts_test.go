package transformer_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/attention/transformer"
)

// routed returns the weight of each of four experts for a token whose router logits are given. The
// expert n gives 10^n, so that the digits of an output tell the weights.
func routed(t *testing.T, c transformer.ExpertsConfig, logits, choice []float32) []float64 {
	t.Helper()
	c.HiddenSize, c.HiddenAct, c.MoeIntermediateSize = 4, transformer.ReLU, 1
	c.NumExperts = len(logits)
	m, err := transformer.NewExperts(c)
	require.NoError(t, err)
	dict := m.StateDict()
	for n, logit := range logits {
		dict["gate.weight"].Data[n*4] = logit
		dict["experts.gate_up_proj"].Data[n*2*4] = 1   // gate: the first feature, 1
		dict["experts.gate_up_proj"].Data[n*2*4+4] = 1 // up
		dict["experts.down_proj"].Data[n*4+n%4] = 1
	}
	if choice != nil {
		copy(dict["gate.e_score_correction_bias"].Data, choice)
	}
	load(t, m, dict)
	y, err := m.Forward(vector(1, 0, 0, 0))
	require.NoError(t, err)
	return y.Float64s()
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// Softmax scores are taken over all experts before the choice.
func TestSoftmaxRouting(t *testing.T) {
	logits := []float32{0, float32(math.Log(3)), float32(math.Log(4)), float32(math.Log(2))}
	c := transformer.ExpertsConfig{NumExpertsPerTok: 2}
	require.InDeltaSlice(t, []float64{0, .3, .4, 0}, routed(t, c, logits, nil), 1e-6)
	c.NormTopKProb = true
	require.InDeltaSlice(t, []float64{0, 3. / 7, 4. / 7, 0}, routed(t, c, logits, nil), 1e-6)
	c.RoutedScalingFactor = 7
	require.InDeltaSlice(t, []float64{0, 3, 4, 0}, routed(t, c, logits, nil), 1e-5)
	// The first of equal experts is chosen.
	require.InDeltaSlice(t, []float64{3.5, 3.5, 0, 0}, routed(t, c, []float32{1, 1, 1, 1}, nil), 1e-5)
}

// The bias of the choice changes the choice, and no weight.
func TestSigmoidRouting(t *testing.T) {
	logits := []float32{0, 1, 2, -1}
	c := transformer.ExpertsConfig{NumExpertsPerTok: 2, Scoring: transformer.SigmoidScores}
	require.InDeltaSlice(t, []float64{0, sigmoid(1), sigmoid(2), 0}, routed(t, c, logits, []float32{0, 0, 0, 0}), 1e-6)
	require.InDeltaSlice(t, []float64{0, 0, sigmoid(2), sigmoid(-1)}, routed(t, c, logits, []float32{0, 0, 0, 1}), 1e-6)
}

// Experts come from the best groups, and a group counts by its two best experts.
func TestGroupsOfExperts(t *testing.T) {
	c := transformer.ExpertsConfig{
		NumExpertsPerTok: 2, Scoring: transformer.SigmoidScores, NGroup: 2, TopKGroup: 1,
	}
	// The best expert, number 0, stands in the worse group.
	logits := []float32{3, -9, 1, 2}
	require.InDeltaSlice(t, []float64{0, 0, sigmoid(1), sigmoid(2)}, routed(t, c, logits, nil), 1e-6)
	c.TopKGroup = 2
	require.InDeltaSlice(t, []float64{sigmoid(3), 0, 0, sigmoid(2)}, routed(t, c, logits, nil), 1e-6)
}

// Every token passes the shared MLP, multiplied by the sigmoid of its gate if it has one.
func TestSharedExperts(t *testing.T) {
	c := smallExperts
	c.SharedIntermediateSize = 3
	x := vector(1, -2, 3, 0, 0, 1, 2, 1, 0, 0, 0, -1)
	for _, gated := range []bool{false, true} {
		c.SharedGate = gated
		name := map[bool]string{false: "shared_experts.", true: "shared_expert."}[gated]
		m, err := transformer.NewExperts(c)
		require.NoError(t, err)
		dict := fill(t, m, 2)
		all, err := m.Forward(x)
		require.NoError(t, err)

		mlp, err := transformer.NewMLP(transformer.MLPConfig{HiddenSize: 12, IntermediateSize: 3, HiddenAct: c.HiddenAct})
		require.NoError(t, err)
		shared := mlp.StateDict()
		for key := range shared {
			shared[key] = dict[name+key]
		}
		load(t, mlp, shared)
		own, err := mlp.Forward(x)
		require.NoError(t, err)
		factor := 1.0
		if gated {
			sum := 0.0
			for i, v := range x.Data {
				sum += float64(v) * float64(dict["shared_expert_gate.weight"].Data[i])
			}
			factor = sigmoid(sum)
		}

		clear(dict[name+"down_proj.weight"].Data)
		load(t, m, dict)
		without, err := m.Forward(x)
		require.NoError(t, err)
		for i := range all.Data {
			want := float64(without.Data[i]) + factor*float64(own.Data[i])
			require.InDelta(t, want, all.Data[i], 1e-4)
		}
	}
}

// Tokens do not depend on one another.
func TestExpertsTakeEachTokenByItself(t *testing.T) {
	m, err := transformer.NewExperts(smallExperts)
	require.NoError(t, err)
	fill(t, m, 3)
	two := attention.NewTensor(2, 12)
	for i := range two.Data {
		two.Data[i] = float32(i%5) - 2
	}
	both, err := m.Forward(two)
	require.NoError(t, err)
	second, err := m.Forward(vector(two.Data[12:]...))
	require.NoError(t, err)
	require.Equal(t, second.Data, both.Data[12:])
}

package transformer

import (
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
)

// ExpertsConfig describes experts: a router that chooses a few MLPs for each token.
type ExpertsConfig struct {
	// HiddenSize is D: hidden_size.
	HiddenSize int
	// MoeIntermediateSize is I, the inner width of one expert: moe_intermediate_size, or
	// intermediate_size in Mixtral.
	MoeIntermediateSize int
	// HiddenAct is the activation of every expert: hidden_act.
	HiddenAct Activation
	// NumExperts is N: num_local_experts, num_experts or n_routed_experts.
	NumExperts int
	// NumExpertsPerTok is the number of experts of a token: num_experts_per_tok.
	NumExpertsPerTok int

	// Scoring selects how the router's logits become scores. The zero value is SoftmaxScores.
	Scoring Scoring
	// NormTopKProb divides the scores of the chosen experts by their sum: norm_topk_prob. Mixtral
	// always does.
	NormTopKProb bool
	// RoutedScalingFactor multiplies the weights of the experts: routed_scaling_factor. 0 means 1.
	RoutedScalingFactor float64
	// NGroup cuts the experts into groups, and TopKGroup is the number of groups that experts are
	// chosen from: n_group, topk_group. A group counts by the sum of its two best scores. 0, for
	// both, is one group.
	NGroup, TopKGroup int

	// SharedIntermediateSize is the inner width of an MLP that every token passes, added to the
	// experts: shared_expert_intermediate_size, or moe_intermediate_size * n_shared_experts. 0
	// means none.
	SharedIntermediateSize int
	// SharedGate multiplies the shared MLP by the sigmoid of a learned gate, as Qwen2-MoE does.
	SharedGate bool
}

// Scoring selects how the logits of a router become the scores of experts.
type Scoring int

const (
	// SoftmaxScores are a softmax over all experts, as in Mixtral and Qwen2-MoE.
	SoftmaxScores Scoring = iota
	// SigmoidScores are the sigmoid of each logit, as in DeepSeek-V3 and GLM-4-MoE. A learned bias,
	// the parameter gate.e_score_correction_bias (N), is added for the choice of experts alone.
	SigmoidScores
)

// NewExperts returns experts whose parameters are zeros, as MixtralSparseMoeBlock,
// Qwen2MoeSparseMoeBlock and Glm4MoeMoE (transformers 5.24.0), as the configuration selects. The
// parameters are gate.weight (N, D), experts.gate_up_proj (N, 2*I, D), whose rows are the gate and
// then up, and experts.down_proj (N, D, I). The shared MLP is shared_expert with
// shared_expert_gate, or shared_experts without a gate. The error lists every field that cannot be.
func NewExperts(c ExpertsConfig) (*Block, error) {
	var r refusals
	c.check(&r)
	if err := r.err(); err != nil {
		return nil, err
	}
	s := &state{class: "Experts"}
	return &Block{state: s, width: c.HiddenSize, part: newExperts(scope{state: s}, c)}, nil
}

func (c ExpertsConfig) check(r *refusals) {
	r.width("hidden size", c.HiddenSize)
	r.width("moe intermediate size", c.MoeIntermediateSize)
	r.activation(c.HiddenAct)
	r.width("num experts", c.NumExperts)
	r.refuse(c.NumExpertsPerTok < 1 || c.NumExpertsPerTok > c.NumExperts,
		"num experts per tok %d, want at least 1 and at most num experts %d", c.NumExpertsPerTok, c.NumExperts)
	r.refuse(c.Scoring != SoftmaxScores && c.Scoring != SigmoidScores, "unknown scoring %d", c.Scoring)
	r.refuse(!finite(c.RoutedScalingFactor) || c.RoutedScalingFactor < 0,
		"routed scaling factor %v, want 0 (1) or a positive number", c.RoutedScalingFactor)
	r.refuse(c.SharedIntermediateSize < 0 || c.SharedIntermediateSize > maxWidth,
		"shared intermediate size %d, want 0 (none) or a width", c.SharedIntermediateSize)
	r.refuse(c.SharedGate && c.SharedIntermediateSize == 0, "shared gate: without a shared intermediate size")
	c.checkGroups(r)
}

func (c ExpertsConfig) checkGroups(r *refusals) {
	if c.NGroup == 0 && c.TopKGroup == 0 {
		return
	}
	fits := c.NGroup >= 1 && c.TopKGroup >= 1 && c.TopKGroup <= c.NGroup && c.NumExperts%c.NGroup == 0
	r.refuse(!fits, "n group %d and topk group %d: want a divisor of num experts %d, and at most that",
		c.NGroup, c.TopKGroup, c.NumExperts)
	r.refuse(fits && c.NumExperts/c.NGroup < 2, "n group %d: want two experts or more in a group", c.NGroup)
	r.refuse(fits && c.NumExperts/c.NGroup*c.TopKGroup < c.NumExpertsPerTok,
		"topk group %d has fewer experts than num experts per tok %d", c.TopKGroup, c.NumExpertsPerTok)
}

// experts is a router, its N experts and perhaps a shared MLP.
type experts struct {
	config ExpertsConfig
	router *linear           // (N, D)
	choice *attention.Tensor // (N), added for the choice alone; nil for none
	each   []*gatedMLP       // the N experts; their weights share memory with the parameters
	shared *gatedMLP         // nil for none
	gate   *linear           // (1, D), of the shared MLP; nil for none
}

func newExperts(s scope, c ExpertsConfig) *experts {
	n, d, inner := c.NumExperts, c.HiddenSize, c.MoeIntermediateSize
	m := &experts{config: c, router: s.in("gate").linear(d, n, withoutBias)}
	if c.Scoring == SigmoidScores {
		m.choice = s.in("gate").add("e_score_correction_bias", n)
	}
	gateUp := s.in("experts").add("gate_up_proj", n, 2*inner, d)
	down := s.in("experts").add("down_proj", n, d, inner)
	for i := range n {
		both := gateUp.Data[i*2*inner*d:][:2*inner*d]
		m.each = append(m.each, &gatedMLP{
			gate: &linear{weight: &attention.Tensor{Shape: []int{inner, d}, Data: both[:inner*d]}},
			up:   &linear{weight: &attention.Tensor{Shape: []int{inner, d}, Data: both[inner*d:]}},
			down: &linear{weight: &attention.Tensor{Shape: []int{d, inner}, Data: down.Data[i*d*inner:][:d*inner]}},
			act:  c.HiddenAct,
		})
	}
	shared := MLPConfig{HiddenSize: d, IntermediateSize: c.SharedIntermediateSize, HiddenAct: c.HiddenAct}
	switch {
	case c.SharedGate:
		m.shared = newGatedMLP(s.in("shared_expert"), shared)
		m.gate = s.in("shared_expert_gate").linear(d, 1, withoutBias)
	case c.SharedIntermediateSize > 0:
		m.shared = newGatedMLP(s.in("shared_experts"), shared)
	}
	return m
}

// forward computes each token by itself: (..., D) -> (..., D).
func (m *experts) forward(x *attention.Tensor) *attention.Tensor {
	y, d := attention.NewTensor(x.Shape...), m.config.HiddenSize
	for at := 0; at < len(x.Data); at += d {
		token := &attention.Tensor{Shape: []int{d}, Data: x.Data[at:][:d]}
		copy(y.Data[at:], m.token(token).Data)
	}
	return y
}

// token computes one token: (D) -> (D).
func (m *experts) token(x *attention.Tensor) *attention.Tensor {
	// 1. Score the experts.
	scores := m.scores(m.router.forward(x).Data) // (D) -> (N)

	// 2. Choose experts, and weigh them.
	chosen := m.choose(scores)
	weights := m.weigh(scores, chosen)

	// 3. Add the chosen experts.
	sum := make([]float64, len(x.Data))
	for i, expert := range chosen {
		for c, v := range m.each[expert].forward(x).Data {
			sum[c] += float64(weights[i]) * float64(v)
		}
	}

	// 4. Add the shared MLP.
	if m.shared != nil {
		factor := 1.0
		if m.gate != nil {
			factor = sigmoid(float64(m.gate.forward(x).Data[0]))
		}
		for c, v := range m.shared.forward(x).Data {
			sum[c] += factor * float64(v)
		}
	}
	y := attention.NewTensor(x.Shape...)
	for c, v := range sum {
		y.Data[c] = float32(v)
	}
	return y
}

// scores returns the scores of the experts (N) from the router's logits (N).
func (m *experts) scores(logits []float32) []float32 {
	scores := make([]float32, len(logits))
	if m.config.Scoring == SigmoidScores {
		for i, v := range logits {
			scores[i] = float32(sigmoid(float64(v)))
		}
		return scores
	}
	top, sum := slices.Max(logits), 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v - top))
	}
	for i, v := range logits {
		scores[i] = float32(math.Exp(float64(v-top)) / sum)
	}
	return scores
}

// choose returns the experts of a token, the best first. The first of equal experts is better.
func (m *experts) choose(scores []float32) []int {
	choice := slices.Clone(scores)
	if m.choice != nil {
		for i, v := range m.choice.Data {
			choice[i] += v
		}
	}
	return best(choice, m.config.NumExpertsPerTok, m.visible(choice))
}

// visible returns the experts in the best groups, nil for all.
func (m *experts) visible(choice []float32) []int {
	if m.config.NGroup < 2 {
		return nil
	}
	size := len(choice) / m.config.NGroup
	totals := make([]float32, m.config.NGroup)
	for g := range totals {
		group := choice[g*size:][:size]
		two := best(group, 2, nil)
		totals[g] = group[two[0]] + group[two[1]]
	}
	var experts []int
	for _, g := range best(totals, m.config.TopKGroup, nil) {
		for i := range size {
			experts = append(experts, g*size+i)
		}
	}
	slices.Sort(experts)
	return experts
}

// best returns the places of the k largest values, the largest first, among some places. nil is all
// places.
func best(values []float32, k int, among []int) []int {
	order := slices.Clone(among)
	if among == nil {
		for i := range values {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case values[a] > values[b]:
			return -1
		case values[a] < values[b]:
			return 1
		}
		return 0
	})
	return order[:k]
}

// weigh returns the weight of each chosen expert.
func (m *experts) weigh(scores []float32, chosen []int) []float32 {
	sum, factor := 0.0, m.config.RoutedScalingFactor
	for _, i := range chosen {
		sum += float64(scores[i])
	}
	if !m.config.NormTopKProb {
		sum = 1
	}
	if factor == 0 {
		factor = 1
	}
	weights := make([]float32, len(chosen))
	for n, i := range chosen {
		weights[n] = float32(float64(scores[i]) / sum * factor)
	}
	return weights
}

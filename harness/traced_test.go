package harness_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness"
	"github.com/difftest/difftest/harness/internal/campaign"
)

// traced is a Llama as a user might write it in Go. It computes one sequence after another, keeps
// the outputs of its modules, and makes one mistake in layer 1.
type traced struct {
	mistake string
	dict    attention.StateDict
	layers  int
	heads   int // of queries
	shared  int // of keys and values
	size    int // of a head
	eps     float64
	base    float64
	outputs map[string]*attention.Tensor
}

// tracedWith returns a subject that computes Llamas alone.
func tracedWith(mistake string) harness.Subject {
	return harness.Subject{Name: "traced", Model: func(d harness.Description) (harness.Model, error) {
		if !strings.HasSuffix(d.Class, "LlamaForCausalLM") {
			return nil, errors.ErrUnsupported
		}
		var settings struct {
			Layers int     `json:"num_hidden_layers"`
			Heads  int     `json:"num_attention_heads"`
			Shared int     `json:"num_key_value_heads"`
			Size   int     `json:"head_dim"`
			Eps    float64 `json:"rms_norm_eps"`
			Rope   struct {
				Theta float64 `json:"rope_theta"`
			} `json:"rope_parameters"`
		}
		err := json.Unmarshal(d.Settings, &settings)
		return &traced{
			mistake: mistake, layers: settings.Layers, heads: settings.Heads, shared: settings.Shared,
			size: settings.Size, eps: settings.Eps, base: settings.Rope.Theta,
		}, err
	}}
}

func (m *traced) LoadStateDict(
	dict attention.StateDict, _ attention.Strictness,
) (attention.IncompatibleKeys, error) {
	m.dict = dict
	return attention.IncompatibleKeys{}, nil
}

func (m *traced) Trace() map[string]*attention.Tensor { return m.outputs }

func (m *traced) Forward(a harness.Arguments) (*attention.Tensor, error) {
	ids, mask := a.Integers["input_ids"], a.Integers["attention_mask"]
	batch, length := ids.Shape[0], ids.Shape[1]
	m.outputs = map[string]*attention.Tensor{}
	for b := range batch {
		x := make([][]float32, length)
		for t := range x {
			embeddings := m.dict["model.embed_tokens.weight"]
			width := embeddings.Shape[1]
			x[t] = embeddings.Data[ids.Data[b*length+t]*width:][:width]
		}
		m.keep("model.embed_tokens", b, batch, x)
		for n := range m.layers {
			x = m.layer(n, b, batch, x, mask.Data[b*length:][:length])
		}
		x = m.norm("model.norm", b, batch, x)
		m.linear("lm_head", b, batch, x)
	}
	return m.outputs["lm_head"], nil
}

// makes reports whether layer n makes a mistake.
func (m *traced) makes(n int, mistake string) bool { return n == 1 && m.mistake == mistake }

func (m *traced) layer(n, b, batch int, x [][]float32, mask []int) [][]float32 {
	path := fmt.Sprintf("model.layers.%d", n)
	normed := m.norm(path+".input_layernorm", b, batch, x)
	if m.makes(n, "norm-skipped") {
		normed = x
	}
	attended := m.attention(n, b, batch, normed, mask)
	switch {
	case m.makes(n, "residual-from-norm"):
		x = normed
	case m.makes(n, "residual-attention-missing"):
		x = zeros(x)
	}
	x = sum(x, attended)
	normed = m.norm(path+".post_attention_layernorm", b, batch, x)
	inner := m.mlp(n, b, batch, normed)
	switch {
	case m.makes(n, "residual-from-norm"):
		x = normed
	case m.makes(n, "residual-mlp-missing"):
		x = zeros(x)
	}
	return m.keep(path, b, batch, sum(x, inner))
}

func (m *traced) norm(path string, b, batch int, x [][]float32) [][]float32 {
	weight, out := m.dict[path+".weight"].Data, make([][]float32, len(x))
	layer1 := strings.HasPrefix(path, "model.layers.1.post")
	for t, row := range x {
		mean, size := 0.0, 0.0
		for _, v := range row {
			mean += float64(v) / float64(len(row))
		}
		if !layer1 || m.mistake != "norm-mean-subtracted" {
			mean = 0
		}
		for _, v := range row {
			size += (float64(v) - mean) * (float64(v) - mean) / float64(len(row))
		}
		for i, v := range row {
			scale := float64(weight[i])
			if layer1 && m.mistake == "norm-offset-added" {
				scale++
			}
			out[t] = append(out[t], float32((float64(v)-mean)/math.Sqrt(size+m.eps)*scale))
		}
	}
	return m.keep(path, b, batch, out)
}

func (m *traced) linear(path string, b, batch int, x [][]float32) [][]float32 {
	weight, out := m.dict[path+".weight"], make([][]float32, len(x))
	rows, width := weight.Shape[0], weight.Shape[1]
	for t := range x {
		for r := range rows {
			total := float32(0)
			for i, w := range weight.Data[r*width:][:width] {
				total += w * x[t][i]
			}
			out[t] = append(out[t], total)
		}
	}
	return m.keep(path, b, batch, out)
}

func (m *traced) attention(n, b, batch int, x [][]float32, mask []int) [][]float32 {
	path := fmt.Sprintf("model.layers.%d.self_attn", n)
	q := m.linear(path+".q_proj", b, batch, x)
	k := m.linear(path+".k_proj", b, batch, x)
	v := m.linear(path+".v_proj", b, batch, x)
	context := zeros(q)
	for h := range m.heads {
		source := h / (m.heads / m.shared)
		if m.makes(n, "kv-heads-tiled") {
			source = h % m.shared
		}
		for t := range x {
			weights := make([]float64, len(x))
			query, total := m.turned(n, q[t][h*m.size:][:m.size], t), 0.0
			for j := range x {
				if mask[j] == 0 || j > t && !m.makes(n, "causal-missing") {
					continue
				}
				key, score := m.turned(n, k[j][source*m.size:][:m.size], j), 0.0
				for e := range key {
					score += query[e] * key[e]
				}
				if !m.makes(n, "scale-missing") {
					score /= math.Sqrt(float64(m.size))
				}
				weights[j] = math.Exp(score)
				total += weights[j]
			}
			for j, w := range weights {
				if w == 0 {
					continue // a query that sees no key leaves NaN in its row, which is padded
				}
				for e := range m.size {
					context[t][h*m.size+e] += float32(w / total * float64(v[j][source*m.size+e]))
				}
			}
		}
	}
	return m.keep(path, b, batch, m.linear(path+".o_proj", b, batch, context))
}

// turned returns a head with feature i and feature i + size/2 turned by the angle of a position.
func (m *traced) turned(n int, head []float32, position int) []float64 {
	out, half := make([]float64, len(head)), len(head)/2
	for i := range half {
		sin, cos := math.Sincos(float64(position) * math.Pow(m.base, -float64(2*i)/float64(len(head))))
		a, c := i, i+half
		if m.makes(n, "rope-other-style") {
			a, c = 2*i, 2*i+1
		}
		out[a] = float64(head[a])*cos - float64(head[c])*sin
		out[c] = float64(head[c])*cos + float64(head[a])*sin
	}
	return out
}

func (m *traced) mlp(n, b, batch int, x [][]float32) [][]float32 {
	path := fmt.Sprintf("model.layers.%d.mlp", n)
	gate, up := m.linear(path+".gate_proj", b, batch, x), m.linear(path+".up_proj", b, batch, x)
	inner := zeros(gate)
	for t := range gate {
		for i, g := range gate[t] {
			u := up[t][i]
			if m.makes(n, "gate-up-exchanged") {
				g, u = u, g
			}
			active := float64(g) / (1 + math.Exp(-float64(g)))
			if m.makes(n, "activation-relu") {
				active = max(0, float64(g))
			}
			inner[t][i] = float32(active) * u
		}
	}
	return m.keep(path, b, batch, m.linear(path+".down_proj", b, batch, inner))
}

// keep keeps the rows of one sequence as a part of a module's output.
func (m *traced) keep(path string, b, batch int, x [][]float32) [][]float32 {
	if m.outputs[path] == nil {
		m.outputs[path] = attention.NewTensor(batch, len(x), len(x[0]))
	}
	for t, row := range x {
		copy(m.outputs[path].Data[(b*len(x)+t)*len(row):], row)
	}
	return x
}

func zeros(x [][]float32) [][]float32 {
	out := make([][]float32, len(x))
	for t := range out {
		out[t] = make([]float32, len(x[t]))
	}
	return out
}

func sum(x, y [][]float32) [][]float32 {
	out := zeros(x)
	for t := range out {
		for i := range out[t] {
			out[t][i] = x[t][i] + y[t][i]
		}
	}
	return out
}

// A port in Go that traces its modules passes. Each mistake in one of its layers gets its name and
// its module.
func TestTracedModel(t *testing.T) {
	const layer = "model.layers.1"
	for n, tc := range []struct{ mistake, first string }{
		{"", ""},
		{"norm-skipped", layer + ".self_attn.q_proj"},
		{"norm-offset-added", layer + ".post_attention_layernorm"},
		{"norm-mean-subtracted", layer + ".post_attention_layernorm"},
		{"residual-from-norm", layer + ".post_attention_layernorm"},
		{"residual-attention-missing", layer + ".post_attention_layernorm"},
		{"residual-mlp-missing", layer},
		{"kv-heads-tiled", layer + ".self_attn.o_proj"},
		{"causal-missing", layer + ".self_attn.o_proj"},
		{"scale-missing", layer + ".self_attn.o_proj"},
		{"rope-other-style", layer + ".self_attn.o_proj"},
		{"gate-up-exchanged", layer + ".mlp.down_proj"},
		{"activation-relu", layer + ".mlp.down_proj"},
	} {
		if n%4 > 0 && !campaign.Full() {
			continue
		}
		t.Run(tc.mistake, func(t *testing.T) {
			r, err := harness.Check(t.Context(), fixtures.FS, tracedWith(tc.mistake), harness.Select("models/llama"))
			require.NoError(t, err)
			result := r.Results[0]
			require.Equal(t, tc.first, result.First)
			if tc.mistake == "" {
				require.Equal(t, harness.Pass, result.Verdict)
				return
			}
			require.Equal(t, harness.Fail, result.Verdict)
			var ids []string
			for _, e := range result.Explanations {
				ids = append(ids, e.IDs...)
			}
			require.Contains(t, ids, tc.mistake)
		})
	}
}

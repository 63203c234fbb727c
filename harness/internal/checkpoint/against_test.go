package checkpoint_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/npy"
)

// model draws parameters as no initialiser does.
func model() attention.StateDict {
	r := rand.New(rand.NewPCG(1, 2))
	dict := attention.StateDict{}
	for _, p := range []struct {
		name  string
		shape []int
	}{
		{"W_Q", []int{20, 20}}, {"W_K", []int{20, 20}}, {"W_V", []int{12, 20}}, {"W_O", []int{20, 12}},
		{"b", []int{20}}, {"zero", []int{12}},
	} {
		t := attention.NewTensor(p.shape...)
		for i := range t.Data {
			if p.name != "zero" {
				t.Data[i] = float32(0.1 * r.NormFloat64())
			}
		}
		dict[p.name] = t
	}
	return dict
}

// fileOf writes a state dict as .safetensors and opens it.
func fileOf(t *testing.T, dict attention.StateDict) *checkpoint.File {
	t.Helper()
	return newFile(t, harnesstest.Safetensors(dict))
}

func newFile(t *testing.T, data []byte) *checkpoint.File {
	t.Helper()
	f, err := checkpoint.New(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	return f
}

// with returns a tensor of the same shape with other values.
func with(t *attention.Tensor, value func(i int) float32) *attention.Tensor {
	out := t.Clone()
	for i := range out.Data {
		out.Data[i] = value(i)
	}
	return out
}

// A parameter of the right shape with other values.
func TestAgainstOtherValues(t *testing.T) {
	w := model()
	q, b := w["W_Q"].Data, w["b"].Data // 20 x 20 and 20
	r := rand.New(rand.NewPCG(3, 4))
	const untouched = "it looks like it was never loaded: "
	for _, tc := range []struct {
		name, key string
		value     func(i int) float32
		want      string // the beginning of the finding, empty for none
	}{
		{"right", "W_Q", func(i int) float32 { return q[i] }, ""},
		{"rounded to bfloat16", "W_Q", func(i int) float32 {
			return math.Float32frombits((math.Float32bits(q[i]) + 0x8000) &^ 0xffff)
		}, ""},
		{"transposed", "W_Q", func(i int) float32 { return q[i%20*20+i/20] }, "it is transposed"},
		{"shifted", "W_Q", func(i int) float32 { return q[(i+3*20)%400] }, "its rows are shifted: row 3 is first"},
		{
			"shifted elements", "b", func(i int) float32 { return b[(i+19)%20] },
			"its elements are shifted: element 19 is first",
		},
		{
			"shifted columns", "W_Q", func(i int) float32 { return q[i/20*20+(i+5)%20] },
			"its columns are shifted: column 5 is first",
		},
		{
			"rows in another order", "W_Q", func(i int) float32 { return q[(i/20^1)*20+i%20] },
			"it has the right rows in another order",
		},
		{
			"columns in another order", "W_Q", func(i int) float32 { return q[i^1] },
			"it has the right columns in another order",
		},
		{
			"a row twice", "W_Q", func(i int) float32 { return q[max(i/20, 1)*20+i%20] },
			"it has other values: rel 0.271, cosine 0.963",
		},
		{"zero", "W_O", func(int) float32 { return 0 }, untouched + "all zeros"},
		{"zeros that are right", "zero", func(int) float32 { return 0 }, ""},
		{"one", "b", func(int) float32 { return 1 }, untouched + "every element is 1"},
		{
			"drawn again", "W_Q", func(int) float32 { return float32(r.NormFloat64()) },
			untouched + "as torch.randn draws them: mean 0, standard deviation 1",
		},
		{
			"drawn at the right scale", "W_Q", func(int) float32 { return float32(0.1 * r.NormFloat64()) },
			"it has other values: ",
		},
		{"as nn.Linear begins", "W_Q", func(int) float32 {
			return float32((2*r.Float64() - 1) / math.Sqrt(20))
		}, untouched + "uniform within 1/sqrt(in), as nn.Linear begins"},
		{"as nn.MultiheadAttention begins", "W_Q", func(int) float32 {
			return float32((2*r.Float64() - 1) * math.Sqrt(6.0/40))
		}, untouched + "uniform within sqrt(6/(in + out))"},
		{"nearly as nn.Linear begins", "W_Q", func(int) float32 {
			return float32(0.95 * (2*r.Float64() - 1) / math.Sqrt(20))
		}, "it has other values: "},
		{
			"signs, of standard deviation 1", "W_Q", func(int) float32 { return float32(2*r.IntN(2) - 1) },
			"it has other values: ",
		},
		{"never written", "W_Q", func(i int) float32 {
			return float32(i%2) * 0x1p-140 * float32(i)
		}, untouched + "denormal numbers"},
		{"scaled", "W_Q", func(i int) float32 { return -0.25 * q[i] }, "it is -0.25 times the right values"},
		{"not finite", "W_Q", func(i int) float32 {
			if i == 7 {
				return float32(math.NaN())
			}
			return q[i]
		}, "1 of its 400 elements are NaN or infinite"},
		{"reversed bytes", "W_Q", func(i int) float32 {
			return math.Float32frombits(bits.ReverseBytes32(math.Float32bits(q[i])))
		}, "its bytes are in big-endian order"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dict := model()
			dict[tc.key] = with(dict[tc.key], tc.value)
			var want []checkpoint.Finding
			if tc.want != "" {
				want = []checkpoint.Finding{{Names: []string{tc.key}, Text: tc.want}}
			}
			requireFindings(t, dict, want)
		})
	}
}

// Parameters that were swapped, have another shape, or are missing.
func TestAgainstOtherParameters(t *testing.T) {
	w := model()
	r := rand.New(rand.NewPCG(3, 4))
	reshaped := func(t *attention.Tensor, shape ...int) *attention.Tensor {
		return &attention.Tensor{Shape: shape, Data: t.Data}
	}
	for _, tc := range []struct {
		name  string
		spoil attention.StateDict // replaces parameters; nil removes one
		want  []checkpoint.Finding
	}{
		{"swapped", attention.StateDict{"W_Q": w["W_K"], "W_K": w["W_Q"]}, []checkpoint.Finding{
			{Names: []string{"W_K", "W_Q"}, Text: "each has the values of the other: exchange the two keys"},
		}},
		{"swapped, with other shapes", attention.StateDict{"W_V": w["W_O"], "W_O": w["W_V"]}, []checkpoint.Finding{
			{Names: []string{"W_O", "W_V"}, Text: "each has the values of the other: exchange the two keys"},
		}},
		{
			"transposed", attention.StateDict{
				"W_V": with(w["W_O"], func(i int) float32 { return w["W_V"].Data[i%12*20+i/12] }),
			},
			[]checkpoint.Finding{{Names: []string{"W_V"}, Text: "it is transposed"}},
		},
		{
			"the shape of the transposed", attention.StateDict{
				"W_V": with(w["W_O"], func(int) float32 { return float32(r.NormFloat64()) }),
			},
			[]checkpoint.Finding{{Names: []string{"W_V"}, Text: "it has shape (20, 12), the case has (12, 20), " +
				"as if transposed, and other values"}},
		},
		{
			"another shape", attention.StateDict{"W_Q": reshaped(w["W_Q"], 4, 5, 20)},
			[]checkpoint.Finding{{Names: []string{"W_Q"}, Text: "it has the right values in another shape, (4, " +
				"5, 20)"}},
		},
		{
			"reshaped, not transposed", attention.StateDict{"W_V": reshaped(w["W_V"], 20, 12)},
			[]checkpoint.Finding{{Names: []string{"W_V"}, Text: "it has the right values in another shape, (20, 12)"}},
		},
		{
			"the shape of another", attention.StateDict{"b": attention.NewTensor(12)},
			[]checkpoint.Finding{{Names: []string{"b"}, Text: "it has shape (12,), the case has (20,); zero has " +
				"that shape, and other values"}},
		},
		{
			"a shape of its own", attention.StateDict{"b": attention.NewTensor(7)},
			[]checkpoint.Finding{{Names: []string{"b"}, Text: "it has shape (7,), the case has (20,)"}},
		},
		{"missing", attention.StateDict{"W_Q": nil}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dict := model()
			for key, value := range tc.spoil {
				if dict[key] = value; value == nil {
					delete(dict, key)
				}
			}
			requireFindings(t, dict, tc.want)
		})
	}
}

// requireFindings compares a file of the dict with the model. Each finding must begin with the
// text.
func requireFindings(t *testing.T, dict attention.StateDict, want []checkpoint.Finding) {
	t.Helper()
	c, err := fileOf(t, dict).Against(parameters(model()))
	require.NoError(t, err)
	require.Equal(t, checkpoint.Naming{}, c.Naming)
	got := c.Findings
	require.Len(t, got, len(want), "%v", got)
	for i := range want {
		require.Equal(t, want[i].Names, got[i].Names)
		require.True(t, strings.HasPrefix(got[i].Text, want[i].Text), "%q, want %q", got[i].Text, want[i].Text)
	}
}

// The bits of one 16-bit type under the name of another.
func TestAgainstOtherBits(t *testing.T) {
	w := attention.StateDict{"W": model()["W_Q"]}
	var data []byte
	for _, v := range w["W"].Data {
		data = binary.LittleEndian.AppendUint16(data, uint16((math.Float32bits(v)+0x8000)>>16))
	}
	for dtype, want := range map[string]string{
		"BF16": "", "F16": "its bytes are right as bfloat16, but the file calls them float16",
		"U16": "its bytes are right as bfloat16, but the file calls them uint16",
	} {
		f := newFile(t, safetensors(header(entry("W", dtype, "20,20", 0, 800)), data))
		got, err := f.Against(parameters(w))
		require.NoError(t, err)
		if want == "" {
			require.Empty(t, got.Findings)
			continue
		}
		require.Equal(t, []checkpoint.Finding{{Names: []string{"W"}, Text: want}}, got.Findings)
	}
}

// parameters returns the parameters of a model as float32.
func parameters(dict attention.StateDict) map[string]checkpoint.Parameter {
	model := map[string]checkpoint.Parameter{}
	for name, v := range dict {
		model[name] = checkpoint.Parameter{DType: npy.Float32, Shape: v.Shape, Values: v.Float64s()}
	}
	return model
}

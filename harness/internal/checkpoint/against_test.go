package checkpoint_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
)

// model draws parameters that no initialiser draws.
func model() attention.StateDict {
	r := rand.New(rand.NewPCG(1, 2))
	dict := attention.StateDict{}
	for _, p := range []struct {
		name  string
		shape []int
	}{{"W_Q", []int{20, 20}}, {"W_K", []int{20, 20}}, {"W_V", []int{12, 20}}, {"W_O", []int{20, 12}}, {"b", []int{20}}, {"zero", []int{12}}} {
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

// fileOf is a .safetensors file of a state dict.
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

// with is a copy of the tensor with other values.
func with(t *attention.Tensor, value func(i int) float32) *attention.Tensor {
	out := t.Clone()
	for i := range out.Data {
		out.Data[i] = value(i)
	}
	return out
}

func TestAgainst(t *testing.T) {
	w := model()
	r := rand.New(rand.NewPCG(3, 4))
	at := func(t *attention.Tensor) func(int) float32 { return func(i int) float32 { return t.Data[i] } }
	reshaped := func(t *attention.Tensor, shape ...int) *attention.Tensor {
		return &attention.Tensor{Shape: shape, Data: t.Data}
	}
	for _, tc := range []struct {
		name  string
		spoil func(d attention.StateDict)
		want  []checkpoint.Finding
	}{
		{"right", func(attention.StateDict) {}, nil},
		{"rounded to bfloat16", func(d attention.StateDict) {
			d["W_Q"] = with(w["W_Q"], func(i int) float32 {
				return math.Float32frombits((math.Float32bits(w["W_Q"].Data[i]) + 0x8000) &^ 0xffff)
			})
		}, nil},
		{"swapped", func(d attention.StateDict) { d["W_Q"], d["W_K"] = w["W_K"], w["W_Q"] }, []checkpoint.Finding{
			{"W_K", "it has the values of W_Q: are the two swapped?"}, {"W_Q", "it has the values of W_K: are the two swapped?"}}},
		{"swapped, of other shapes", func(d attention.StateDict) { d["W_V"], d["W_O"] = w["W_O"], w["W_V"] }, []checkpoint.Finding{
			{"W_O", "it has the values of W_V: are the two swapped?"}, {"W_V", "it has the values of W_O: are the two swapped?"}}},
		{"transposed, square", func(d attention.StateDict) {
			d["W_Q"] = with(w["W_Q"], func(i int) float32 { return w["W_Q"].Data[i%20*20+i/20] })
		}, []checkpoint.Finding{{"W_Q", "it is transposed"}}},
		{"transposed", func(d attention.StateDict) {
			d["W_V"] = with(w["W_O"], func(i int) float32 { return w["W_V"].Data[i%12*20+i/12] })
		}, []checkpoint.Finding{{"W_V", "it is transposed"}}},
		{"the shape of the transposed", func(d attention.StateDict) {
			d["W_V"] = with(w["W_O"], func(int) float32 { return float32(r.NormFloat64()) })
		}, []checkpoint.Finding{{"W_V", "it has the shape of the transposed parameter, and other values"}}},
		{"another shape", func(d attention.StateDict) { d["W_Q"] = reshaped(w["W_Q"], 4, 5, 20) }, []checkpoint.Finding{
			{"W_Q", "it has the right values in another shape, (4, 5, 20)"}}},
		{"reshaped, not transposed", func(d attention.StateDict) { d["W_V"] = reshaped(w["W_V"], 20, 12) }, []checkpoint.Finding{
			{"W_V", "it has the right values in another shape, (20, 12)"}}},
		{"the shape of another", func(d attention.StateDict) { d["b"] = attention.NewTensor(12) }, []checkpoint.Finding{
			{"b", "it has the shape of zero, and other values"}}},
		{"a shape of its own", func(d attention.StateDict) { d["b"] = attention.NewTensor(7) }, nil},
		{"shifted", func(d attention.StateDict) {
			d["W_Q"] = with(w["W_Q"], func(i int) float32 { return w["W_Q"].Data[(i+3*20)%400] })
		}, []checkpoint.Finding{{"W_Q", "its rows are shifted: row 3 is first"}}},
		{"shifted elements", func(d attention.StateDict) {
			d["b"] = with(w["b"], func(i int) float32 { return w["b"].Data[(i+19)%20] })
		}, []checkpoint.Finding{{"b", "its elements are shifted: element 19 is first"}}},
		{"rows in another order", func(d attention.StateDict) {
			d["W_Q"] = with(w["W_Q"], func(i int) float32 { return w["W_Q"].Data[(i/20^1)*20+i%20] })
		}, []checkpoint.Finding{{"W_Q", "it has the right rows in another order"}}},
		{"columns in another order", func(d attention.StateDict) {
			d["W_Q"] = with(w["W_Q"], func(i int) float32 { return w["W_Q"].Data[i^1] })
		}, []checkpoint.Finding{{"W_Q", "it has the right columns in another order"}}},
		{"shifted columns", func(d attention.StateDict) {
			d["W_Q"] = with(w["W_Q"], func(i int) float32 { return w["W_Q"].Data[i/20*20+(i+5)%20] })
		}, []checkpoint.Finding{{"W_Q", "its columns are shifted: column 5 is first"}}},
		{"a row twice", func(d attention.StateDict) {
			d["W_Q"] = with(w["W_Q"], func(i int) float32 { return w["W_Q"].Data[max(i/20, 1)*20+i%20] })
		}, []checkpoint.Finding{{"W_Q", "it has other values: rel 0.271, cosine 0.963"}}},
		{"zero", func(d attention.StateDict) { clear(d["W_O"].Data) }, []checkpoint.Finding{{"W_O", "it looks like it was never loaded: all zeros"}}},
		{"zeros that are right", func(d attention.StateDict) { d["zero"] = attention.NewTensor(12) }, nil},
		{"one", func(d attention.StateDict) { d["b"] = with(d["b"], func(int) float32 { return 1 }) }, []checkpoint.Finding{
			{"b", "it looks like it was never loaded: every element is 1"}}},
		{"drawn again", func(d attention.StateDict) {
			d["W_Q"] = with(d["W_Q"], func(int) float32 { return float32(r.NormFloat64()) })
		},
			[]checkpoint.Finding{{"W_Q", "it looks like it was never loaded: as torch.randn draws them: mean 0, standard deviation 1"}}},
		{"of the right scale", func(d attention.StateDict) {
			d["W_Q"] = with(d["W_Q"], func(int) float32 { return float32(0.1 * r.NormFloat64()) })
		}, []checkpoint.Finding{{"W_Q", "it has other values: "}}},
		{"as nn.Linear begins", func(d attention.StateDict) {
			d["W_Q"] = with(d["W_Q"], func(int) float32 { return float32((2*r.Float64() - 1) / math.Sqrt(20)) })
		}, []checkpoint.Finding{{"W_Q", "it looks like it was never loaded: uniform within 1/sqrt(in), as nn.Linear begins"}}},
		{"as nn.MultiheadAttention begins", func(d attention.StateDict) {
			d["W_Q"] = with(d["W_Q"], func(int) float32 { return float32((2*r.Float64() - 1) * math.Sqrt(6.0/40)) })
		}, []checkpoint.Finding{{"W_Q", "it looks like it was never loaded: uniform within sqrt(6/(in + out))"}}},
		{"nearly as nn.Linear begins", func(d attention.StateDict) {
			d["W_Q"] = with(d["W_Q"], func(int) float32 { return float32(0.95 * (2*r.Float64() - 1) / math.Sqrt(20)) })
		}, []checkpoint.Finding{{"W_Q", "it has other values: "}}},
		{"uniform, of standard deviation 1", func(d attention.StateDict) {
			d["W_Q"] = with(d["W_Q"], func(int) float32 { return float32((2*r.Float64() - 1) * math.Sqrt(3)) })
		}, []checkpoint.Finding{{"W_Q", "it has other values: "}}},
		{"never written", func(d attention.StateDict) {
			d["W_Q"] = with(d["W_Q"], func(i int) float32 { return float32(i%2) * 0x1p-140 * float32(i) })
		}, []checkpoint.Finding{{"W_Q", "it looks like it was never loaded: denormal numbers"}}},
		{"scaled", func(d attention.StateDict) {
			d["W_Q"] = with(d["W_Q"], func(i int) float32 { return -0.25 * w["W_Q"].Data[i] })
		}, []checkpoint.Finding{{"W_Q", "it is -0.25 times the right values"}}},
		{"not finite", func(d attention.StateDict) { d["W_Q"].Data[7] = float32(math.NaN()) }, []checkpoint.Finding{{"W_Q", "1 of its 400 elements are NaN or infinite"}}},
		{"bytes turned around", func(d attention.StateDict) {
			d["W_Q"] = with(d["W_Q"], func(i int) float32 {
				return math.Float32frombits(binary.BigEndian.Uint32(binary.LittleEndian.AppendUint32(nil, math.Float32bits(at(w["W_Q"])(i)))))
			})
		}, []checkpoint.Finding{{"W_Q", "its bytes are in big-endian order"}}},
		{"missing", func(d attention.StateDict) { delete(d, "W_Q") }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dict := model()
			tc.spoil(dict)
			got, err := fileOf(t, dict).Against(w, "")
			require.NoError(t, err)
			require.Len(t, got, len(tc.want), "%v", got)
			for i, want := range tc.want {
				require.Equal(t, want.Name, got[i].Name)
				require.True(t, strings.HasPrefix(got[i].Text, want.Text), "%q, want %q", got[i].Text, want.Text)
			}
		})
	}
}

// Bits of one 16-bit type that were taken for another's.
func TestAgainstOtherBits(t *testing.T) {
	w := attention.StateDict{"W": model()["W_Q"]}
	var bits []byte
	for _, v := range w["W"].Data {
		bits = binary.LittleEndian.AppendUint16(bits, uint16((math.Float32bits(v)+0x8000)>>16))
	}
	for dtype, want := range map[string]string{
		"BF16": "", "F16": "its bytes are right as bfloat16, and were taken for float16", "U16": "its bytes are right as bfloat16, and were taken for uint16",
	} {
		f := newFile(t, safetensors(fmt.Sprintf(`{"W":{"dtype":%q,"shape":[20,20],"data_offsets":[0,800]}}`, dtype), bits))
		got, err := f.Against(w, "")
		require.NoError(t, err)
		if want == "" {
			require.Empty(t, got)
			continue
		}
		require.Equal(t, []checkpoint.Finding{{Name: "W", Text: want}}, got)
	}
}

func TestPrefix(t *testing.T) {
	w := model()
	for _, prefix := range []string{"", "module.", "model.layers.0.self_attn."} {
		behind := attention.StateDict{"norm.weight": attention.NewTensor(3)}
		for key, v := range w {
			behind[prefix+key] = v
		}
		f := fileOf(t, behind)
		got, found := f.Prefix(w)
		require.True(t, found)
		require.Equal(t, prefix, got)
		findings, err := f.Against(w, got)
		require.NoError(t, err)
		require.Empty(t, findings)
		delete(behind, prefix+"W_K")
		_, found = fileOf(t, behind).Prefix(w)
		require.False(t, found)
	}
	_, found := fileOf(t, attention.StateDict{"xW_Q": w["W_Q"]}).Prefix(attention.StateDict{"W_Q": w["W_Q"]})
	require.False(t, found, "a prefix ends in a dot")
}

func TestTwins(t *testing.T) {
	w := model()
	w["tied"] = w["W_Q"]
	w["also"] = attention.NewTensor(12) // all zero, as "zero" is
	w["flat"] = &attention.Tensor{Shape: []int{400}, Data: w["W_Q"].Data}
	twins, err := fileOf(t, w).Twins()
	require.NoError(t, err)
	require.Equal(t, [][]string{{"W_Q", "tied"}}, twins)
}

func TestStatistics(t *testing.T) {
	s, err := fileOf(t, attention.StateDict{"w": {Shape: []int{6}, Data: []float32{0, 1, -3, 0, float32(math.NaN()), 2}}}).Tensor("w").Statistics()
	require.NoError(t, err)
	require.Equal(t, checkpoint.Statistics{Elements: 6, Zeros: 2, NonFinite: 1, Mean: 0, Std: math.Sqrt(14.0 / 5), Largest: 3}, s)
	s, err = fileOf(t, attention.StateDict{"w": {Shape: []int{1}, Data: []float32{float32(math.Inf(1))}}}).Tensor("w").Statistics()
	require.NoError(t, err)
	require.Equal(t, 1, s.NonFinite)
	require.True(t, math.IsNaN(s.Mean) && math.IsNaN(s.Std) && math.IsNaN(s.Largest))
}

// No parameter of a case looks untouched but those that were drawn so on purpose.
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
		findings, err := f.Against(c.State, "")
		require.NoError(t, err)
		require.Empty(t, findings, name)
	}
	require.Greater(t, count, 300)
	require.Equal(t, map[string][]string{
		"as torch.randn draws them: mean 0, standard deviation 1": {"mha/hot in_proj_weight", "mha/hot out_proj.weight"},
	}, looked)
}

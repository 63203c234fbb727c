package protocol_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/protocol"
)

// A request is complete: a case that is built from it alone, with no default left to know, gives
// the same output bits.
func TestRequestIsComplete(t *testing.T) {
	names := harnesstest.AttentionCases(t)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			c, err := fixture.Read(fixtures.FS, name)
			require.NoError(t, err)
			dir := t.TempDir()
			_, err = protocol.Write(dir, c)
			require.NoError(t, err)
			again := readBack(t, dir, c)
			require.Equal(t, c.Precision, again.Precision)
			require.Equal(t, c.Unrounded, again.Unrounded)
			require.Equal(t, c.Layer.Prefix, again.Layer.Prefix)
			require.Equal(t, c.Layer.InputLayout, again.Layer.InputLayout)
			require.Equal(t, c.Layer.NeedWeights, again.Layer.NeedWeights)
			want, got := outputs(t, c), outputs(t, again)
			require.Equal(t, bits(want.Output), bits(got.Output))
			require.Equal(t, bits(want.Weights), bits(got.Weights))
		})
	}
}

// readBack builds a case from a request and from the expected results, which no computation uses.
func readBack(t *testing.T, dir string, c *fixture.Case) *fixture.Case {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, protocol.RequestFile))
	require.NoError(t, err)
	var r protocol.Request
	require.NoError(t, json.Unmarshal(text, &r))
	config := r.Config.(map[string]any)
	if c.Op != fixture.Rotary {
		require.Equal(t, float64(firstPosition(c)), config["first_position"])
		require.NotZero(t, config["scale"])
		delete(config, "first_position")
	}
	if r.Inputs["first_positions"] != "" && config["causality"] == "lower-right" {
		config["causality"] = "top-left" // the two say the same of where queries stand
	}
	if c.Op != fixture.MultiHead {
		config["precision"] = r.Precision
	}
	suite, listed := fstest.MapFS{}, map[string]fixture.File{}
	add := func(file string, data []byte) {
		a, err := npy.Parse(data)
		require.NoError(t, err)
		dtype, sum := a.DType, sha256.Sum256(data)
		if dtype == fixture.Uint16 {
			dtype = fixture.BFloat16
		}
		listed[file] = fixture.File{DType: dtype, Shape: a.Shape, SHA256: hex.EncodeToString(sum[:])}
		suite[c.Name+"/"+file] = &fstest.MapFile{Data: data}
	}
	for _, file := range files(r) {
		data, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		add(file, data)
	}
	expected := map[string]string{}
	for role, file := range c.Roles {
		if name, ok := strings.CutPrefix(role, "expected."); ok {
			data, err := fs.ReadFile(fixtures.FS, c.Name+"/"+file)
			require.NoError(t, err)
			add(file, data)
			expected[name] = file
		}
	}
	manifest, err := json.Marshal(map[string]any{
		"version": 1, "name": r.Case, "purpose": "read back", "op": r.Op, "config": config,
		"inputs": r.Inputs, "state_dict": r.StateDict, "expected": expected, "files": listed,
		"provenance": map[string]any{"function": "f", "torch": "2.15.0"},
	})
	require.NoError(t, err)
	suite[c.Name+"/case.json"] = &fstest.MapFile{Data: manifest}
	again, err := fixture.Read(suite, c.Name)
	require.NoError(t, err)
	return again
}

// files lists the arrays that a request names.
func files(r protocol.Request) []string {
	return slices.Concat(slices.Collect(maps.Values(r.Inputs)), slices.Collect(maps.Values(r.StateDict)))
}

func firstPosition(c *fixture.Case) int {
	o, past := c.Options, 0
	for _, cached := range []*attention.Tensor{c.Inputs.PastKey, o.PastKey} {
		if cached != nil {
			past = cached.Shape[2]
		}
	}
	switch {
	case o.FirstPositions != nil || o.KeyLengths != nil && o.Causality == attention.LowerRight:
		return 0 // the input first_positions has one for each batch element
	case o.Causality == attention.LowerRight:
		n := len(c.Inputs.Key.Shape) - 2
		return past + c.Inputs.Key.Shape[n] - c.Inputs.Query.Shape[n]
	}
	return past
}

func outputs(t *testing.T, c *fixture.Case) attention.Outputs {
	t.Helper()
	if c.Op == fixture.SDPA {
		out, err := attention.SDPA(c.Inputs.Query, c.Inputs.Key, c.Inputs.Value, c.Options)
		require.NoError(t, err)
		return attention.Outputs{Output: out}
	}
	if c.Op == fixture.Rotary {
		out, err := attention.RotaryEmbedding(c.Turned, c.Rotation)
		require.NoError(t, err)
		return attention.Outputs{Output: out}
	}
	m, err := attention.New(c.Layer)
	require.NoError(t, err)
	_, err = m.LoadStateDict(c.State, attention.Strict)
	require.NoError(t, err)
	out, err := m.Forward(c.Inputs)
	require.NoError(t, err)
	return out
}

func bits(t *attention.Tensor) []uint32 {
	if t == nil {
		return nil
	}
	out := make([]uint32, len(t.Data))
	for i, v := range t.Data {
		out[i] = math.Float32bits(v)
	}
	return out
}

// A request holds neither a result of PyTorch nor the purpose of the case.
func TestRequestGivesNothingAway(t *testing.T) {
	for _, name := range []string{"mha/causal", "sdpa/bfloat16", "mha/weights-per-head"} {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		dir := t.TempDir()
		r, err := protocol.Write(dir, c)
		require.NoError(t, err)
		want := map[string]bool{protocol.RequestFile: true}
		for _, file := range files(r) {
			want[file] = true
		}
		got := map[string]bool{}
		require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(file string, d fs.DirEntry, err error) error {
			if !d.IsDir() {
				got[file] = true
			}
			return err
		}))
		require.Equal(t, want, got)
		text, err := r.JSON()
		require.NoError(t, err)
		require.NotContains(t, string(text), c.Purpose)
	}
}

// A parameter may have any name, also one that is unsafe for a file.
func TestRequestPlacesAnyName(t *testing.T) {
	x := attention.NewTensor(1)
	c := &fixture.Case{
		Name: "made/up", Op: fixture.Module, Module: "M", Precision: fixture.Float32, Given: map[string]*npy.Array{},
	}
	keys := []string{
		"query", "../../x", "/etc/passwd", "a", "A", "", "..", "con:stream", strings.Repeat("k", 300),
		"layers.0.weight",
	}
	for i, key := range keys {
		x.Data = []float32{float32(i)}
		a, err := npy.TensorArray(x.Clone(), fixture.Float32)
		require.NoError(t, err)
		c.Given["state_dict."+key] = a
		c.Given["inputs."+key] = a
	}
	dir := t.TempDir()
	r, err := protocol.Write(dir, c)
	require.NoError(t, err)
	require.Equal(t, "state_dict/layers.0.weight.npy", r.StateDict["layers.0.weight"])
	seen := map[string]bool{}
	for i, key := range keys {
		file := r.StateDict[key]
		require.False(t, seen[strings.ToLower(file)], "%s is there twice", file)
		seen[strings.ToLower(file)] = true
		data, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		a, err := npy.Parse(data)
		require.NoError(t, err)
		got, err := a.Float64s()
		require.NoError(t, err)
		require.Equal(t, []float64{float64(i)}, got, key)
		require.Contains(t, r.Inputs, key)
	}
}

func TestWriteReportsWhere(t *testing.T) {
	c, err := fixture.Read(fixtures.FS, "mha/causal")
	require.NoError(t, err)
	_, err = protocol.Write(filepath.Join(t.TempDir(), "none"), c)
	require.ErrorIs(t, err, fs.ErrNotExist)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "inputs"), nil, 0o644))
	_, err = protocol.Write(dir, c)
	require.ErrorContains(t, err, "mha/causal: inputs/query.npy: ")
	c.Inputs.Query.Shape = []int{7}
	_, err = protocol.Write(dir, c)
	require.ErrorContains(t, err, "mha/causal: inputs.key: shape (7,)")
}

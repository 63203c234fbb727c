package schemas_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/command"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Reports of every kind fit the schema, and together they have every field. A plain run makes the
// quick reports alone.
func TestReports(t *testing.T) {
	s := open(t, reportSchema)
	t.Run("passing", func(t *testing.T) {
		s.validate(t, "passing", run(t, 0, "--json", "--case", "seed/*", "--case", "mha/causal", "--case", "models/bert"))
		s.validate(t, "a shard", run(t, 0, "--json", "--case", "seed/*", "--shard", "1/3"))
	})
	t.Run("no case", func(t *testing.T) {
		s.validate(t, "no case", run(t, 4, "--json", "--case", "none-such"))
		s.validate(t, "usage", run(t, 2, "--json", "--no-such-flag"))
		s.validate(t, "no suite", run(t, 3, "--json", "--fixtures", filepath.Join(t.TempDir(), "none")))
	})
	t.Run("a wrong subject", func(t *testing.T) {
		s.validate(t, "unmasked", checked(t, harnesstest.Unmasked(), "seed/causal", "sdpa/causal"))
	})
	t.Run("two numbers at once, in one case of three", func(t *testing.T) {
		s.validate(t, "scale and masks", checked(t, ifSquare(otherScaleAndMasks()), "sdpa/causal",
			"sdpa/causal-rectangular", "sdpa/causal-lower-right"))
	})
	t.Run("a wrong number in a layer of a model", func(t *testing.T) {
		s.validate(t, "model", run(t, 1, "check", "models/llama", oneWrongNumber(t), "--json", "--fixtures", planted))
	})
	t.Run("a folder", func(t *testing.T) {
		dir := t.TempDir()
		knownAndBroken(t, dir)
		s.validate(t, "known and broken", checkedFolder(t, dir))
		if campaign.Full() {
			wrongOutputs(t, dir)
			s.validate(t, "folder", checkedFolder(t, dir))
		}
	})
	if campaign.Full() {
		longReports(t, s)
		require.Empty(t, s.unseen())
	}
}

// longReports validates the reports that take seconds each.
func longReports(t *testing.T, s *schema) {
	t.Helper()
	wrong := harnesstest.Both()
	wrong.Precision = subject.BFloat16
	s.validate(t, "wrong", checked(t, wrong, "mha/causal", "seed/causal", "seed/unmasked", "sdpa/causal"))
	s.validate(t, "windows", checked(t, withoutWindows(), sdpaCases(t)...))
	s.validate(t, "scale and masks in all cases",
		checked(t, otherScaleAndMasks(), "sdpa/unmasked", "sdpa/gqa", "sdpa/window", "sdpa/causal"))
	for name, mistake := range map[string]change{
		"another input": otherInput, "another weight": otherColumn, "two wrong numbers": otherEpsAndScale,
	} {
		dir := t.TempDir()
		traces(t, dir, mistake)
		s.validate(t, name, run(t, 1, "check", dir, "--json", "--fixtures", models, "--case", "llama"))
	}
}

// planted holds a suite with cases of models, beside outputs with wrong numbers.
const planted = "../internal/edits/testdata"

// oneWrongNumber returns the path of an output of a model with a wrong number in one layer.
func oneWrongNumber(t *testing.T) string {
	t.Helper()
	var numbers []struct{ Where string }
	list, err := os.ReadFile(planted + "/llama-numbers.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(list, &numbers))
	data, err := os.ReadFile(planted + "/llama-numbers.npy")
	require.NoError(t, err)
	all, err := npy.Parse(data)
	require.NoError(t, err)
	values, err := all.Float64s()
	require.NoError(t, err)
	for i, p := range numbers {
		if p.Where == "layers.1" {
			size := len(values) / len(numbers)
			path := filepath.Join(t.TempDir(), "out.npy")
			one, err := npy.Float64Array(all.Shape[1:], values[i*size:(i+1)*size])
			require.NoError(t, err)
			file, err := one.EncodeNPY()
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, file, 0o600))
			return path
		}
	}
	t.Fatal("no number is wrong in one layer")
	return ""
}

// run returns the output of a command with an exit status.
func run(t *testing.T, status int, args ...string) []byte {
	t.Helper()
	var stdout, stderr bytes.Buffer
	got := command.Main(args, &bytes.Buffer{}, &stdout, &stderr)
	require.Equal(t, status, got, "%s", &stderr)
	return stdout.Bytes()
}

// checked returns the report on a subject that is run again when it fails.
func checked(t *testing.T, s subject.Subject, cases ...string) []byte {
	t.Helper()
	r, err := check.Check(t.Context(), fixtures.FS, s, cases...)
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, report.JSON(&text, r))
	return text.Bytes()
}

// sdpaCases returns the cases of a function.
func sdpaCases(t *testing.T) []string {
	t.Helper()
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	return slices.DeleteFunc(names, func(name string) bool { return !fixture.Selects("sdpa/*", name) })
}

// withoutWindows is a function that spoils its output where it has a window.
func withoutWindows() subject.Subject {
	return subject.Subject{SDPA: func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		out, err := attention.SDPA(q, k, v, o)
		if err == nil && o.Window > 0 {
			for i, x := range out.Data {
				out.Data[i] = x * x
			}
		}
		return out, err
	}}
}

// otherScaleAndMasks is a function with a scale 1.5 times too large. Windows are two keys too wide,
// and without a window there is no causal mask.
func otherScaleAndMasks() subject.Subject {
	return subject.Subject{SDPA: func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		if o.Scale == 0 {
			o.Scale = 1 / math.Sqrt(float64(q.Shape[len(q.Shape)-1]))
		}
		o.Scale *= 1.5
		if o.Window > 0 {
			o.Window += 2
		} else {
			o.Causality = attention.NotCausal
		}
		return attention.SDPA(q, k, v, o)
	}}
}

// ifSquare is a function that is wrong where there are as many queries as keys.
func ifSquare(wrong subject.Subject) subject.Subject {
	return subject.Subject{SDPA: func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		if dim := len(q.Shape) - 2; q.Shape[dim] != k.Shape[dim] {
			return attention.SDPA(q, k, v, o)
		}
		return wrong.SDPA(q, k, v, o)
	}}
}

// checkedFolder returns the report on the outputs of a folder.
func checkedFolder(t *testing.T, dir string) []byte {
	t.Helper()
	return run(t, 3, "check", filepath.Join(dir, "outputs"), "--json", "--known", filepath.Join(dir, "known.txt"))
}

// write writes a file and makes its folder.
func write(t *testing.T, file string, data []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, data, 0o644))
}

// writeOutput writes the output of a case to a folder.
func writeOutput(t *testing.T, dir, name string, out *attention.Tensor) {
	t.Helper()
	write(t, filepath.Join(dir, "outputs", name, "output.npy"), harnesstest.NPY(out))
}

// knownAndBroken writes outputs that are not finite, misshapen, unreadable or known to fail, an
// error of a program, and a wrong scale.
func knownAndBroken(t *testing.T, dir string) {
	t.Helper()
	out := harnesstest.ReadCase(t, "sdpa/causal").Output.Clone()
	out.Data[7] = float32(math.NaN())
	writeOutput(t, dir, "sdpa/causal", out)
	writeOutput(t, dir, "sdpa/scale", attention.NewTensor(2, 3))
	gqa := harnesstest.ReadCase(t, "sdpa/gqa").Output.Shape
	writeOutput(t, dir, "sdpa/gqa", attention.NewTensor(gqa...))
	write(t, filepath.Join(dir, "outputs/sdpa/softcap/reply.json"), []byte(`{"type":"error","message":"ValueError: no"}`))
	write(t, filepath.Join(dir, "outputs/sdpa/window/output.npy"), []byte("not an array"))
	c := harnesstest.ReadCase(t, "sdpa/unmasked")
	c.Options.Scale = 0.437 // PyTorch's is 0.316
	writeOutput(t, dir, c.Name, attend(t, c))
	write(t, filepath.Join(dir, "known.txt"), fmt.Appendln(nil, "sdpa/gqa # not implemented yet"))
}

// wrongOutputs writes outputs with a wrong number, wrong parameters, or elements in another order.
func wrongOutputs(t *testing.T, dir string) {
	t.Helper()
	capped := harnesstest.ReadCase(t, "decoder/softcap")
	capped.Layer.Softcap *= 2
	writeOutput(t, dir, capped.Name, forward(t, capped))
	c := harnesstest.ReadCase(t, "mha/unmasked")
	projection := c.State["out_proj.weight"].Clone()
	slices.Reverse(projection.Data)
	c.State["out_proj.weight"] = projection
	writeOutput(t, dir, c.Name, forward(t, c))
	// The case cannot tell another value weight from another output weight.
	c = harnesstest.ReadCase(t, "mha/padding")
	fused := c.State["in_proj_weight"].Clone()
	for i := 2 * len(fused.Data) / 3; i < len(fused.Data); i++ {
		fused.Data[i] += 3e-4 * float32(math.Sin(float64(i*i)))
	}
	c.State["in_proj_weight"] = fused
	writeOutput(t, dir, c.Name, forward(t, c))
	out := harnesstest.ReadCase(t, "sdpa/window-gqa").Output.Clone()
	clear(out.Data[:len(out.Data)/9])
	writeOutput(t, dir, "sdpa/window-gqa", out)
	out = harnesstest.ReadCase(t, "sdpa/causal-rectangular").Output.Clone()
	slices.Reverse(out.Data)
	writeOutput(t, dir, "sdpa/causal-rectangular", out)
	// The scale applied twice. The second case rules out another mistake that explains the first.
	c = harnesstest.ReadCase(t, "samples/sdpa-batch-causal")
	c.Options.Scale = 1 / float64(c.Inputs.Query.Shape[len(c.Inputs.Query.Shape)-1])
	writeOutput(t, dir, c.Name, attend(t, c))
	c = harnesstest.ReadCase(t, "seed/unmasked")
	c.Layer.Scale = float64(c.Layer.NumHeads) / float64(c.Layer.EmbedDim)
	writeOutput(t, dir, c.Name, forward(t, c))
}

func attend(t *testing.T, c *fixture.Case) *attention.Tensor {
	t.Helper()
	out, err := attention.SDPA(c.Inputs.Query, c.Inputs.Key, c.Inputs.Value, c.Options)
	require.NoError(t, err)
	return out
}

func forward(t *testing.T, c *fixture.Case) *attention.Tensor {
	t.Helper()
	m, err := attention.New(c.Layer)
	require.NoError(t, err)
	_, err = m.LoadStateDict(c.State, attention.Strict)
	require.NoError(t, err)
	out, err := m.Forward(c.Inputs)
	require.NoError(t, err)
	return out.Output
}

package fuzz

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/builtin"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/fresh"
	"github.com/difftest/difftest/harness/internal/subject"
)

// embedded returns the module of an embedded case.
func embedded(t *testing.T, name string) *fresh.Model {
	t.Helper()
	c, err := fixture.Read(fixtures.FS, name)
	require.NoError(t, err)
	m, err := fresh.NewModel(c)
	require.NoError(t, err)
	return m
}

// forward is a forward of a model, with its numbers.
type forward struct {
	batch, tokens int
	padded        bool
	right         func() (*attention.Tensor, error)
}

// port is the built-in model with another forward.
type port struct {
	subject.Model
	run func(forward) (*attention.Tensor, error)
}

func (p port) Forward(a subject.Arguments) (*attention.Tensor, error) {
	ids, mask := a.Integers["input_ids"], a.Integers["attention_mask"]
	f := forward{batch: ids.Shape[0], tokens: ids.Shape[1], right: func() (*attention.Tensor, error) {
		return p.Model.Forward(a)
	}}
	for _, shown := range mask.Data {
		f.padded = f.padded || shown == 0
	}
	return p.run(f)
}

// portOf returns a subject that computes models with another forward, after an edit of their
// settings.
func portOf(run func(forward) (*attention.Tensor, error), settings ...[2]string) subject.Subject {
	return subject.Subject{Name: "port", Model: func(d subject.Description) (subject.Model, error) {
		for _, edit := range settings {
			d.Settings = bytes.ReplaceAll(d.Settings, []byte(edit[0]), []byte(edit[1]))
		}
		m, err := builtin.Model(d)
		return port{m, run}, err
	}}
}

// spoiled computes a forward, and a wrong output if the fault shows.
func (f forward) spoiled(shows bool) (*attention.Tensor, error) {
	out, err := f.right()
	if err == nil && shows {
		for i := range out.Data {
			out.Data[i] *= 1.01
		}
	}
	return out, err
}

// The built-in models agree with the graphs of PyTorch at every shape.
func TestModelsPass(t *testing.T) {
	count := 6
	if campaign.Full() {
		count = 150
	}
	for _, name := range []string{"models/gpt2", "models/llama", "models/bert", "models/moe-softmax"} {
		r, err := Run(t.Context(), builtin.Subject(), Options{Seed: 3, Count: count, Model: embedded(t, name)})
		require.NoError(t, err)
		require.Zero(t, r.Failed, "%s: %v", name, r.Findings)
		if strings.Contains(name, "moe") {
			t.Logf("%d of %d draws have a choice of experts within rounding", r.Skipped, r.Draws)
			require.Less(t, r.Skipped, max(2, count/5))
		} else {
			require.Zero(t, r.Skipped, name)
		}
	}
}

// Faults of models that depend on the shape are found, shrunk, and their condition is stated.
func TestPlantedModels(t *testing.T) {
	tests := []struct {
		name, model string
		run         func(forward) (*attention.Tensor, error)
		wants       string
		batch       int // of the smallest failing case
		tokens      int
		needs       string
	}{
		{"tail of the tokens", "models/gpt2", func(f forward) (*attention.Tensor, error) {
			return f.spoiled(f.tokens%8 != 0)
		}, "tokens mod 8 != 0", 1, 1, ""},
		{"stride of the batch", "models/llama", func(f forward) (*attention.Tensor, error) {
			out, err := f.right()
			if err == nil {
				for i := len(out.Data) / f.batch; i < len(out.Data); i++ {
					out.Data[i] = out.Data[i-len(out.Data)/f.batch]
				}
			}
			return out, err
		}, "batch >= 2", 2, 1, ""},
		{"crash of a long sequence", "models/llama", func(f forward) (*attention.Tensor, error) {
			if f.tokens > 32 {
				return nil, errors.New("the table of angles has 32 rows")
			}
			return f.right()
		}, "tokens >= 33", 1, 33, ""},
		{"padding of several sequences", "models/bert", func(f forward) (*attention.Tensor, error) {
			return f.spoiled(f.padded && f.batch > 1)
		}, "batch >= 2", 2, 2, "mask=padding"},
		{"ids of the batch in 16 bits", "models/llama", func(f forward) (*attention.Tensor, error) {
			return f.spoiled(f.batch*f.tokens > 64)
		}, "batch*tokens >= 65", 0, 0, ""},
	}
	for i, tt := range tests {
		o := Options{Seed: 5, Count: 40, Model: embedded(t, tt.model), Corpus: t.TempDir()}
		if !campaign.Full() {
			o.Count, o.round = 10, 8
		}
		if !campaign.Full() && i > 0 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			r, err := Run(t.Context(), portOf(tt.run), o)
			require.NoError(t, err)
			require.NotEmpty(t, r.Findings)
			found := r.Findings[0]
			t.Logf("%v: %s", found.Shrunk.Config, found.Condition.Text)
			require.Contains(t, found.Condition.Text, tt.wants)
			if tt.batch > 0 {
				require.Equal(t, tt.batch, found.Shrunk.Config.Batch)
				require.Equal(t, tt.tokens, found.Shrunk.Config.Tokens)
			}
			require.Equal(t, tt.needs, strings.Join(optionsOf(found.Shrunk.Config), " "))
			again, err := fixture.Read(os.DirFS(o.Corpus), found.Case.Name)
			require.NoError(t, err)
			require.Equal(t, found.Case.Truth, again.Truth)
		})
	}
}

// A known mistake of a port gets its name, on a case that is kept.
func TestMistakeOfAModelIsNamed(t *testing.T) {
	right := func(f forward) (*attention.Tensor, error) { return f.right() }
	wrong := portOf(right, [2]string{"gelu_new", "gelu"})
	dir := t.TempDir()
	o := Options{Seed: 2, Count: 3, Model: embedded(t, "models/gpt2"), Corpus: dir, round: 2}
	if campaign.Full() {
		o.round = 0
	}
	r, err := Run(t.Context(), wrong, o)
	require.NoError(t, err)
	require.Len(t, r.Findings, 1)
	require.Equal(t, []string{"gelu-erf"}, r.Findings[0].Names)
	require.Equal(t, "always", r.Findings[0].Condition.Text)

	again, err := Run(t.Context(), builtin.Subject(), Options{Seed: 9, Count: 1, Model: o.Model, Corpus: dir})
	require.NoError(t, err)
	require.Equal(t, 1, again.Kept)
	require.Equal(t, 2, again.Passed)
	other, err := Run(t.Context(), builtin.Subject(), Options{Seed: 9, Count: 1, Corpus: dir})
	require.NoError(t, err)
	require.Zero(t, other.Kept)
}

// A case without shapes, and shapes that the module does not take, are refused.
func TestModelsRefuse(t *testing.T) {
	c, err := fixture.Read(fixtures.FS, "models/vit")
	require.NoError(t, err)
	_, err = fresh.NewModel(c)
	require.ErrorContains(t, err, "--vary batch,tokens")
	half := portOf(func(f forward) (*attention.Tensor, error) { return f.right() })
	half.Precision = subject.BFloat16
	_, err = Run(t.Context(), half, Options{Count: 1, Model: embedded(t, "models/gpt2")})
	require.ErrorContains(t, err, "declare float32")
	m := embedded(t, "models/gpt2")
	_, err = m.Case("x", fresh.Config{Model: "models/gpt2", Batch: 1, Tokens: 17})
	require.ErrorContains(t, err, "at most 16")
	_, err = m.Case("x", fresh.Config{Model: "models/gpt2", Batch: 0, Tokens: 3})
	require.ErrorContains(t, err, "--batch 0")
}

package blob_test

import (
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/blob"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/shard"
)

// mutable holds a run with most kinds of findings, as one blob.
func mutable(t *testing.T) (text string, cases []string) {
	t.Helper()
	cases = []string{"decoder/rope-half", "mha/causal", "sdpa/scale", "sdpa/unmasked"}
	rope, scale := withNumber("rope-base", ten), withNumber("scale", ten)
	run := outputsOf(t, cases, func(c *fixture.Case) []float64 {
		switch c.Name {
		case "decoder/rope-half":
			return rope(c)
		case "sdpa/scale":
			return scale(c)
		case "sdpa/unmasked":
			return nil
		}
		return making("causal-missing")(c)
	})
	one, err := run(t.Context(), cases...)
	require.NoError(t, err)
	var file strings.Builder
	require.NoError(t, blob.New(blob.Run{Cases: cases}, shard.Shard{}, one).Write(&file))
	return file.String(), cases
}

func ten(v float64) float64 { return 10 * v }

// A blob in which anything was changed is refused, or gives reports: nothing ends in a panic.
func TestMutatedBlobs(t *testing.T) {
	text, cases := mutable(t)
	read := casesOf(t, cases)
	tries := 30
	if campaign.Full() {
		tries = 100
	}
	draw := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range tries {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		i := draw.IntN(len(lines))
		lines[i] = mutated(t, lines[i], draw)
		b, err := blob.Read(strings.NewReader(strings.Join(lines, "\n") + "\n"))
		if err != nil || b.Fits(read) != nil {
			continue
		}
		accepted++
		reportsOn(t, b, cases, read)
	}
	t.Logf("%d of %d were accepted", accepted, tries)
	require.Greater(t, accepted, tries/5, "the others test nothing but the refusal")
	require.Less(t, accepted, tries)
}

// reportsOn makes every report on a blob.
func reportsOn(t *testing.T, b *blob.Blob, cases []string, read map[string]*fixture.Case) {
	t.Helper()
	whole, err := blob.Join([]blob.File{{Name: "a", Blob: b}})
	if err != nil {
		return
	}
	r, err := check.Explain(t.Context(), cases, &whole.Observed, read)
	if err != nil {
		return
	}
	for name, format := range formats {
		require.NoError(t, format(io.Discard, r), name)
	}
}

// mutated returns a line of JSON with one change at a random place.
func mutated(t *testing.T, line string, draw *rand.Rand) string {
	t.Helper()
	var value any
	require.NoError(t, json.Unmarshal([]byte(line), &value))
	places := 0
	value = change(value, func(any) (any, bool) { places++; return nil, false })
	at := draw.IntN(places)
	value = change(value, func(v any) (any, bool) {
		at--
		return other(v, draw), at == -1
	})
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return string(text)
}

// change walks a value and replaces the ones for which by reports true.
func change(v any, by func(any) (any, bool)) any {
	if replaced, ok := by(v); ok {
		return replaced
	}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range sortedKeys(v) {
			v[key] = change(v[key], by)
		}
	case []any:
		for i := range v {
			v[i] = change(v[i], by)
		}
	}
	return v
}

// other returns another value of the same kind, or of none.
func other(v any, draw *rand.Rand) any {
	switch v := v.(type) {
	case float64:
		return []any{-v, v + 1, v - 1, 0.0, -1.0, 1e6, 1e300, -1e300, "NaN", "+Inf"}[draw.IntN(10)]
	case string:
		return []string{"", v + "x", v + "\n", "causal-missing", "value", v[:len(v)/2]}[draw.IntN(6)]
	case bool:
		return !v
	case []any:
		if len(v) > 0 {
			i := draw.IntN(len(v))
			return [][]any{nil, {}, v[:i], append(append([]any{}, v...), v[i])}[draw.IntN(4)]
		}
		return []any{nil}
	case map[string]any:
		keys := sortedKeys(v)
		if len(keys) > 0 {
			key := keys[draw.IntN(len(keys))]
			changed := map[string]any{}
			for k, value := range v {
				if k != key {
					changed[k] = value
				}
			}
			return changed
		}
	}
	return nil
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

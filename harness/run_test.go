package harness_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness"
	"github.com/difftest/difftest/harness/internal/builtin"
)

var builtIn = harness.Subject{
	Name: "attention",
	SDPA: attention.SDPA,
	MHA:  func(c attention.Config) (harness.Module, error) { return attention.New(c) },
	RoPE: attention.RotaryEmbedding,
}

// unmasked is a layer without its causal mask.
var unmasked = harness.Subject{Name: "unmasked", MHA: func(c attention.Config) (harness.Module, error) {
	c.Bidirectional = true
	return attention.New(c)
}}

// runs are the calls of Run that TestRun makes, each in a process of its own, because a failure of
// Run is a failure of the test that calls it.
var runs = map[string]func(t *testing.T){
	"right":    func(t *testing.T) { harness.Run(t, fixtures.FS, builtIn) },
	"unmasked": func(t *testing.T) { harness.Run(t, fixtures.FS, unmasked) },
	"nothing":  func(t *testing.T) { harness.Run(t, fixtures.FS, harness.Subject{}) },
	"panics": func(t *testing.T) {
		harness.Run(t, fixtures.FS, harness.Subject{
			SDPA: func(_, _, _ *attention.Tensor, _ attention.SDPAOptions) (*attention.Tensor, error) {
				panic(errors.New("kaboom"))
			},
		})
	},
	"unsupported": func(t *testing.T) {
		harness.Run(t, fixtures.FS, harness.Subject{
			MHA: func(attention.Config) (harness.Module, error) {
				return nil, fmt.Errorf("not ported yet: %w", errors.ErrUnsupported)
			},
			SDPA: attention.SDPA,
		}, harness.Select("seed/causal", "sdpa/causal"))
	},
	"known": func(t *testing.T) {
		harness.Run(t, fixtures.FS, unmasked, harness.Select("seed/**"),
			harness.Expect(harness.Known{Pattern: "seed/causal", Cause: "causal-missing", Reason: "no mask yet"}))
	},
	"known typing mistake": func(t *testing.T) {
		harness.Run(t, fixtures.FS, unmasked, harness.Select("seed/unmasked"),
			harness.Expect(harness.Known{Pattern: "seed/none", Reason: "typing mistake"}))
	},
	"selected": func(t *testing.T) { harness.Run(t, fixtures.FS, builtIn, harness.Select("seed/**")) },
	"selects nothing": func(t *testing.T) {
		harness.Run(t, fixtures.FS, builtIn, harness.Select("seed/**", "seeed"))
	},
	"in shards": func(t *testing.T) {
		harness.Run(t, fixtures.FS, builtIn, harness.Select("mha/**"), harness.Shard(2, 3))
	},
	"no shard": func(t *testing.T) {
		harness.Run(t, fixtures.FS, builtIn, harness.Select("mha/**"), harness.Shard(4, 3))
	},
	"sub": func(t *testing.T) {
		mha, err := fs.Sub(fixtures.FS, "mha")
		require.NoError(t, err)
		harness.Run(t, mha, builtIn, harness.Select("causal"))
	},
	"fuzz": func(t *testing.T) { harness.Fuzz(t, builtIn, harness.FuzzOptions{Seed: 2, Count: 60}) },
	"fuzz odd heads": func(t *testing.T) {
		odd := harness.Subject{Name: "odd", SDPA: func(
			q, k, v *attention.Tensor, o attention.SDPAOptions,
		) (*attention.Tensor, error) {
			out, err := attention.SDPA(q, k, v, o)
			if err == nil && q.Shape[1]%2 == 1 {
				out.Data[0]++
			}
			return out, err
		}}
		harness.Fuzz(t, odd, harness.FuzzOptions{Seed: 2, Count: 60, Corpus: t.TempDir()})
	},
	"fuzz nothing": func(t *testing.T) { harness.Fuzz(t, harness.Subject{Name: "none"}, harness.FuzzOptions{}) },
	"fuzz model": func(t *testing.T) {
		models := harness.Subject{Name: "models", Model: func(d harness.Description) (harness.Model, error) {
			return builtin.Model(d)
		}}
		harness.Fuzz(t, models, harness.FuzzOptions{Seed: 2, Count: 10, Case: "models/gpt2", Suite: fixtures.FS})
	},
	"fuzz fixed model": func(t *testing.T) {
		harness.Fuzz(t, builtIn, harness.FuzzOptions{Case: "models/vit", Suite: fixtures.FS})
	},
	"fuzz hang": func(t *testing.T) {
		stuck := harness.Subject{Name: "stuck", SDPA: func(
			q, k, v *attention.Tensor, o attention.SDPAOptions,
		) (*attention.Tensor, error) {
			if k.Shape[2] > 20 {
				<-t.Context().Done()
			}
			return attention.SDPA(q, k, v, o)
		}}
		harness.Fuzz(t, stuck, harness.FuzzOptions{Seed: 2, Count: 60, Timeout: 30 * time.Millisecond})
	},
	"fuzz panic": func(t *testing.T) {
		harness.Fuzz(t, harness.Subject{Name: "panics", SDPA: func(
			q, k, v *attention.Tensor, o attention.SDPAOptions,
		) (*attention.Tensor, error) {
			if k.Shape[2] > 20 {
				panic("kaboom")
			}
			return attention.SDPA(q, k, v, o)
		}}, harness.FuzzOptions{Seed: 2, Count: 60})
	},
	"broken": func(t *testing.T) {
		harness.Run(t, fstest.MapFS{"gone/case.json": {Data: []byte("{}")}}, builtIn)
	},
}

const runVariable = "DIFFTEST_TEST_RUN"

func TestRun(t *testing.T) {
	if name := os.Getenv(runVariable); name != "" {
		runs[name](t)
		return
	}
	for _, tc := range []struct {
		run, pattern string
		ok           bool
		want, reject []string
	}{
		{"right", "/seed", true, []string{"--- PASS: TestRun/seed/causal"}, []string{"CAUSE"}},
		{"right", "/mha/causal", true, []string{"--- PASS: TestRun/mha/causal-left-padding"}, []string{"TestRun/seed"}},
		{"unmasked", "/^(seed|mha)$", false, []string{
			"--- FAIL: TestRun/seed/causal", "FAIL seed/causal  missing-feature: causal-missing",
			"xxxxxxxxxxx.  batch 0 to batch 3", "go test -run '^TestRun$/^seed$/^causal$'",
			"--- PASS: TestRun/seed/unmasked", "CAUSE causal-missing explains all",
		}, nil},
		{"nothing", "", false, []string{
			" cases were skipped: the subject does not offer", "--- SKIP: TestRun/seed/causal",
		}, []string{"--- PASS"}},
		{"panics", "/sdpa/causal$", false, []string{"--- FAIL: TestRun/sdpa/causal", "panic: kaboom"}, nil},
		{"unsupported", "", true, []string{
			"--- SKIP: TestRun/seed/causal", "make the layer: not ported yet: unsupported operation",
			"--- PASS: TestRun/sdpa/causal",
		}, nil},
		{"known", "", true, []string{"known to fail: no mask yet"}, []string{"CAUSE"}},
		{"known typing mistake", "", false, []string{`known "seed/none": the suite has no such case`}, nil},
		{"selected", "", true, []string{"TestRun/seed/causal", "TestRun/seed/unmasked"}, []string{"TestRun/mha"}},
		{"selects nothing", "", false, []string{`pattern "seeed" selects no case`}, nil},
		{"in shards", "", true, []string{"--- PASS: TestRun/mha/cross ("}, []string{"TestRun/mha/causal "}},
		{"no shard", "", false, []string{"4/3 is no shard"}, nil},
		{"sub", "", true, []string{"--- PASS: TestRun/causal "}, nil},
		{"fuzz", "", true, []string{"60 draws, 60 passed, 0 failed"}, nil},
		{"fuzz model", "", true, []string{"10 draws, 10 passed, 0 failed"}, nil},
		{"fuzz fixed model", "", false, []string{"capture the module with --vary batch,tokens"}, nil},
		{"fuzz hang", "", false, []string{"it has not answered for 30ms", "keys 21"}, nil},
		{"fuzz panic", "", false, []string{"panic: kaboom", "if and only if keys >= 21"}, nil},
		{"fuzz odd heads", "", false, []string{
			"FAIL fuzz/b1-h1-e1-q1-k1-", "fails     if and only if heads mod 2 = 1", "rerun     go test -run '^TestRun$'",
		}, nil},
		{"fuzz nothing", "", false, []string{"the implementation offers neither"}, nil},
		{"broken", "", false, []string{"gone/case.json: version: 0, want 1"}, nil},
	} {
		t.Run(tc.run+tc.pattern, func(t *testing.T) {
			out, ok := runAgain(t, tc.run, "-test.v", "-test.run=^TestRun$"+tc.pattern)
			require.Equal(t, tc.ok, ok, "%s", out)
			for _, want := range tc.want {
				require.Contains(t, out, want)
			}
			for _, reject := range tc.reject {
				require.NotContains(t, out, reject)
			}
		})
	}
}

// runAgain runs this test binary with one of the runs, and reports whether it passed.
func runAgain(t *testing.T, run string, args ...string) (out string, ok bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), runVariable+"="+run)
	bytes, err := cmd.CombinedOutput()
	return string(bytes), err == nil
}

// A failure takes eight lines, and all of them when somebody asks. The causes stand once, at the
// end.
func TestRunIsBrief(t *testing.T) {
	brief, _ := runAgain(t, "unmasked", "-test.run=^TestRun$/^mha$")
	failure := section(t, brief, "FAIL mha/causal  ")
	require.Len(t, failure, 8, "%.2000s", failure)
	require.Contains(t, failure[len(failure)-1], "go test -run")
	require.Equal(t, 1, strings.Count(brief, "CAUSE causal-missing"))
	require.Greater(t, strings.Index(brief, "CAUSE"), strings.LastIndex(brief, "FAIL mha/"))

	t.Setenv("DIFFTEST_VERBOSE", "1")
	whole, _ := runAgain(t, "unmasked", "-test.run=^TestRun$/^mha$/^causal$")
	require.Greater(t, len(section(t, whole, "FAIL mha/causal  ")), 20)
	require.NotContains(t, whole, "CAUSE", "a single case has nothing in common with others")
}

// section returns the lines of a failure, from its headline to the next blank line.
func section(t *testing.T, out, headline string) []string {
	t.Helper()
	_, after, found := strings.Cut(out, headline)
	require.True(t, found, "%.2000s", out)
	var lines []string
	for line := range strings.Lines(after) {
		if word := strings.TrimSpace(line); word == "" || strings.HasPrefix(word, "---") {
			return lines
		}
		lines = append(lines, strings.TrimRight(line, "\n"))
	}
	return lines
}

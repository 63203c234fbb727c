package harness_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/joshdk/go-junit"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness"
)

// Under Bazel each shard runs its own cases, and all together run every case once. Each writes a
// file of XML and acknowledges that it knows about shards.
func TestRunInShardsOfBazel(t *testing.T) {
	t.Setenv("TEST_TOTAL_SHARDS", "3")
	ran := map[string]int{}
	for i := range 3 {
		dir := t.TempDir()
		t.Setenv("TEST_SHARD_INDEX", strconv.Itoa(i))
		t.Setenv("TEST_SHARD_STATUS_FILE", filepath.Join(dir, "status"))
		t.Setenv("XML_OUTPUT_FILE", filepath.Join(dir, "test.xml"))
		out, ok := runAgain(t, "unmasked", "-test.v", "-test.run=^TestRun$")
		require.False(t, ok, "%s", out)
		require.FileExists(t, filepath.Join(dir, "status"))
		suites, err := junit.IngestFile(filepath.Join(dir, "test.xml"))
		require.NoError(t, err)
		for _, s := range suites {
			for _, c := range s.Tests {
				ran[c.Classname+"/"+c.Name]++
				require.Contains(t, out, c.Classname+"/"+c.Name)
			}
		}
	}
	names, err := harness.CaseNames(fixtures.FS)
	require.NoError(t, err)
	require.Len(t, ran, len(names))
	for _, name := range names {
		require.Equal(t, 1, ran["TestRun/"+name], name)
	}
}

// The filter of Bazel selects subtests as -run does.
func TestRunWithAFilterOfBazel(t *testing.T) {
	t.Setenv("TESTBRIDGE_TEST_ONLY", "TestRun/^seed$/causal")
	out, ok := runAgain(t, "right", "-test.v", "-test.run=^TestRun$")
	require.True(t, ok, "%s", out)
	require.Equal(t, []string{"--- PASS: TestRun/seed/causal"},
		regexp.MustCompile(`--- PASS: TestRun/\S+`).FindAllString(out, -1))

	t.Setenv("TESTBRIDGE_TEST_ONLY", "(")
	out, ok = runAgain(t, "right", "-test.v", "-test.run=^TestRun$")
	require.False(t, ok)
	require.Contains(t, out, "TESTBRIDGE_TEST_ONLY")
}

// rules_go hands whole test functions to the shards: a function runs all of its cases.
func TestRunUnderRulesGo(t *testing.T) {
	t.Setenv("GO_TEST_WRAP", "0")
	t.Setenv("TEST_TOTAL_SHARDS", "3")
	t.Setenv("TEST_SHARD_INDEX", "1")
	t.Setenv("XML_OUTPUT_FILE", filepath.Join(t.TempDir(), "test.xml"))
	out, ok := runAgain(t, "selected", "-test.v", "-test.run=^TestRun$")
	require.True(t, ok, "%s", out)
	require.Contains(t, out, "TestRun/seed/causal")
	require.Contains(t, out, "TestRun/seed/unmasked")
	require.NoFileExists(t, os.Getenv("XML_OUTPUT_FILE"), "rules_go writes it")
}

// All shards of Shard together have every case once.
func TestShard(t *testing.T) {
	ran := map[string]int{}
	for i := range 3 {
		r, err := harness.Check(t.Context(), fixtures.FS, builtIn, harness.Select("mha/**"), harness.Shard(i+1, 3))
		require.NoError(t, err)
		for _, result := range r.Results {
			ran[result.Case]++
		}
	}
	r, err := harness.Check(t.Context(), fixtures.FS, builtIn, harness.Select("mha/**"))
	require.NoError(t, err)
	require.Len(t, ran, len(r.Results))
	for _, result := range r.Results {
		require.Equal(t, 1, ran[result.Case], result.Case)
	}
}

// A shard without a case runs nothing.
func TestAShardWithoutACase(t *testing.T) {
	empty := 0
	for i := range 3 {
		r, err := harness.Check(t.Context(), fixtures.FS, builtIn, harness.Select("seed/causal"), harness.Shard(i+1, 3))
		require.NoError(t, err)
		folder, err := harness.CheckFolder(t.Context(), fixtures.FS, os.DirFS(t.TempDir()),
			harness.Select("seed/causal"), harness.Shard(i+1, 3))
		require.NoError(t, err)
		require.Len(t, folder.Results, len(r.Results))
		if len(r.Results) == 0 {
			empty++
		}
	}
	require.Equal(t, 2, empty)
	_, err := harness.Check(t.Context(), fixtures.FS, builtIn, harness.Shard(0, 3))
	require.ErrorContains(t, err, "0/3 is no shard")
}

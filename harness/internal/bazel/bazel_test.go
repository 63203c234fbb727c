package bazel_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/bazel"
	"github.com/difftest/difftest/harness/internal/shard"
)

// of returns a lookup in variables.
func of(variables map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	}
}

func TestRead(t *testing.T) {
	test, err := bazel.Read(of(nil))
	require.NoError(t, err)
	require.Equal(t, bazel.Test{}, test)

	status := filepath.Join(t.TempDir(), "status")
	test, err = bazel.Read(of(map[string]string{
		"TEST_TOTAL_SHARDS": "3", "TEST_SHARD_INDEX": "0", "TEST_SHARD_STATUS_FILE": status,
		"XML_OUTPUT_FILE": "out.xml", "TESTBRIDGE_TEST_ONLY": "mha",
	}))
	require.NoError(t, err)
	require.Equal(t, shard.Shard{Index: 1, Count: 3}, test.Shard, "Bazel counts from 0")
	require.Equal(t, "out.xml", test.XML)
	require.Equal(t, "mha", test.Filter)
	require.NoFileExists(t, status)
	require.NoError(t, test.Acknowledge())
	require.FileExists(t, status)
}

// A test without shards touches nothing: Bazel sets the name of the file for every test.
func TestATestWithoutShards(t *testing.T) {
	status := filepath.Join(t.TempDir(), "status")
	test, err := bazel.Read(of(map[string]string{"TEST_SHARD_STATUS_FILE": status, "TEST_TOTAL_SHARDS": "0"}))
	require.NoError(t, err)
	require.NoError(t, test.Acknowledge())
	require.NoFileExists(t, status)
	require.True(t, test.Shard.IsWhole())
}

// rules_go hands whole tests to the shards. A part of a part would leave out cases.
func TestRulesGoSharesOutTheTests(t *testing.T) {
	test, err := bazel.Read(of(map[string]string{
		"GO_TEST_WRAP": "0", "TEST_TOTAL_SHARDS": "3", "TEST_SHARD_INDEX": "1", "XML_OUTPUT_FILE": "out.xml",
		"TESTBRIDGE_TEST_ONLY": "TestAttention",
	}))
	require.NoError(t, err)
	require.Equal(t, bazel.Test{}, test)
}

func TestWrongShards(t *testing.T) {
	for total, index := range map[string]string{"3": "3", "2": "-1", "x": "0", "4": "", "-1": "0", "1001": "5"} {
		_, err := bazel.Read(of(map[string]string{"TEST_TOTAL_SHARDS": total, "TEST_SHARD_INDEX": index}))
		require.ErrorContains(t, err, "TEST_SHARD_INDEX", "%s of %s", index, total)
	}
}

func TestAcknowledgeFails(t *testing.T) {
	test, err := bazel.Read(of(map[string]string{
		"TEST_TOTAL_SHARDS": "3", "TEST_SHARD_INDEX": "0",
		"TEST_SHARD_STATUS_FILE": filepath.Join(t.TempDir(), "none", "status"),
	}))
	require.NoError(t, err)
	require.ErrorIs(t, test.Acknowledge(), os.ErrNotExist)
}

func TestMatches(t *testing.T) {
	const name = "TestAttention/mha/causal"
	for filter, want := range map[string]bool{
		"": true, "TestAttention": true, "Att/mha": true, "TestAttention/mha/causal/deeper": true,
		"Attention/^mha$/^causal$": true, "TestAttention/seed": false, "TestOther": false, "/mha/^caus$": false,
	} {
		got, err := bazel.Test{Filter: filter}.Matches(name)
		require.NoError(t, err)
		require.Equal(t, want, got, filter)
	}
	_, err := bazel.Test{Filter: "("}.Matches(name)
	require.ErrorContains(t, err, "TESTBRIDGE_TEST_ONLY")
}

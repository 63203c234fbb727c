package command

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSelectCases(t *testing.T) {
	names := []string{
		"mha/causal", "mha/causal-left-padding", "mha/hot",
		"sdpa/causal", "sdpa/causal-rectangular", "seed/causal",
	}
	causal := slices.Delete(slices.Clone(names), 2, 3)
	for _, tc := range []struct {
		name           string
		patterns, skip []string
		want           []string
		status         int
	}{
		{"all", nil, nil, names, 0},
		{"word", []string{"causal"}, nil, causal, 0},
		{"group", []string{"mha"}, nil, names[:3], 0},
		{"hyphenated words", []string{"left-padding"}, nil, []string{"mha/causal-left-padding"}, 0},
		{"part of a word", []string{"caus"}, nil, nil, exitNothing},
		{"path", []string{"mha/causal"}, nil, []string{"mha/causal"}, 0},
		{"glob", []string{"*/causal"}, nil, []string{"mha/causal", "sdpa/causal", "seed/causal"}, 0},
		{"deep glob", []string{"mha/**"}, nil, names[:3], 0},
		{"a star stays within its element", []string{"*"}, nil, nil, exitNothing},
		{"alternatives", []string{"{mha,seed}/causal"}, nil, []string{"mha/causal", "seed/causal"}, 0},
		{"two patterns", []string{"hot", "seed/**"}, nil, []string{"mha/hot", "seed/causal"}, 0},
		{"skip", []string{"mha"}, []string{"causal"}, []string{"mha/hot"}, 0},
		{"skip everything", []string{"mha"}, []string{"mha"}, nil, exitNothing},
		{"one pattern of two selects nothing", []string{"hot", "cold"}, nil, nil, exitNothing},
		{"skip nothing", nil, []string{"cold"}, nil, exitNothing},
		{"malformed", []string{"mha/["}, nil, nil, exitUsage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := selectCases(names, tc.patterns, tc.skip)
			require.Equal(t, tc.want, got)
			if tc.status == 0 {
				require.NoError(t, err)
				return
			}
			var e *exitError
			require.ErrorAs(t, err, &e)
			require.Equal(t, tc.status, e.status)
		})
	}
}

// A name selects itself, even if it is also a pattern.
func TestSelectByName(t *testing.T) {
	got, err := selectCases([]string{"a[1]", "a1"}, []string{"a[1]"}, nil)
	require.NoError(t, err)
	require.Contains(t, got, "a[1]")
}

func TestShellWord(t *testing.T) {
	for word, want := range map[string]string{
		"out/a-1.npy": "out/a-1.npy",
		"my out.npy":  "'my out.npy'",
		"it's":        `'it'\''s'`,
		"":            "''",
		"$HOME":       "'$HOME'",
	} {
		require.Equal(t, want, shellWord(word))
	}
}

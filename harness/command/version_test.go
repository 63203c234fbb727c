package command

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersionText(t *testing.T) {
	const (
		revision = "0123456789abcdef0123456789abcdef01234567"
		pseudo   = "v1.2.1-0.20260701120000-0123456789ab"
	)
	for name, tc := range map[string]struct {
		version, revision, modified string
		want                        string
	}{
		"release":               {version: "v1.2.0", want: "v1.2.0"},
		"release in a checkout": {"v1.2.0", revision, "false", "v1.2.0"},
		"changed release":       {"v1.2.0+dirty", revision, "true", "v1.2.0, modified"},
		"pseudo-version":        {version: pseudo, want: pseudo},
		"checkout":              {pseudo, revision, "false", pseudo},
		"changed checkout":      {pseudo + "+dirty", revision, "true", pseudo + ", modified"},
		"devel":                 {version: "(devel)", want: "(devel)"},
		"devel in a checkout":   {"(devel)", revision, "false", "(devel), revision 0123456789ab"},
		"changed devel":         {"(devel)", revision, "true", "(devel), revision 0123456789ab, modified"},
		"no version":            {want: "(devel)"},
	} {
		t.Run(name, func(t *testing.T) {
			info := &debug.BuildInfo{Main: debug.Module{Version: tc.version}}
			if tc.revision != "" {
				info.Settings = []debug.BuildSetting{
					{Key: "vcs.revision", Value: tc.revision},
					{Key: "vcs.modified", Value: tc.modified},
				}
			}
			require.Equal(t, tc.want, versionText(info))
		})
	}
}

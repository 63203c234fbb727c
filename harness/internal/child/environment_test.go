package child

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEnvironment(t *testing.T) {
	for name, passes := range map[string]bool{
		"PATH": true, "PYTHONPATH": true, "LC_ALL": true, "CUDA_VISIBLE_DEVICES": true, "HF_HOME": true,
		"GITHUB_TOKEN": false, "HF_TOKEN": false, "AWS_SECRET_ACCESS_KEY": false, "PYTHON_API_KEY": false,
		"GOOGLE_APPLICATION_CREDENTIALS": false, "MODEL_PATH": false, "XPATH": false, "PATHS": false, "MINE": true,
	} {
		t.Setenv(name, "x")
		env := environment([]string{"MINE"})
		require.Equal(t, passes, slices.ContainsFunc(env, func(v string) bool {
			return strings.HasPrefix(v, name+"=")
		}), name)
	}
}

package command

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkCommand runs the whole command as a process, start and exit included. The aim is below
// 0.3 s for every case and below 0.1 s for one word.
func BenchmarkCommand(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "difftest.exe")
	require.NoError(b, exec.Command("go", "build", "-o", binary, "../../cmd/difftest").Run())
	for name, args := range map[string][]string{"all": nil, "causal": {"--case", "causal"}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, exec.Command(binary, args...).Run())
			}
		})
	}
}

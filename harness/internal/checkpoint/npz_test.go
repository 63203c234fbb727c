package checkpoint_test

import (
	"testing"

	"github.com/difftest/difftest/harness/internal/harnesstest"
)

func TestNPZRefuses(t *testing.T) {
	npyOf := func(shape ...int) string {
		return string(harnesstest.NPYFile(1, harnesstest.NPYHeader("<f4", false, shape), make([]float32, 6)))
	}
	command := []byte(saved(global("os", "system")))
	objects := harnesstest.NPYFile(1, harnesstest.NPYHeader("|O", false, []int{1}), command)
	for _, tc := range []refusal{
		{"a name twice", archive("a.npy", npyOf(6), "a.npy", npyOf(6)), `member "a.npy" stands twice`},
		{"two problems", archive("a.npy", npyOf(5), "b.npy", npyOf(7)), `"a.npy": .npy data has trailing bytes`},
		{"terabytes", archive("a.npy", npyOf(1<<40)), "needs 1099511627776 elements"},
		{"another file", archive("a.npy", npyOf(6), "setup.py", "import os"), `"setup.py": not a .npy file`},
		{"objects", archive("a.npy", string(objects)), "descr is '|O'"},
	} {
		tc.run(t)
	}
}

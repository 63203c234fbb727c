package judge

import (
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Arithmetic returns the oracle's name for a precision that a subject declares. The zero value,
// which float32 gives, means the precision of the case.
func Arithmetic(declared subject.Precision) oracle.Precision {
	return map[subject.Precision]oracle.Precision{
		subject.Float16: oracle.Float16, subject.BFloat16: oracle.BFloat16, subject.TF32: oracle.TensorFloat32,
		subject.Int8Cache: oracle.Int8Cache, subject.E4M3Cache: oracle.E4M3Cache, subject.E5M2Cache: oracle.E5M2Cache,
	}[declared]
}

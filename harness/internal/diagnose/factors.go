package diagnose

import (
	"math"

	"github.com/difftest/difftest/harness/internal/oracle"
)

// roundedFactors decides if the errors of a module go the way of the errors that it has if its
// products round their factors to TensorFloat-32.
//
// The two are not equal: a sum in another order moves some values, which are then rounded to other
// neighbours, as is all that follows from them. The cosine is at least 0.4 in all of 26 families
// that a GPU computed so. Errors of any other source have a cosine near 0, except parameters
// rounded to float16, which is a known mistake and asked for before.
func roundedFactors(in *input) *finding {
	if in.module == nil || !sizeOfFactors(in.comparison.Rel) {
		return nil
	}
	for _, p := range []struct {
		precision oracle.Precision
		text, fix string
	}{
		{oracle.TensorFloat32, "rounded to 11 bits", "if the implementation computes in tf32 or float16, declare it: " +
			"--precision tf32; PyTorch's switch is torch.backends.cuda.matmul.allow_tf32"},
		{oracle.TruncatedTensorFloat32, "truncated to 11 bits", "convert the factors, for example by cvt.rna.tf32.f32, " +
			"or multiply in float32"},
	} {
		replayed, err := in.module.RoundingFactors(p.precision.Round)
		if err != nil {
			continue
		}
		cosine, size, elements := in.errorsAlike(in.whole.Kept(replayed))
		if likeRoundedFactors(cosine, size, elements) {
			return findingf(Rounding, "matrix products with factors %s, as tf32 has them, give these errors: "+
				"the cosine is %.2f, and the size %.2f times theirs (rel %.3g)", p.text, cosine, size, in.comparison.Rel).
				because("%s", p.fix)
		}
	}
	return nil
}

// sizeOfFactors reports whether rounded factors may give errors of a size.
func sizeOfFactors(rel float64) bool { return rel >= 1e-5 && rel <= 0.05 }

// likeRoundedFactors reports whether the cosine of errors with those of rounded factors, and the
// ratio of their sizes, show that the errors have the same source.
func likeRoundedFactors(cosine, size float64, elements int) bool {
	const (
		leastCosine   = 0.4
		leastEvidence = 100 // elements that a cosine of 1 would need
		mostSize      = 2   // of one error over the other
	)
	return cosine >= leastCosine && cosine*cosine*float64(elements) >= leastEvidence && size > 1./mostSize && size < mostSize
}

// errorsAlike returns the cosine between the errors of the output and of another one, how much
// larger the errors of the output are, and the number of elements.
func (in *input) errorsAlike(other []float64) (cosine, size float64, elements int) {
	var both, own, others float64
	for i, want := range in.truth.Value {
		d, e := in.got[i]-want, other[i]-want
		if !math.IsNaN(d) && !math.IsNaN(e) {
			both, own, others = both+d*e, own+d*d, others+e*e
			elements++
		}
	}
	return both / math.Sqrt(own*others), math.Sqrt(own / others), elements
}

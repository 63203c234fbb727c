package kernel

// Set is a set of instructions.
type Set string

// The sets. Plain is plain Go.
const (
	Plain  Set = "plain Go"
	AVX2   Set = "AVX2"
	AVX512 Set = "AVX-512"
)

// kernels are the functions of a set, for one type of elements. All are nil for plain Go.
type kernels[F Float] struct {
	tiles    []tile[F] // in the order of falling rows
	width    int       // columns that a tile takes at once
	expSum   func(s *F, n int, top F) F
	scaleMax func(s *F, n int, scale F) F
}

var (
	used      = Sets()[0]
	kernels32 = sets32[used]
	kernels64 = sets64[used]
)

// Use makes all products with a set that the processor has: one of [Sets]. Only tests call it. No
// product may be running.
func Use(set Set) {
	used, kernels32, kernels64 = set, sets32[set], sets64[set]
}

// Used returns the set that makes the products.
func Used() Set { return used }

func kernelsOf[F Float]() *kernels[F] {
	if k, ok := any(&kernels32).(*kernels[F]); ok {
		return k
	}
	return any(&kernels64).(*kernels[F])
}

package fit

// Parameter tells where a state dict holds a projection.
type Parameter struct {
	Weight, Bias string
	// Part names the projection's part of a weight that holds several projections: "query part".
	// It is "" if the weight holds one projection. BiasPart is the same for the bias.
	Part, BiasPart string
	// Row maps a row of the projection to a row of the tensors; nil if they are the same.
	Row   func(int) int
	InOut bool // the weight is (in, out): its columns are the projection's rows
}

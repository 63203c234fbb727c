package variant

// Correct lists implementations that differ from each other only in rounding.
var Correct = []Variant{
	{Name: "sequential"},
	{Name: "reversed", Dot: Reversed},
	{Name: "pairwise", Dot: Pairwise},
	{Name: "fused multiply-add in eight lanes", Dot: Lanes},
	{Name: "online softmax in tiles of 5", Tile: 5},
	{Name: "fused scale", FusedScale: true},
	{Name: "online, pairwise, fused scale", Dot: Pairwise, Tile: 8, FusedScale: true},
	{Name: "fused input projection, in lanes", Dot: Lanes, FusedInput: true},
	{Name: "weights stored transposed", Transposed: true},
	{Name: "sums that begin with the bias", BiasFirst: true},
	{Name: "sums that begin with the bias, weights stored transposed", BiasFirst: true, Transposed: true},
	{Name: "sums split over 3 threads", Dot: Chunks(3)},
	{Name: "keys split over 2 threads, sums over 4", Dot: Chunks(4), Parts: 2},
	{Name: "ALiBi by the key's position, online softmax in tiles of 4", Slopes: ByKey, Tile: 4},
	{Name: "ALiBi from the last key, pairwise", Slopes: FromLast, Dot: Pairwise},
}

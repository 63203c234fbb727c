package catalogue

// rotations are those of rotary position embedding.
var rotations = []Mistake{}

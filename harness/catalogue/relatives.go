package catalogue

// relatives are biases by distance.
var relatives = []Mistake{}

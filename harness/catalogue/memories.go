package catalogue

// memories are the inputs of cross attention.
var memories = []Mistake{}

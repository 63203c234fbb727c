package catalogue

// norms are those of query and key.
var norms = []Mistake{}

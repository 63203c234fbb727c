package catalogue

// slopes are those of ALiBi.
var slopes = []Mistake{}

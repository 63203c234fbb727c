package catalogue

// scores are what is done to a score besides scaling and hiding it: softcap, sinks, dropout.
var scores = []Mistake{}

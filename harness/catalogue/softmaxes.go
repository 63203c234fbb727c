package catalogue

// softmaxes run over the wrong numbers, or are no softmax.
var softmaxes = []Mistake{}

package catalogue

// caches are keys and values of earlier positions.
var caches = []Mistake{}

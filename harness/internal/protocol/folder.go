package protocol

import (
	"path"
	"slices"
	"strings"
)

// Belonging is the part that a file plays in an exported folder, where every case has a folder of
// its own.
type Belonging int

// The parts that a file can play.
const (
	Elsewhere Belonging = iota // outside the folders of all cases
	Unknown                    // in the folder of a case, but neither question nor answer
	Question                   // request.json or one of its arrays
	Answer                     // output.npy, weights.npy, reply.json or an array of output/
)

// Place tells the part of a file by its path: mha/causal/output.npy is an Answer if mha/causal is a
// case.
func Place(file string, cases []string) Belonging {
	belonging := Elsewhere
	for dir := path.Dir(file); ; dir = path.Dir(dir) {
		if slices.Contains(cases, dir) {
			belonging = max(belonging, inFolder(strings.TrimPrefix(file, dir+"/")))
		}
		if path.Dir(dir) == dir { // "." or, in a rooted path, "/"
			return belonging
		}
	}
}

// inFolder is Place for a path inside the folder of one case.
func inFolder(file string) Belonging {
	dir, name := path.Split(file)
	switch {
	case file == OutputFile || file == WeightsFile || file == ReplyFile,
		dir == TraceDir+"/" && path.Ext(name) == ".npy":
		return Answer
	case file == RequestFile, (dir == inputsDir+"/" || dir == stateDir+"/") && path.Ext(name) == ".npy":
		return Question
	}
	return Unknown
}

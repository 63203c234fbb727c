package protocol

import (
	"path"
	"slices"
	"strings"
)

// Belonging says what a file is in a folder in which cases have folders of their own.
type Belonging int

// What a file can be.
const (
	Elsewhere Belonging = iota // in the folder of no case
	Unknown                    // in the folder of a case, and nothing that is exchanged there
	Question                   // a request or one of its arrays
	Answer                     // an output, attention weights, or a reply in their place
)

// Place says what a file is, by its path: mha/causal/output.npy is an Answer where mha/causal is a case.
func Place(file string, cases []string) Belonging {
	belonging := Elsewhere
	for dir := path.Dir(file); ; dir = path.Dir(dir) {
		if slices.Contains(cases, dir) {
			belonging = max(belonging, inFolder(strings.TrimPrefix(file, dir+"/")))
		}
		if dir == "." {
			return belonging
		}
	}
}

// inFolder says what a file is by its path inside the folder of a case.
func inFolder(file string) Belonging {
	dir, name := path.Split(file)
	switch {
	case file == OutputFile || file == WeightsFile || file == ReplyFile:
		return Answer
	case file == RequestFile, (dir == inputsDir+"/" || dir == stateDir+"/") && path.Ext(name) == ".npy":
		return Question
	}
	return Unknown
}

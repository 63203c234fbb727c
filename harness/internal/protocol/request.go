// Package protocol is what an implementation outside this process is told of a case: a folder
// with request.json and the arrays that it names, as .npy files. The folder holds neither the
// expected output nor the name of any mistake.
//
// A child process is sent the request in messages of JSON lines; see [Start], [Run], [Done] and [Reply]. What every
// field means stands in harness/PROTOCOL.md, the page for whoever writes an implementation.
package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
)

// Version is that of the protocol.
const Version = 1

// Names of the files in a folder of a case.
const (
	RequestFile = "request.json"
	OutputFile  = "output.npy"
	WeightsFile = "weights.npy"

	inputsDir = "inputs"
	stateDir  = "state_dict"
)

// Request asks for the output of one case.
type Request struct {
	Version   int               `json:"version"`
	Case      string            `json:"case"`
	Op        fixture.Op        `json:"op"`
	Precision fixture.DType     `json:"precision"`
	Config    any               `json:"config"` // Function, Layer or Module
	Inputs    map[string]string `json:"inputs"`
	StateDict map[string]string `json:"state_dict"`
	Output    string            `json:"output"`
	Weights   *string           `json:"weights"`
}

// New makes the request of a case, and gives the arrays that it names by their files. It fails on a case that
// was not read by the package fixture and does not hold together.
func New(c *fixture.Case) (Request, map[string]*npy.Array, error) {
	inputs, err := c.InputArrays()
	state, stateErr := c.StateArrays()
	if err := errors.Join(err, stateErr); err != nil {
		return Request{}, nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	files := map[string]*npy.Array{}
	r := Request{
		Version: Version, Case: c.Name, Op: c.Op, Precision: c.Precision, Config: configOf(c),
		Inputs: place(inputsDir, inputs, files), StateDict: place(stateDir, state, files), Output: OutputFile,
	}
	if c.Weights != nil {
		weights := WeightsFile
		r.Weights = &weights
	}
	return r, files, nil
}

// Write makes the request of a case and writes it, with its arrays, into a folder that exists.
func Write(dir string, c *fixture.Case) (Request, error) {
	r, files, err := texts(c)
	if err != nil {
		return Request{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Request{}, err
	}
	defer root.Close()
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if err := errors.Join(root.MkdirAll(path.Dir(file), 0o755), root.WriteFile(file, files[file], 0o644)); err != nil {
			return Request{}, fmt.Errorf("%s: %s: %w", c.Name, file, err)
		}
	}
	return r, nil
}

// texts are the contents of all files of a request.
func texts(c *fixture.Case) (Request, map[string][]byte, error) {
	r, arrays, err := New(c)
	if err != nil {
		return r, nil, err
	}
	files := map[string][]byte{}
	for file, a := range arrays {
		if files[file], err = a.EncodeNPY(); err != nil {
			return r, nil, fmt.Errorf("%s: %s: %w", c.Name, file, err)
		}
	}
	files[RequestFile], err = r.JSON()
	return r, files, err
}

// JSON is the text of request.json.
func (r Request) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	return append(text, '\n'), err
}

// plainName is a name that is a file's on every system.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// place gives each array a file in a folder: its name where that can be a file's and is no other's but for
// case, else its number. An array of several names has one file.
func place(dir string, arrays, files map[string]*npy.Array) map[string]string {
	taken, placed := map[string]bool{}, map[*npy.Array]string{}
	names := map[string]string{}
	for i, name := range slices.SortedFunc(maps.Keys(arrays), inOrder) {
		a := arrays[name]
		if placed[a] == "" {
			word := name
			if !plainName.MatchString(word) || len(word) > 200 || taken[strings.ToLower(word)] {
				word = fmt.Sprintf("-%d", i)
			}
			taken[strings.ToLower(word)] = true
			placed[a] = dir + "/" + word + ".npy"
			files[placed[a]] = a
		}
		names[name] = placed[a]
	}
	return names
}

// inOrder puts query first, so that what self-attention shares is called by that name.
func inOrder(a, b string) int {
	if first := "query"; a != b && (a == first || b == first) {
		if a == first {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}

// Package protocol describes a case to an implementation outside this process. A folder holds
// request.json and the arrays that it names, as .npy files. It holds neither the expected output
// nor the name of any mistake.
//
// A child process also receives the request in a message, one line of JSON: see [Start], [Run],
// [Done], [Stop] and [Reply]. harness/PROTOCOL.md explains every field to authors of
// implementations.
package protocol

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/npy"
)

// Version is the version of requests and messages.
const Version = 1

// Names of the files in the folder of a case.
const (
	RequestFile = "request.json"
	OutputFile  = "output.npy"
	WeightsFile = "weights.npy"
	// TraceDir may hold the outputs of modules inside a model: output/model.layers.0.mlp.npy.
	TraceDir = "output"

	inputsDir = "inputs"
	stateDir  = "state_dict"
)

// Request asks for the output of one case.
type Request struct {
	Version   int               `json:"version"`
	Case      string            `json:"case"`
	Op        fixture.Op        `json:"op"`
	Precision fixture.DType     `json:"precision"`
	Config    any               `json:"config"` // Function, Layer, Rotary or Module
	Inputs    map[string]string `json:"inputs"`
	StateDict map[string]string `json:"state_dict"`
	Output    string            `json:"output"`
	Weights   *string           `json:"weights"`
}

// New returns the request of a case, and the arrays that it names, by file. It fails if the shapes
// and the data of the case do not fit, which a case from [fixture.Read] cannot cause.
func New(c *fixture.Case) (Request, map[string]*npy.Array, error) {
	inputs, err := c.InputArrays()
	state, stateErr := c.StateArrays()
	if err := errors.Join(err, stateErr); err != nil {
		return Request{}, nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	if positions := c.FirstPositions(); positions != nil {
		inputs["first_positions"] = npy.IntArray(positions, len(positions))
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

// partial ends the name of a file that is being written. Only whole files get their own names.
const partial = ".part"

// Write writes the request of a case and its arrays into a folder, which must exist. It stops at
// the first error.
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
		if err := writeWhole(root, file, files[file]); err != nil {
			return Request{}, fmt.Errorf("%s: %s: %w", c.Name, file, err)
		}
	}
	return r, nil
}

func writeWhole(root *os.Root, file string, data []byte) error {
	if err := root.MkdirAll(path.Dir(file), 0o755); err != nil {
		return err
	}
	err := root.WriteFile(file+partial, data, 0o644)
	if err == nil {
		err = root.Rename(file+partial, file)
	}
	if err != nil {
		_ = root.Remove(file + partial)
	}
	return err
}

// texts returns the contents of all files of a request, by name.
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

// JSON returns the text of request.json.
func (r Request) JSON() ([]byte, error) {
	text, err := json.Marshal(r, json.Deterministic(true), jsontext.WithIndent("  "))
	return append(text, '\n'), err
}

// plainName matches names that every system accepts for a file.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// place gives each array a file in a folder and returns the file of each name. The file is called
// as the array, or by a number if the name is unsafe for a file or differs from another one in case
// only. An array of several names has one file.
func place(dir string, arrays, files map[string]*npy.Array) map[string]string {
	taken, placed := map[string]bool{}, map[*npy.Array]string{}
	names := map[string]string{}
	for i, name := range slices.SortedFunc(maps.Keys(arrays), queryFirst) {
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

// queryFirst sorts names with query first, so that the shared input of self-attention is called
// query.
func queryFirst(a, b string) int {
	if first := "query"; a != b && (a == first || b == first) {
		if a == first {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}

package command

import (
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/graph"
	"github.com/difftest/difftest/harness/internal/harnesstest"
)

// traces CASE DIR [CHANGE PATH]... writes the right output of a model and the outputs of its
// modules, after changes, as a program does that is judged in a folder.
func traces(ts *testscript.TestScript, _ bool, args []string) {
	c, err := fixture.Read(fixtures.FS, args[0])
	ts.Check(err)
	g, err := graph.Parse(c.Graph)
	ts.Check(err)
	given, err := graph.Given[float32](g, c.Given)
	ts.Check(err)
	values, err := graph.Run(g, given)
	ts.Check(err)
	dir := filepath.Join(args[1], args[0])
	modules := filepath.Join(ts.MkAbs(dir), "output")
	ts.Check(os.RemoveAll(modules))
	ts.Check(os.MkdirAll(modules, 0o755))
	files := moduleOutputs(g, values)
	write(ts, filepath.Join(dir, "output.npy"), harnesstest.NPY(tensorOf(values[g.Output])))
	other := map[string][]byte{} // files that no tensor of float32 is
	for change := range slices.Chunk(args[2:], 2) {
		path := change[1]
		switch change[0] {
		case "only":
			files = map[string]*attention.Tensor{path: files[path]}
		case "none":
			clear(files)
		case "wrong":
			for i := range files[path].Data {
				files[path].Data[i] *= 1.5
			}
		case "nan":
			files[path].Data[len(files[path].Data)/2] = float32(math.NaN())
		case "turned":
			shape := files[path].Shape
			shape[len(shape)-1], shape[len(shape)-2] = shape[len(shape)-2], shape[len(shape)-1]
		case "merged":
			shape := files[path].Shape
			files[path].Shape = []int{shape[0] * shape[1], shape[2]}
		case "add":
			files[path] = attention.NewTensor(2, 3)
		case "float64":
			other[path] = harnesstest.NPYFile(1, harnesstest.NPYHeader("<f8", false, files[path].Shape), files[path].Float64s())
		case "float16":
			header := harnesstest.NPYHeader("<f2", false, files[path].Shape)
			other[path] = harnesstest.NPYFile(1, header, make([]uint16, len(files[path].Data)))
		case "broken":
			other[path] = []byte("no array")
		default:
			ts.Fatalf("no change %q", change[0])
		}
	}
	for path, t := range files {
		if other[path] == nil {
			other[path] = harnesstest.NPY(t)
		}
	}
	for path, data := range other {
		write(ts, filepath.Join(dir, "output", path+".npy"), data)
	}
}

// moduleOutputs returns the outputs of the modules inside a model, by their paths.
func moduleOutputs(g *graph.Graph, values graph.Values[float32]) map[string]*attention.Tensor {
	files := map[string]*attention.Tensor{}
	for _, o := range graph.NewView(g, values).ModuleOutputs() {
		files[o.Path] = tensorOf(values[g.Nodes[o.Node].Name])
	}
	return files
}

func tensorOf(t *graph.Tensor[float32]) *attention.Tensor {
	return &attention.Tensor{Shape: slices.Clone(t.Shape), Data: slices.Clone(t.Data)}
}

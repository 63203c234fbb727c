package graph

import (
	"cmp"
	"slices"
	"strings"
)

// ModuleOutput is the value that a module inside a graph returns.
type ModuleOutput struct {
	Path  string // of the module: "model.layers.0.mlp"
	Class string // of the module: "LlamaMLP"; "" if no operation stands in the module itself
	Node  int    // the place of the node whose value the module returns
}

// ModuleOutputs lists the outputs of all modules below the root, in the order of their computation.
// A module stands before the modules around it. Its output is the last value that nodes outside the
// module use. A module that computes constants alone has none.
func (v *View) ModuleOutputs() []ModuleOutput {
	place := map[string]int{}
	for i, n := range v.Nodes {
		place[n.Name] = i
	}
	outputs, classes := map[string]int{}, map[string]string{}
	returns := func(made Node, user string) {
		for _, path := range pathsOf(made.Module) {
			if !Within(user, path) {
				outputs[path] = max(outputs[path], place[made.Name])
			}
		}
	}
	for _, n := range v.Nodes {
		classes[n.Module] = n.Class
		for _, o := range n.Operands {
			if made := v.nodes[o.Name]; made != nil {
				returns(*made, n.Module)
			}
		}
	}
	if last := v.nodes[v.Output]; last != nil {
		returns(*last, "")
	}
	var all []ModuleOutput
	for path, node := range outputs {
		all = append(all, ModuleOutput{path, classes[path], node})
	}
	slices.SortFunc(all, func(a, b ModuleOutput) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), -cmp.Compare(len(a.Path), len(b.Path)), cmp.Compare(a.Path, b.Path))
	})
	return all
}

// pathsOf returns the path of a module and of the modules around it but the root.
func pathsOf(path string) []string {
	var paths []string
	for path != "" {
		paths = append(paths, path)
		path = path[:max(0, strings.LastIndex(path, "."))]
	}
	return paths
}

// Within reports whether a module is another one or stands inside it.
func Within(path, around string) bool {
	return path == around || strings.HasPrefix(path, around+".")
}

// Until returns the graph whose output is the value of a node. It lacks the nodes that do not
// matter to this value.
func (g *Graph) Until(name string) *Graph {
	part, needed := *g, lastUses(g, []string{name})
	matters := func(i int) bool {
		_, ok := needed[g.Nodes[i].Name]
		return ok
	}
	count := 0
	for i := range g.Nodes {
		if matters(i) {
			count++
		}
	}
	part.Output = name
	if count == len(g.Nodes) {
		return &part
	}
	part.Nodes = make([]Node, 0, count)
	for i := range g.Nodes {
		if matters(i) {
			part.Nodes = append(part.Nodes, g.Nodes[i])
		}
	}
	return &part
}

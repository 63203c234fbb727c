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
	// Others are the places of other nodes in the module whose values nodes outside use. The graph
	// does not tell which of several values the module returns first.
	Others []int
}

// ModuleOutputs lists the outputs of all modules below the root, in the order of their computation.
// A module stands before the modules around it. Its output is the last value that nodes outside the
// module use. A module that computes constants alone has none.
func (v *View) ModuleOutputs() []ModuleOutput {
	classes := map[string]string{}
	for _, n := range v.Nodes {
		classes[n.Module] = n.Class
	}
	var all []ModuleOutput
	for path, places := range v.usedOutside() {
		last := len(places) - 1
		all = append(all, ModuleOutput{path, classes[path], places[last], places[:last]})
	}
	slices.SortFunc(all, func(a, b ModuleOutput) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), -cmp.Compare(len(a.Path), len(b.Path)), cmp.Compare(a.Path, b.Path))
	})
	return all
}

// usedOutside maps the paths of modules to the places of their nodes whose values nodes outside
// use, or the caller of the graph.
func (v *View) usedOutside() map[string][]int {
	found := map[string][]int{}
	for place, n := range v.Nodes {
		for _, path := range pathsOf(n.Module) {
			outside := func(user *Node) bool { return !Within(user.Module, path) }
			if n.Name == v.Output || slices.ContainsFunc(v.users[n.Name], outside) {
				found[path] = append(found[path], place)
			}
		}
	}
	return found
}

// Inside lists the places of the nodes in a module and in the modules inside it.
func (v *View) Inside(path string) []int {
	var places []int
	for place, n := range v.Nodes {
		if Within(n.Module, path) {
			places = append(places, place)
		}
	}
	return places
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
	part, needed := *g, lastUses(g, 0, []string{name})
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

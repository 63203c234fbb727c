package edits

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// The mistakes that a model can have in any of its parameters. [Parameters] names the parameters.
var (
	exchanged = catalogue.Mistake{
		ID: "parameters-exchanged", Title: "the parameters of two modules exchanged",
		Family: catalogue.Linear, Kind: catalogue.Parameters,
		Explanation: "Two modules of the same shape have each other's parameters.",
		Fix:         "Load each parameter from its own key, and look at the order of fused parts.",
	}
	fromAnother = catalogue.Mistake{
		ID: "parameters-of-another", Title: "the parameters of another module",
		Family: catalogue.Linear, Kind: catalogue.Parameters,
		Explanation: "A module has the parameters of another one of the same shape, which has them, too.",
		Fix:         "Load each parameter from its own key.",
	}
	zeros = catalogue.Mistake{
		ID: "parameter-zeros", Title: "zeros for a parameter",
		Family: catalogue.Linear, Kind: catalogue.Parameters,
		Explanation: "A parameter is zero, as if it was not loaded or not used.",
		Fix:         "Load the parameter from its key, and use it.",
	}
	ones = catalogue.Mistake{
		ID: "parameter-ones", Title: "ones for a parameter",
		Family: catalogue.Linear, Kind: catalogue.Parameters,
		Explanation: "A parameter is one, as if it was not loaded or not used.",
		Fix:         "Load the parameter from its key, and use it.",
	}
)

var inParameters = []catalogue.Mistake{exchanged, fromAnother, zeros, ones}

// Parameters returns the mistakes that can be made with the parameters of a graph: values of zero
// and one, and parameters of another module of the same shape. Each names its parameters, where *
// stands for every layer.
func Parameters(v *graph.View) []catalogue.Mistake {
	l := list{view: v, seen: map[string]bool{}}
	for _, p := range partsOf(v) {
		if len(p.suffixes) == 1 {
			l.fill(zeros, "zeros for "+p.name(), p, 0)
			l.fill(ones, "ones for "+p.name(), p, 1)
		}
	}
	for _, alike := range bySignature(v, partsOf(v)) {
		for i, a := range alike {
			for _, b := range alike[i+1:] {
				if a.overlaps(b) {
					continue
				}
				l.move(exchanged, fmt.Sprintf("the parameters of %s and %s exchanged", a.name(), b.name()), a.to(b), b.to(a))
				l.move(fromAnother, fmt.Sprintf("the parameters of %s in %s", a.name(), b.name()), a.to(b))
				l.move(fromAnother, fmt.Sprintf("the parameters of %s in %s", b.name(), a.name()), b.to(a))
			}
		}
	}
	return l.mistakes
}

// part is all parameters below a path, or below the paths that one path with * stands for.
type part struct {
	path     string
	paths    []string // as many as layers, or one
	layers   []string // the paths of the layers; nil for one path
	suffixes []string // of the keys below each path; "" for the path itself
}

// name returns the path, or the key if there is one parameter.
func (p part) name() string {
	if len(p.suffixes) == 1 {
		return p.path + p.suffixes[0]
	}
	return p.path
}

// overlaps reports whether two parts share a parameter.
func (p part) overlaps(other part) bool {
	return slices.ContainsFunc(p.paths, func(a string) bool {
		return slices.ContainsFunc(other.paths, func(b string) bool {
			return a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+".")
		})
	})
}

// to returns the keys of the other part, each with the key of this part that replaces it.
func (p part) to(other part) map[string]string {
	from := map[string]string{}
	for i, path := range other.paths {
		for _, suffix := range p.suffixes {
			from[path+suffix] = p.paths[i] + suffix
		}
	}
	return from
}

// partsOf lists the parts of a graph by their paths: every parameter, every module that has some,
// and the same module of all layers.
func partsOf(v *graph.View) []part {
	below := map[string][]string{} // suffixes by path
	for _, key := range v.Parameters {
		for end := range len(key) {
			if key[end] == '.' {
				below[key[:end]] = append(below[key[:end]], key[end:])
			}
		}
		below[key] = []string{""}
	}
	var all []part
	layers := map[string]*part{}
	for _, path := range slices.Sorted(maps.Keys(below)) {
		suffixes := slices.Sorted(slices.Values(below[path]))
		all = append(all, part{path: path, paths: []string{path}, suffixes: suffixes})
		prefix, number, rest := graph.Layer(path)
		if number < 0 || rest == "" {
			continue
		}
		every := strings.TrimPrefix(prefix+".*."+rest, ".")
		if layers[every] == nil {
			layers[every] = &part{path: every, suffixes: suffixes}
		}
		if slices.Equal(layers[every].suffixes, suffixes) {
			layers[every].paths = append(layers[every].paths, path)
			layers[every].layers = append(layers[every].layers, fmt.Sprint(prefix, number))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(layers)) {
		if p := *layers[path]; len(p.paths) > 1 {
			all = append(all, p)
		}
	}
	return all
}

// bySignature groups parts whose parameters have the same names and shapes, in the same layers.
func bySignature(v *graph.View, parts []part) [][]part {
	var order []string
	alike := map[string][]part{}
	for _, p := range parts {
		signature := fmt.Sprint(p.layers)
		for _, suffix := range p.suffixes {
			signature += fmt.Sprint(" ", suffix, v.Shape(graph.Value(p.paths[0]+suffix)))
		}
		if alike[signature] == nil {
			order = append(order, signature)
		}
		alike[signature] = append(alike[signature], p)
	}
	var groups [][]part
	for _, signature := range order {
		groups = append(groups, alike[signature])
	}
	return groups
}

// list collects mistakes with parameters, each once.
type list struct {
	view     *graph.View
	seen     map[string]bool
	mistakes []catalogue.Mistake
}

// move adds the mistake that some keys have the parameters of others.
func (l *list) move(m catalogue.Mistake, title string, changes ...map[string]string) {
	from := map[string]string{}
	for _, c := range changes {
		maps.Copy(from, c)
	}
	fits := !slices.ContainsFunc(slices.Collect(maps.Keys(from)), func(key string) bool {
		return !sameShape(l.view, graph.Value(key), graph.Value(from[key]))
	})
	if key := fmt.Sprint(from); fits && !l.seen[key] {
		l.seen[key] = true
		m.Title, m.Edit = title, Replaced(from)
		l.mistakes = append(l.mistakes, m)
	}
}

// fill adds the mistake that the only parameter of a part is a number.
func (l *list) fill(m catalogue.Mistake, title string, p part, value float64) {
	keys := map[string]bool{}
	for _, path := range p.paths {
		keys[path+p.suffixes[0]] = true
	}
	if key := fmt.Sprint(keys, value); !l.seen[key] {
		l.seen[key] = true
		m.Title, m.Edit = title, filled(keys, value)
		l.mistakes = append(l.mistakes, m)
	}
}

// Replaced returns an edit that takes other parameters for some keys.
func Replaced(from map[string]string) graph.Edit {
	return func(_ *graph.View, n graph.Node) []graph.Node {
		operands, changed := slices.Clone(n.Operands), false
		for i, o := range operands {
			if key, ok := from[o.Name]; ok && o.Name != "" {
				operands[i], changed = graph.Value(key), true
			}
		}
		if !changed {
			return nil
		}
		return nodes(n.With(operands...))
	}
}

// filled returns an edit that takes a number for every element of some parameters.
func filled(keys map[string]bool, value float64) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		operands, made := slices.Clone(n.Operands), []graph.Node(nil)
		for i, o := range operands {
			if o.Name == "" || !keys[o.Name] {
				continue
			}
			t, err := graph.New[float64](v.Shape(o))
			if err != nil {
				return nil
			}
			for j := range t.Data {
				t.Data[j] = value
			}
			table := n.Table(len(made)+1, t)
			made, operands[i] = append(made, table), graph.Value(table.Name)
		}
		if made == nil {
			return nil
		}
		return append(made, n.With(operands...))
	}
}

package report

import (
	"fmt"
	"strings"

	"github.com/difftest/difftest/harness/internal/trace"
)

// trace writes the first wrong module inside a model, and the modules around it in the order of
// their computation: all of them if the text is verbose.
func (t *text) trace(all *trace.Trace) {
	if all == nil {
		return
	}
	t.prose("module", firstWrong(all))
	const before, behind = 3, 4 // of the first wrong module
	var lines []string
	left := 0
	for i, line := range all.Lines {
		near := all.First >= 0 && i >= all.First-before && i <= all.First+behind
		switch {
		case line.Problem != "":
		case near || t.Verbosity >= Verbose:
			lines = append(lines, t.traceLine(line))
		default:
			left++
		}
	}
	if left > 0 && all.First >= 0 {
		lines = append(lines, fmt.Sprintf("and %d more, with -v", left))
	}
	t.block("modules", lines)
	label := "modules"
	if len(lines) > 0 {
		label = ""
	}
	t.prose(label, notCompared(all))
}

// notCompared says which values were not compared, and why.
func notCompared(all *trace.Trace) []string {
	paths := map[string][]string{}
	var problems, lines []string
	for _, line := range all.Lines {
		if line.Problem == "" {
			continue
		}
		if paths[line.Problem] == nil {
			problems = append(problems, line.Problem)
		}
		paths[line.Problem] = append(paths[line.Problem], line.Path)
	}
	for _, problem := range problems {
		lines = append(lines, someOf(paths[problem])+": "+problem)
	}
	return lines
}

// firstWrong says which module is the first wrong one, and which mistake gives its output.
func firstWrong(all *trace.Trace) []string {
	switch n := all.Compared(); {
	case len(all.Lines) == 0:
		return []string{"no output of a module was given"}
	case n == 0:
		return []string{"no module was compared"}
	case all.First < 0 && n == 1:
		return []string{"the only module that was compared is right"}
	case all.First < 0:
		return []string{fmt.Sprintf("all %d modules that were compared are right", n)}
	}
	line := all.Lines[all.First]
	name := line.Path
	if line.Class != "" {
		name += " (" + line.Class + ")"
	}
	before := "no module before it was traced"
	if n := all.Right(); n > 0 {
		before = fmt.Sprintf("the %d before it are right", n)
		if n == 1 {
			before = "the one before it is right"
		}
	}
	said := []string{fmt.Sprintf("%s is the first wrong module; %s", name, before)}
	if n := line.Comparison.NonFinite; n > 0 {
		said = append(said, "its output has NaN or infinity in "+counted(n, "element")+", where PyTorch's has numbers")
	}
	if len(all.Same) > 0 {
		said = append(said, "its output is the right output of "+strings.Join(all.Same, ", or of "))
	}
	said = append(said, explained(all)...)
	if all.Unused() {
		said = append(said, "every module behind it is right: perhaps the model used another value than was given")
	}
	if all.Cut != "" {
		said = append(said, string(all.Cut))
	}
	return said
}

// explained says what gives the output of the first wrong module, or of the module around it.
func explained(all *trace.Trace) []string {
	its, it := "its output", "it"
	if all.Around != "" {
		its, it = "the output of "+all.Around+" around it", all.Around+" around it"
	}
	var titles, said []string
	for _, m := range all.Matches {
		where := placeOf(m.Where, all)
		m.Where = ""
		titles = append(titles, m.Title()+where)
	}
	for _, n := range all.Numbers {
		where := placeOf(n.Where, all)
		n.Where = ""
		titles = append(titles, n.Title()+where)
	}
	if len(titles) > 0 {
		said = append(said, its+" is computed with "+strings.Join(titles, ", or with "))
	}
	var values []string
	for _, v := range all.Values {
		values = append(values, v.Title())
	}
	if len(values) > 0 {
		said = append(said, its+" is as with other values of "+strings.Join(values, ", or of "))
	}
	for _, w := range all.Wirings {
		said = append(said, fmt.Sprintf("%s takes %s as input; PyTorch's takes %s", it, w.Is, w.Was))
	}
	return said
}

// placeOf says where a mistake is made, unless the first wrong module tells. Modules behind this
// one may make the mistake, too.
func placeOf(where string, all *trace.Trace) string {
	if all.Elsewhere(where) {
		return " in " + where
	}
	return ""
}

// traceLine writes a line for a compared value: the number that decided, the path, and the class
// where the width allows it.
func (t *text) traceLine(line trace.Line) string {
	verdict, c := t.paint(green, "ok  "), line.Comparison
	number := fmt.Sprintf("max z %-8.3g", c.MaxZ)
	if line.Wrong() {
		verdict = t.paint(red, "FAIL")
		if c.MaxZ <= c.Limits.Z {
			number = fmt.Sprintf("rms z %-8.3g", c.RMSZ)
		}
	}
	class := ""
	const indent, before = 12, len("FAIL max z 2.46e+06 ")
	if line.Class != "" && indent+before+len(line.Path)+1+len(line.Class) <= t.Width {
		class = " " + line.Class
	}
	return verdict + " " + number + " " + line.Path + class
}

// jsonTrace is the verdict on modules inside a model.
type jsonTrace struct {
	First   string       `json:"first,omitempty"` // path of the first wrong module
	Around  string       `json:"around"`          // path of the explained module around it, or ""
	Matches []jsonMatch  `json:"matches"`         // mistakes that give its output
	Numbers []jsonNumber `json:"numbers"`         // numbers that give its output with other values
	Same    []string     `json:"same"`            // modules whose right output it is
	Wirings []jsonWiring `json:"wirings"`         // other inputs of the module that give its output
	Values  []jsonValues `json:"values"`          // parameters that give it with other values
	Modules []jsonModule `json:"modules"`
}

// jsonWiring is an input of a module that comes from another place than it should.
type jsonWiring struct {
	Was      string `json:"was"`
	Is       string `json:"is"`
	Residual number `json:"residual"`
	MaxZ     number `json:"max_z"`
}

// jsonValues is a parameter of a module, perhaps with its bias, that has other values.
type jsonValues struct {
	Parameters []string `json:"parameters"`
	Where      string   `json:"where"`   // path of the only module that takes the values, or ""
	Changed    string   `json:"changed"` // "3 of its 64 columns", or "" for most of the parameter
	Residual   number   `json:"residual"`
	MaxZ       number   `json:"max_z"`
}

type jsonModule struct {
	Path    string `json:"path"`
	Class   string `json:"class,omitempty"`
	OK      bool   `json:"ok"`
	MaxZ    number `json:"max_z"`
	RMSZ    number `json:"rms_z"`
	Problem string `json:"problem,omitempty"` // why it was not compared
}

func traceJSON(all *trace.Trace) *jsonTrace {
	if all == nil {
		return nil
	}
	out := &jsonTrace{
		Around: all.Around, Matches: []jsonMatch{}, Numbers: []jsonNumber{}, Same: orEmpty(all.Same),
		Wirings: []jsonWiring{}, Values: []jsonValues{}, Modules: []jsonModule{},
	}
	for _, w := range all.Wirings {
		out.Wirings = append(out.Wirings, jsonWiring{w.Was, w.Is, number(w.Residual), number(w.MaxZ)})
	}
	for _, v := range all.Values {
		out.Values = append(out.Values, jsonValues{v.Keys, v.Where, v.Changed, number(v.Residual), number(v.MaxZ)})
	}
	if all.First >= 0 {
		out.First = all.Lines[all.First].Path
	}
	for _, m := range all.Matches {
		out.Matches = append(out.Matches, matchJSON(m))
	}
	for _, n := range all.Numbers {
		out.Numbers = append(out.Numbers, numberJSON(n))
	}
	for _, line := range all.Lines {
		c := line.Comparison
		ok := line.Problem == "" && !line.Wrong()
		out.Modules = append(out.Modules, jsonModule{line.Path, line.Class, ok, number(c.MaxZ), number(c.RMSZ), line.Problem})
	}
	return out
}

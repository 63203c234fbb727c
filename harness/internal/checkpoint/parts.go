package checkpoint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// part is a tensor whose rows stand in another one.
type part struct {
	name string
	blocks
	turned      bool // the part was transposed first
	wholeTurned bool
}

// findPart finds a part in a whole by its numbers, transposed or not.
func findPart(name string, small, whole numbers) (part, bool) {
	if len(small.values) == 0 || len(small.values) >= len(whole.values) {
		return part{}, false
	}
	for _, w := range whole.grid().sides() {
		for _, s := range small.grid().sides() {
			if b, ok := s.within(w); ok && small.tells(whole.grain) {
				return part{name, b, s.turned, w.turned}, true
			}
		}
	}
	return part{}, false
}

// place names the rows of a part: "rows 0 to 39", "rows 0 to 9 of every 30", "row 1 of every 2".
func (p part) place() string {
	what := "row"
	if p.wholeTurned {
		what = "column"
	}
	if p.size > 1 {
		what += "s"
	}
	text := fmt.Sprintf("%s %s", what, spanText(p.at, p.size))
	if p.count > 1 {
		text += fmt.Sprintf(" of every %d", p.step)
	}
	return text
}

// transposes reports whether the part stands in the whole with its rows as columns.
func (p part) transposes() bool { return p.turned != p.wholeTurned }

// inside says that a parameter is a part of a tensor of the file.
func (p part) inside(tensor string) string {
	fix := "split them off"
	if p.count > 1 {
		fix = "take them out of each block"
	}
	if p.name == tensor {
		fix = "cut off the others"
	}
	if p.transposes() {
		fix += " and transpose them"
	}
	return fmt.Sprintf("its values are %s of %s: %s", p.place(), tensor, fix)
}

// stack sorts parts of a whole. It drops a part if an earlier one has covered some of its rows, or
// if it cuts the other side of the whole. It returns the number of rows, or of columns if they are
// cut, and how many are covered.
func stack(parts []part, whole grid) (kept []part, rows, covered int) {
	slices.SortFunc(parts, func(a, b part) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.name, b.name)) })
	rows = whole.rows
	if parts[0].wholeTurned {
		rows = whole.columns
	}
	taken := make([]bool, rows)
	for _, p := range parts {
		if p.wholeTurned != parts[0].wholeTurned || !p.free(taken) {
			continue
		}
		for r := range p.count * p.size {
			taken[p.row(r)] = true
		}
		kept, covered = append(kept, p), covered+p.count*p.size
	}
	return kept, rows, covered
}

// free reports whether no row of the part is taken.
func (p part) free(taken []bool) bool {
	for r := range p.count * p.size {
		if taken[p.row(r)] {
			return false
		}
	}
	return true
}

// stacked says how tensors of the file make up a parameter of rows rows.
func stacked(parts []part, rows, covered int) string {
	var names, places []string
	interleaved, transposes := false, false
	for _, p := range parts {
		names = append(names, p.name)
		places = append(places, fmt.Sprintf("%s as %s", p.name, p.place()))
		interleaved = interleaved || p.count > 1
		transposes = transposes || p.transposes()
	}
	fix := "stack them in this order"
	switch {
	case covered < rows:
		return fmt.Sprintf("%d of its %d rows are there, %s: no tensor proves to hold the others",
			covered, rows, strings.Join(places, ", "))
	case interleaved:
		fix = "interleave them so"
		names = places
	}
	if transposes {
		fix = "transpose each, and " + fix
	}
	return fmt.Sprintf("%s make it up: %s", strings.Join(names, ", "), fix)
}

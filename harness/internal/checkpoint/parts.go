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
	if len(small.values) == 0 || len(small.values) >= len(whole.values) || !small.tells(whole.grain) {
		return part{}, false
	}
	for _, w := range whole.grid().sides() {
		for _, s := range small.grid().sides() {
			if b, ok := s.within(w); ok {
				return part{name, b, s.turned, w.turned}, true
			}
		}
	}
	return part{}, false
}

// place names the rows of a part: "rows 0 to 39", "rows 0 to 9 of every 30".
func (p part) place() string {
	what := "rows"
	if p.wholeTurned {
		what = "columns"
	}
	text := fmt.Sprintf("%s %s", what, span2(p.at, p.size))
	if p.count > 1 {
		text += fmt.Sprintf(" of every %d", p.step)
	}
	return text
}

// transposes reports whether the part stands in the whole with its rows as columns.
func (p part) transposes() bool { return p.turned != p.wholeTurned }

// inside says that a parameter is a part of a tensor of the file.
func (p part) inside(tensor string) string {
	fix := "split it off"
	if p.count > 1 {
		fix = "its parts are interleaved in blocks: take every one"
	}
	if p.transposes() {
		fix += " and transpose it"
	}
	return fmt.Sprintf("it is %s of %s: %s", p.place(), tensor, fix)
}

// stacked says which tensors of the file make up a parameter. It is empty if there are none.
func stacked(parts []part, whole grid) string {
	if len(parts) == 0 {
		return ""
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.name, b.name)) })
	rows := whole.rows
	if parts[0].wholeTurned {
		rows = whole.columns
	}
	parts, covered := disjoint(parts, rows)
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
		return fmt.Sprintf("parts of it are other tensors, %s: the other %d of %d are in no tensor that proves it",
			strings.Join(places, ", "), rows-covered, rows)
	case interleaved:
		fix = "interleave them so"
		names = places
	}
	if transposes {
		fix = "transpose each, and " + fix
	}
	return fmt.Sprintf("it is made of %s: %s", strings.Join(names, ", "), fix)
}

// disjoint drops parts that cover rows which an earlier part has covered, and parts that cut the
// other side of the parameter. It returns the number of rows covered too.
func disjoint(parts []part, rows int) (kept []part, covered int) {
	taken := make([]bool, rows)
	for _, p := range parts {
		if p.wholeTurned != parts[0].wholeTurned || p.row(p.count*p.size-1) >= rows {
			continue
		}
		free := true
		for r := range p.count * p.size {
			free = free && !taken[p.row(r)]
		}
		if !free {
			continue
		}
		for r := range p.count * p.size {
			taken[p.row(r)] = true
		}
		kept, covered = append(kept, p), covered+p.count*p.size
	}
	return kept, covered
}

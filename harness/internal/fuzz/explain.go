package fuzz

import (
	"context"
	"slices"

	"github.com/difftest/difftest/harness/internal/condition"
	"github.com/difftest/difftest/harness/internal/fresh"
)

// Explained is a condition on the numbers of a configuration, and what it rests on.
type Explained struct {
	// Text is the condition: "keys mod 8 != 0"; "" if none was found.
	Text string
	// Failed and Passed count the draws with the options of the shrunk case.
	Failed, Passed int
	// Chosen counts the draws of them that were chosen to refute a condition. No draw refuted the
	// condition in Text.
	Chosen int

	holds   func(fresh.Config) bool // nil if no condition was found
	failing []fresh.Config
}

// Bounds of the search for a condition.
const (
	round     = 24  // draws that are run at once
	mostRuns  = 900 // draws with the options of one case
	hungRuns  = 25  // draws that hang, each for the whole timeout
	quiet     = 4   // rounds without a refutation that end a search
	pool      = 1500
	mutations = 3 // of a known point, in one draw of three
)

// longest is the name of a column.
const longest = "max(queries, keys)"

// family is all configurations with the options of one failing configuration, whose numbers vary.
type family struct {
	of      Outcome
	model   *fresh.Model // nil for attention
	round   int          // draws that are run at once
	columns []string
	source  source
	points  []fresh.Config
	failing []fresh.Config // never empty
	table   condition.Table
	seen    map[fresh.Config]bool
	options []string
}

// family returns the family of a failing configuration, without a draw.
func (r *runner) family(of Outcome, s source) *family {
	f := &family{
		of: of, model: r.model, round: r.round, source: s,
		seen: map[fresh.Config]bool{}, options: optionsOf(of.Config),
	}
	for _, name := range numberFields() {
		c := of.Config
		if f.varies(c, name) {
			f.columns = append(f.columns, name)
		}
	}
	f.table.Names = slices.Clone(f.columns)
	if f.model != nil {
		f.table.Names = append(f.table.Names, "batch*tokens")
		f.table.Apart = func(x, y int) bool { return max(x, y) == len(f.columns) }
		return f
	}
	f.table.Names = append(f.table.Names, "batch*heads", "batch*heads*queries", longest)
	derived := len(f.columns)
	f.table.Apart = func(x, y int) bool { // a product or a maximum, and its parts
		a, b := f.table.Names[min(x, y)], f.table.Names[max(x, y)]
		return max(x, y) >= derived && (b != longest || a == "queries" || a == "keys")
	}
	if of.Config.KVHeads > 0 {
		f.table.Names = append(f.table.Names, "heads/kv-heads")
	}
	if of.Config.Past > 0 && !of.Config.Layer {
		f.table.Names = append(f.table.Names, "keys-past")
	}
	return f
}

// varies reports whether a number is free in the family.
func (f *family) varies(c fresh.Config, name string) bool {
	if name == "keys" && c.Layer && !c.Cross && c.Past == 0 {
		return false // as many as queries
	}
	return *number(&c, name) > 0
}

// values returns the row of a configuration in the table.
func (f *family) values(c fresh.Config) []int {
	var row []int
	for _, name := range f.columns {
		row = append(row, *number(&c, name))
	}
	if f.model != nil {
		return append(row, c.Batch*c.Tokens)
	}
	row = append(row, c.Batch*c.Heads, c.Batch*c.Heads*c.Queries, max(c.Queries, c.Keys))
	if f.of.Config.KVHeads > 0 {
		row = append(row, c.Heads/max(1, c.KVHeads))
	}
	if f.of.Config.Past > 0 && !f.of.Config.Layer {
		row = append(row, c.Keys-c.Past)
	}
	return row
}

// belongs reports whether a configuration has the options of the family and no others.
func (f *family) belongs(c fresh.Config) bool {
	if f.model != nil && c.Tokens > f.model.MostTokens() {
		return false
	}
	return slices.Equal(optionsOf(c), f.options) && c.Layer == f.of.Config.Layer &&
		c.Scale == f.of.Config.Scale && c.Softcap == f.of.Config.Softcap && c.Scores == f.of.Config.Scores
}

// candidate draws a member of the family: any, or one near a known point.
func (f *family) candidate(bounds []int) (fresh.Config, bool) {
	s := f.source
	c := f.of.Config
	if len(f.points) > 0 && !s.oneIn(3) {
		from := f.points
		if s.oneIn(2) {
			from = f.failing
		}
		c = pick(s, from...)
		for range 1 + s.IntN(mutations) {
			f.mutate(&c, bounds)
		}
	} else {
		f.drawShape(&c)
	}
	c.Seed = s.Uint64()
	c = settled(c, "").Complete()
	most := littleWork
	if s.oneIn(8) {
		most = muchWork
	}
	return c, work(c) <= max(most, 2*work(f.of.Config)) && f.belongs(c) && c.Check() == nil
}

// drawShape draws every number of a configuration.
func (f *family) drawShape(c *fresh.Config) {
	if f.model != nil {
		f.source.shapeOfModel(c, f.model.MostTokens())
		return
	}
	var shape fresh.Config
	f.source.numbers(&shape)
	c.Batch, c.Heads, c.HeadDim = shape.Batch, shape.Heads, shape.HeadDim
	c.Queries, c.Keys = shape.Queries, shape.Keys
	f.drawOptions(c)
}

// drawOptions draws the numbers of the options that the family has.
func (f *family) drawOptions(c *fresh.Config) {
	s := f.source
	if c.KVHeads > 0 {
		c.KVHeads = s.divisor(c.Heads)
	}
	if c.Past > 0 {
		c.Past = s.part(c.Keys)
	}
	if c.Window > 0 {
		c.Window = s.window(c.Keys)
	}
	if c.ValueDim > 0 {
		c.ValueDim = s.edge(c.HeadDim + 8)
	}
	if c.RoPEDim > 0 {
		c.RoPEDim = 2 * s.part(c.HeadDim/2+1)
	}
	if c.EmbedDim > 0 {
		c.EmbedDim = s.edge(64)
	}
}

// mutate changes one number of a configuration: by a step, to a number beside a bound of a
// condition, to another number of the configuration, or to any.
func (f *family) mutate(c *fresh.Config, bounds []int) {
	s := f.source
	name := pick(s, f.columns...)
	n := number(c, name)
	switch s.IntN(6) {
	case 0:
		*n += pick(s, -1, 1)
	case 1:
		*n += pick(s, -32, -16, -8, -4, -2, 2, 4, 8, 16, 32)
	case 2:
		if len(bounds) > 0 {
			*n = pick(s, bounds...) + s.IntN(3) - 1
		}
	case 3:
		*n = *number(c, pick(s, f.columns...))*pick(s, 1, 1, 2, 3) + s.IntN(3) - 1
	case 4:
		*n = s.edge(64)
	default:
		*n = s.edge(300)
	}
	*n = max(1, *n)
	*c = settled(*c, name)
}

// add puts an outcome into the table. Failures of another cause are left out.
func (f *family) add(o Outcome) {
	if f.seen[o.Config] || o.Kind == Skipped || o.Failed() && !o.same(f.of) || !f.belongs(o.Config) {
		return
	}
	f.seen[o.Config] = true
	f.points = append(f.points, o.Config)
	if o.Failed() {
		f.failing = append(f.failing, o.Config)
	}
	f.table.Points = append(f.table.Points, condition.Point{Values: f.values(o.Config), Failed: o.Failed()})
}

// explain looks for the condition under which the configurations of a family fail. Every round runs
// draws on which the possible conditions disagree, and draws beside the bounds of the simplest one.
func (r *runner) explain(ctx context.Context, of Outcome, known []Outcome, s source) (Explained, error) {
	f := r.family(of, s)
	f.add(of)
	for _, o := range known {
		f.add(o)
	}
	var e Explained
	calm := 0
	enough := func() bool {
		return len(f.points) >= mostRuns || hangs.MatchString(of.Text) && len(f.failing) >= hungRuns
	}
	var found []condition.Condition
	for calm < quiet && !enough() {
		outcomes, err := r.all(ctx, f.choose(found))
		if err != nil {
			return e, err
		}
		refuted := len(found) == 0
		for _, o := range outcomes {
			if len(found) > 0 && o.Kind != Skipped && (!o.Failed() || o.same(of)) {
				e.Chosen++
				refuted = refuted || found[0].Holds(f.values(o.Config)) != o.Failed()
			}
			f.add(o)
		}
		if calm++; refuted {
			calm = 0
		}
		before := found
		found = f.table.Search()
		if len(found) == 0 && len(before) == 0 && len(f.points) > mostRuns/3 {
			break // no conjunction of three describes it
		}
		if len(found) > 0 && f.disagree(found) {
			calm = min(calm, quiet-1) // the next rounds decide between the conditions
		}
	}
	e.failing, e.Failed, e.Passed = f.failing, len(f.failing), len(f.points)-len(f.failing)
	if len(found) > 0 && calm >= quiet {
		e.Text = found[0].Text(f.table.Names)
		e.holds = func(c fresh.Config) bool { return found[0].Holds(f.values(c)) }
	}
	return e, nil
}

// disagree reports whether candidates are left on which the best conditions differ.
func (f *family) disagree(found []condition.Condition) bool {
	bounds := boundsOf(found)
	for range pool / 3 {
		if c, ok := f.candidate(bounds); ok && split(found, f.values(c)) > 0 {
			return true
		}
	}
	return false
}

// choose returns the configurations of the next round: those on which the conditions disagree most,
// and others.
func (f *family) choose(found []condition.Condition) []fresh.Config {
	bounds := boundsOf(found)
	type contested struct {
		config fresh.Config
		split  int
	}
	var disputed []contested
	var others []fresh.Config
	taken := map[fresh.Config]bool{}
	for range pool {
		c, ok := f.candidate(bounds)
		shape := c
		shape.Seed = 0
		if !ok || taken[shape] {
			continue
		}
		taken[shape] = true
		if n := split(found, f.values(c)); n > 0 {
			disputed = append(disputed, contested{c, n})
		} else if len(others) < f.round {
			others = append(others, c)
		}
	}
	slices.SortStableFunc(disputed, func(a, b contested) int { return b.split - a.split })
	var chosen []fresh.Config
	for _, d := range disputed[:min(len(disputed), f.round*2/3)] {
		chosen = append(chosen, d.config)
	}
	return append(chosen, others[:min(len(others), f.round-len(chosen))]...)
}

// split returns how evenly the conditions divide over a point: the smaller of the two sides.
func split(found []condition.Condition, values []int) int {
	hold := 0
	for _, c := range found {
		if c.Holds(values) {
			hold++
		}
	}
	return min(hold, len(found)-hold)
}

// boundsOf returns the numbers in conditions.
func boundsOf(found []condition.Condition) []int {
	var all []int
	for _, c := range found[:min(len(found), 10)] {
		for _, a := range c {
			all = append(all, max(a.N, 1), max(a.Mod, 1))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

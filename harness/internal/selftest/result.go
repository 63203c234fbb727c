package selftest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/catalogue"
)

// Result is what a run found.
type Result struct {
	Seed  uint64
	Cases int

	Singles, Pairs, LeftOut, Random, Independent Counts

	Variants  Variants
	Detection Detection
	Mistakes  []Row     // in the order of the catalogue, and of the makers
	Findings  []Finding // all that is wrong, and what was missed
}

// Counts is a confusion table. Planted are all outputs; distinguishable those that are outside the noise of
// the right output, and of pairs those that neither a single mistake nor another pair gives. What has a
// name is one of right, class and wrong, whether it is distinguishable or not.
type Counts struct {
	Planted         int `json:"planted"`
	Distinguishable int `json:"distinguishable"`
	Right           int `json:"right"`       // its own name alone, of those that are distinguishable
	Class           int `json:"class"`       // that of mistakes that give the same output, of those that are distinguishable
	Unexplained     int `json:"unexplained"` // no name, of those that are distinguishable
	Wrong           int `json:"wrong"`       // a name that is neither, of all

	Impostors     int `json:"impostors"`     // of class: its own name is not among them
	Constant      int `json:"constant"`      // of class: one row again and again, as of an output that nobody wrote, and said to be
	Misclassified int `json:"misclassified"` // of unexplained: the class that was said is not that of the mistake
}

// Named is the share of the distinguishable ones that are right or in a class; 1 of none.
func (c Counts) Named() float64 {
	if c.Distinguishable == 0 {
		return 1
	}
	return float64(c.Right+c.Class) / float64(c.Distinguishable)
}

// Variants are correct implementations that were judged.
type Variants struct {
	Run         int `json:"run"`
	FalseAlarms int `json:"false_alarms"`
}

// Detection is how many mistakes lead further than [Beyond] from the right output, and how many outputs of
// those were refused.
type Detection struct {
	Planted  int `json:"planted"`
	Detected int `json:"detected"`
}

// Row is what became of one mistake, as one maker computed it.
type Row struct {
	Mistake catalogue.Mistake
	By      Maker
	Counts
}

// Finding is one output that was judged wrongly.
type Finding struct {
	What    string `json:"what"`
	Part    string `json:"part"` // "singles", "pairs", as the tables are called
	Case    string `json:"case"` // its number, or its name
	Planted string `json:"planted"`
	Said    string `json:"said"`
}

// What is wrong with an output. The last three are no false statement of a name.
const (
	wrongName   = "wrong name"
	falseAlarm  = "false alarm"
	notDetected = "not detected"
	otherName   = "impostor"
	noName      = "no name"
	wrongClass  = "wrong class"
)

// Bars are what a diagnosis must reach: the least share of the distinguishable singles and of the pairs that
// have a name. Wrong names, false alarms and what is not detected must be none.
const (
	singlesBar = 0.99
	pairsBar   = 0.95
)

// Missed says which bars were not reached, a line each.
func (r *Result) Missed() []string {
	var missed []string
	miss := func(is bool, format string, args ...any) {
		if is {
			missed = append(missed, fmt.Sprintf(format, args...))
		}
	}
	for _, part := range r.parts() {
		miss(part.Wrong > 0, "%s: %d wrong names, want none", part.name, part.Wrong)
		miss(part.Named() < part.bar, "%s: %.1f %% of the distinguishable have a name, want %.0f %%", part.name, 100*part.Named(), 100*part.bar)
	}
	miss(r.Variants.FalseAlarms > 0, "variants: %d false alarms, want none", r.Variants.FalseAlarms)
	miss(r.Detection.Detected < r.Detection.Planted, "detection: %d of %d were not refused, want none", r.Detection.Planted-r.Detection.Detected, r.Detection.Planted)
	return missed
}

// The tables.
const (
	singles     = "singles"
	pairs       = "pairs"
	leftOut     = "left out"
	random      = "random"
	independent = "independent"
)

// part is one confusion table, and the least share of names in it.
type part struct {
	name string
	Counts
	bar float64
}

func (r *Result) parts() []part {
	return []part{
		{singles, r.Singles, singlesBar},
		{pairs, r.Pairs, pairsBar},
		{leftOut, r.LeftOut, 0},
		{random, r.Random, 0},
		{independent, r.Independent, singlesBar},
	}
}

// count adds an output to a confusion table.
func (c *Counts) count(o outcome, distinguishable, misclassified bool) {
	c.Planted++
	if o == wrong {
		c.Wrong++
	}
	if !distinguishable {
		return
	}
	c.Distinguishable++
	switch o {
	case right:
		c.Right++
	case equivalent:
		c.Class++
	case impostor:
		c.Class++
		c.Impostors++
	case constant:
		c.Class++
		c.Constant++
	case unexplained:
		c.Unexplained++
		if misclassified {
			c.Misclassified++
		}
	}
}

func (c *Counts) add(other Counts) {
	c.Planted += other.Planted
	c.Distinguishable += other.Distinguishable
	c.Right += other.Right
	c.Class += other.Class
	c.Unexplained += other.Unexplained
	c.Wrong += other.Wrong
	c.Impostors += other.Impostors
	c.Constant += other.Constant
	c.Misclassified += other.Misclassified
}

// rows adds up those of one mistake and one maker, and sorts them.
func rows(all []Row) []Row {
	var sum []Row
	for _, row := range all {
		i := slices.IndexFunc(sum, func(s Row) bool { return s.Mistake.ID == row.Mistake.ID && s.By == row.By })
		if i < 0 {
			sum = append(sum, row)
			continue
		}
		sum[i].add(row.Counts)
	}
	place := map[string]int{}
	for i, m := range catalogue.Mistakes {
		place[m.ID] = i
	}
	slices.SortStableFunc(sum, func(a, b Row) int {
		if d := place[a.Mistake.ID] - place[b.Mistake.ID]; d != 0 {
			return d
		}
		return strings.Compare(string(b.By), string(a.By))
	})
	return sum
}

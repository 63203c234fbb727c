package selftest

import (
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/difftest/difftest/harness/internal/catalogue"
)

// Result holds the counts and findings of a run.
type Result struct {
	Seed  uint64
	Cases int

	Singles, Pairs, LeftOut, Random, Independent, Numbers Counts

	Variants  Variants
	Noise     Noise
	Detection Detection
	Mistakes  []Row     // in the order of the catalogue, and of the makers
	Findings  []Finding // outputs that were judged wrongly, or got no name
}

// Counts is a confusion table.
//
// A planted output is distinguishable if it is outside the noise of the right output. The output of
// a pair must also differ from every single mistake's and every other pair's. Wrong counts all
// outputs; the other fields below Distinguishable count the distinguishable ones alone.
type Counts struct {
	Planted         int `json:"planted"`
	Distinguishable int `json:"distinguishable"`
	Right           int `json:"right"`       // its own name, and no other
	Class           int `json:"class"`       // named with equivalents, or rightly constant
	Unexplained     int `json:"unexplained"` // no name
	Wrong           int `json:"wrong"`       // the name of a mistake with another output

	Impostors     int `json:"impostors"`     // of Class: its own name is missing
	Constant      int `json:"constant"`      // of Class: no name, rightly constant or non-finite
	Misclassified int `json:"misclassified"` // of Unexplained: the class fits none of its mistakes
}

// Named returns the share of distinguishable outputs that are right or in a class; 1 if there are
// none.
func (c Counts) Named() float64 {
	if c.Distinguishable == 0 {
		return 1
	}
	return float64(c.Right+c.Class) / float64(c.Distinguishable)
}

// Variants counts the outputs of correct implementations, and those among them that were refused.
type Variants struct {
	Run         int `json:"run"`
	FalseAlarms int `json:"false_alarms"`
}

// Detection counts the outputs whose mistake moves them by more than [Beyond], and how many of them
// were refused.
type Detection struct {
	Planted  int `json:"planted"`
	Detected int `json:"detected"`
}

// Row is the confusion table of one mistake, as one maker computed it.
type Row struct {
	Mistake catalogue.Mistake
	By      Maker
	Counts
}

// Finding is one output that was judged wrongly, or got no name.
type Finding struct {
	What    string `json:"what"`
	Part    string `json:"part"` // the name of a table, "singles"
	Case    string `json:"case"` // the number of a drawn case, or the name of another
	Planted string `json:"planted"`
	Said    string `json:"said"`
}

// The values of Finding.What. With the last three, no false name was given.
const (
	wrongName   = "wrong name"
	falseAlarm  = "false alarm"
	notDetected = "not detected"
	otherName   = "impostor"
	noName      = "no name"
	wrongClass  = "wrong class"
)

// The bars: the share of distinguishable outputs that a good diagnosis gives a name. Besides, no
// output may have a wrong name, random numbers must not be blamed on anything, no correct output
// may be refused, and every mistake that leads far must be.
const (
	singlesBar = 0.99
	pairsBar   = 0.95
	numbersBar = 0.99
)

// significance is the probability with which a diagnosis exactly at a bar may miss it in one run.
const significance = 0.01

// below returns the probability of as many names as were counted, or fewer, if each output gets a
// name with probability bar. A bar is missed if the probability is less than [significance]: the
// upper Clopper-Pearson bound of the true share is then below the bar. One output without a name
// among 18 has a probability of 0.6 at a bar of 0.95.
func (c Counts) below(bar float64) float64 {
	if c.Distinguishable == 0 {
		return 1
	}
	return distuv.Binomial{N: float64(c.Distinguishable), P: bar}.CDF(float64(c.Right + c.Class))
}

// Missed returns the bars that were not reached, a line each.
func (r *Result) Missed() []string {
	var missed []string
	miss := func(is bool, format string, args ...any) {
		if is {
			missed = append(missed, fmt.Sprintf(format, args...))
		}
	}
	for _, part := range r.parts() {
		miss(part.Wrong > 0, "%s: %d wrong names, want none", part.name, part.Wrong)
		chance := part.below(part.bar)
		miss(chance < significance, "%s: %d of %d distinguishable have a name, want %.0f %% (chance %.2g)",
			part.name, part.Right+part.Class, part.Distinguishable, 100*part.bar, chance)
	}
	miss(r.Variants.FalseAlarms > 0, "variants: %d false alarms, want none", r.Variants.FalseAlarms)
	miss(r.Noise.Blamed > 0, "noise: %d outputs were blamed on something, want none", r.Noise.Blamed)
	miss(r.Detection.Detected < r.Detection.Planted, "detection: %d of %d were not refused, want none",
		r.Detection.Planted-r.Detection.Detected, r.Detection.Planted)
	return missed
}

// The names of the tables.
const (
	singles     = "singles"
	pairs       = "pairs"
	leftOut     = "left out"
	random      = "random"
	independent = "independent"
	numbers     = "numbers"
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
		{numbers, r.Numbers, numbersBar},
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

// mergeRows adds up the rows with the same mistake and maker, and sorts them.
func mergeRows(all []Row) []Row {
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

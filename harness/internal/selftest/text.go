package selftest

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/difftest/difftest/harness/internal/catalogue"
)

// Text writes a result for people.
func Text(out io.Writer, r *Result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "seed %d, %d cases\n\n", r.Seed, r.Cases)
	const heads = "planted\tdistinguishable\tright\tclass\tunexplained\twrong\tnamed\t\n"
	fmt.Fprint(w, "\t"+heads)
	for _, p := range r.parts() {
		if p.Planted > 0 {
			writeCounts(w, p.name+"\t", p.Counts)
		}
	}
	fmt.Fprint(w, "\t\t\t\t\t\t\t\t\nsingles\t"+heads)
	for _, row := range families(r.Mistakes) {
		writeCounts(w, fmt.Sprintf("%s, %s\t", row.Mistake.Family, row.By), row.Counts)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	writeNotes(out, r)
	writeFindings(out, r)
	for _, missed := range r.Missed() {
		fmt.Fprintf(out, "MISSED  %s\n", missed)
	}
	_, err := fmt.Fprintf(out, "%s\n", verdict(r))
	return err
}

func verdict(r *Result) string {
	if len(r.Missed()) > 0 {
		return "not all bars are reached"
	}
	return "all bars are reached"
}

func writeCounts(w io.Writer, label string, c Counts) {
	named := "-"
	if c.Distinguishable > 0 {
		named = fmt.Sprintf("%.1f %%", 100*c.Named())
	}
	fmt.Fprintf(w, "%s%d\t%d\t%d\t%d\t%d\t%d\t%s\t\n",
		label, c.Planted, c.Distinguishable, c.Right, c.Class, c.Unexplained, c.Wrong, named)
}

// families adds up the rows of mistakes by family and maker, in their order. Random mistakes are
// left out, because no name is right for them.
func families(rows []Row) []Row {
	var sum []Row
	for _, by := range []Maker{ByPyTorch, ByVariant, ByOracle} {
		for _, row := range rows {
			if row.By != by || row.Mistake.Random {
				continue
			}
			sameFamily := func(s Row) bool { return s.Mistake.Family == row.Mistake.Family && s.By == by }
			i := slices.IndexFunc(sum, sameFamily)
			if i < 0 {
				sum = append(sum, Row{Mistake: catalogue.Mistake{Family: row.Mistake.Family}, By: by})
				i = len(sum) - 1
			}
			sum[i].add(row.Counts)
		}
	}
	return sum
}

func writeNotes(out io.Writer, r *Result) {
	var all Counts
	for _, p := range r.parts() {
		all.add(p.Counts)
	}
	if r.Independent.Planted > 0 {
		fmt.Fprintln(out, "pytorch   PyTorch computed these outputs in float32, "+
			"and the mistakes are written in Python: nothing is shared with the catalogue")
	}
	fmt.Fprintln(out, "variant   float32 code computed these outputs, which shares no arithmetic with the diagnosis; "+
		"the mistakes are the catalogue's")
	fmt.Fprintln(out, "oracle    the diagnosis' own float64 code computed these outputs; float32 noise was added")
	fmt.Fprintf(out, "class     %d named among several mistakes that give the same output, "+
		"%d only as another such mistake;\n          %d without a name, but rightly called constant, or without a finite number\n",
		all.Class-all.Impostors-all.Constant, all.Impostors, all.Constant)
	fmt.Fprintln(out, "left out  the catalogue lacked the mistake: the right answer is unexplained, "+
		"or class with the names of equivalent mistakes")
	fmt.Fprintln(out, "random    no two draws give the same output: the right answer is unexplained")
	fmt.Fprintf(out, "numbers   one number of the case has another value: its name, and an interval that holds the value,\n"+
		"          must be found for at least %.0f %% of the distinguishable, those beyond %d sigma\n",
		100*numbersBar, Beyond)
	fmt.Fprintf(out, "variants  %d outputs of correct implementations, inputs x1, x4 and x8: %d false alarms\n",
		r.Variants.Run, r.Variants.FalseAlarms)
	fmt.Fprintf(out, "noise     %d right outputs with random numbers in a part: "+
		"%d were blamed on a mistake, a number or parameters\n", r.Noise.Planted, r.Noise.Blamed)
	fmt.Fprintf(out, "detection %d outputs were more than %d sigma from the right one: %d were refused\n",
		r.Detection.Planted, Beyond, r.Detection.Detected)
	fmt.Fprintf(out, "classes   %d outputs without a name got a magnitude class that fits none of their mistakes\n\n",
		all.Misclassified)
}

// writeFindings lists every false statement, and some of the outputs without a right name.
func writeFindings(out io.Writer, r *Result) {
	const listed = 12
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	var severe, mild []Finding
	for _, f := range r.Findings {
		if f.What == noName || f.What == wrongClass || f.What == otherName {
			mild = append(mild, f)
		} else {
			severe = append(severe, f)
		}
	}
	write := func(f Finding) {
		fmt.Fprintf(w, "%s\t%s\tcase %s\t%s\t%s\n", f.What, f.Part, f.Case, f.Planted, f.Said)
	}
	for _, f := range severe {
		write(f)
	}
	for _, f := range mild[:min(listed, len(mild))] {
		write(f)
	}
	_ = w.Flush()
	if more := len(mild) - listed; more > 0 {
		fmt.Fprintf(out, "and %d more, which --json has\n", more)
	}
	for _, f := range slices.Concat(severe, mild) {
		if f.Part != "independent" {
			fmt.Fprintf(out, "one of them again: difftest selftest --seed %d --case %s\n", r.Seed, f.Case)
			break
		}
	}
	if len(r.Findings) > 0 {
		fmt.Fprintln(out)
	}
}

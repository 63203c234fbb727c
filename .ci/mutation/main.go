// Mutation changes one small thing in a package at a time and runs the package's own tests. A
// mutant that they pass shows what no test looks at.
//
// Mutants have another operator, number, condition or result, or lack a statement. A mutant that
// does not compile is no mutant. A mutant that computes the same for every input is equivalent:
// equivalents.txt lists it with the reason.
package main

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

//go:embed equivalents.txt
var equivalents string

type options struct {
	count int
	seed  uint64
	files *regexp.Regexp
	least float64
	slow  string
	list  bool
}

func main() {
	log.SetFlags(0)
	var o options
	flag.IntVar(&o.count, "n", 60, "mutants that are drawn of each package; 0 for all")
	flag.Uint64Var(&o.seed, "seed", 1, "another seed draws others")
	files := flag.String("files", "", "only files whose names match this regular expression")
	flag.Float64Var(&o.least, "least", 95, "exit status 1 below this percentage")
	flag.StringVar(&o.slow, "slow", "", "run tests whose names match this regular expression last, on mutants that the others leave alive")
	flag.BoolVar(&o.list, "list", false, "list the mutants and run nothing")
	flag.Parse()
	o.files = regexp.MustCompile(*files)
	if flag.NArg() == 0 {
		log.Fatal("usage: .ci/mutate [-n 60] [-seed 1] [-files REGEXP] PACKAGE...")
	}
	root, err := os.Getwd()
	if err != nil {
		log.Fatal(err)
	}
	reasons, err := readEquivalents(equivalents)
	if err != nil {
		log.Fatal(err)
	}
	low := false
	for _, pattern := range flag.Args() {
		score, err := measure(root, pattern, o, reasons)
		if err != nil {
			log.Fatal(err)
		}
		low = low || score < o.least
	}
	if low {
		os.Exit(1)
	}
}

// measure prints the survivors of a package and returns its score in percent.
func measure(root, pattern string, o options, reasons map[string]string) (float64, error) {
	c, found, err := load(pattern, o.files)
	if err != nil {
		return 0, err
	}
	if err := stale(c.Dir, root, found, reasons, o.files); err != nil {
		return 0, err
	}
	draw(found, o.seed)
	chosen, equivalent := choose(c, found, root, o.count, reasons)
	if o.list {
		for _, m := range chosen {
			fmt.Println(m.key(root))
		}
		return 100, nil
	}
	folder, err := os.MkdirTemp("", "mutation-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(folder)
	t, err := newTrial(c, folder, o.slow)
	if err != nil {
		return 0, err
	}
	alive := 0
	err = t.run(chosen, func(m mutant) {
		alive++
		note := ""
		if !t.reached(m) {
			note = " (no test runs it)"
		}
		fmt.Printf("%d%s %s\n", m.line, note, m.key(root))
	})
	if err != nil {
		return 0, err
	}
	score := 100 * float64(len(chosen)-alive) / float64(max(1, len(chosen)))
	fmt.Printf("%s: of %d mutants %d tried, %d survived, %d equivalent: %.1f %%\n",
		pattern, len(found), len(chosen), alive, equivalent, score)
	if t.late > 0 {
		fmt.Printf("%d of them died in slow tests alone\n", t.late)
	}
	return score, nil
}

// choose takes the first mutants that compile and are not equivalent, and counts the equivalent
// ones among them.
func choose(c *code, found []mutant, root string, count int, reasons map[string]string) (chosen []mutant, equivalent int) {
	for _, m := range found {
		switch {
		case count > 0 && len(chosen) == count:
			return chosen, equivalent
		case reasons[m.key(root)] != "":
			equivalent++
		case c.check(&m, nil) == nil:
			chosen = append(chosen, m)
		}
	}
	return chosen, equivalent
}

// draw shuffles mutants. The same seed gives the same order.
func draw(found []mutant, seed uint64) {
	slices.SortStableFunc(found, func(a, b mutant) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.start, b.start), bytes.Compare([]byte(a.text), []byte(b.text)))
	})
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
}

// readEquivalents maps the key of each equivalent mutant to the reason why no test can kill it.
// Two lines belong together: the key, and the reason behind a tab.
func readEquivalents(text string) (map[string]string, error) {
	reasons, key := map[string]string{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		reason, indented := strings.CutPrefix(line, "\t")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case !indented && key == "":
			key = line
		case indented && key != "":
			reasons[key], key = reason, ""
		default:
			return nil, fmt.Errorf("equivalents.txt: %q: a mutant and its reason take two lines", line)
		}
	}
	if key != "" {
		return nil, fmt.Errorf("equivalents.txt: %q has no reason", key)
	}
	return reasons, nil
}

// stale is an error for entries of equivalents.txt that match no mutant of their package any more.
func stale(folder, root string, found []mutant, reasons map[string]string, files *regexp.Regexp) error {
	keys := map[string]bool{}
	for _, m := range found {
		keys[m.key(root)] = true
	}
	var errs []error
	for key := range reasons {
		path, _, _ := strings.Cut(key, " ")
		path = filepath.Join(root, path)
		if filepath.Dir(path) == folder && files.MatchString(filepath.Base(path)) && !keys[key] {
			errs = append(errs, fmt.Errorf("equivalents.txt: no such mutant: %s", key))
		}
	}
	return errors.Join(errs...)
}

package command

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// meant returns a question that names the words most like one that is unknown: " (did you mean
// causal-missing?)". It is empty if no word is like it.
func meant(word string, words []string) string {
	const shown = 3
	type candidate struct {
		word     string
		distance int
	}
	var like []candidate
	for _, w := range words {
		near := levenshtein.Distance(strings.ToLower(word), strings.ToLower(w), nil)
		if near <= 1+len(word)/4 || len(word) > shown && strings.Contains(w, word) {
			like = append(like, candidate{w, near})
		}
	}
	slices.SortStableFunc(like, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var names []string
	for _, c := range like[:min(shown, len(like))] {
		names = append(names, c.word)
	}
	if len(names) == 0 {
		return ""
	}
	return " (did you mean " + strings.Join(names, " or ") + "?)"
}

// unknownFlag adds flags like an unknown one to the error that cobra gives.
func unknownFlag(cmd *cobra.Command, err error) error {
	name, found := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !found {
		return err
	}
	var flags []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { flags = append(flags, "--"+f.Name) })
	return fmt.Errorf("%w%s", err, meant("--"+name, flags))
}

// unknownCommand is the error for a word that stands where a command is expected.
func unknownCommand(cmd *cobra.Command, word string) error {
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	hint := meant(word, names)
	if strings.Contains(word, "/") {
		hint = fmt.Sprintf("; to select cases: difftest --case %s", shellWord(word))
	}
	return fmt.Errorf("unknown command %q%s", word, hint)
}

// namesAndWords returns the names of cases and the words that select several.
func namesAndWords(names []string) []string {
	var words []string
	for _, name := range names {
		for _, element := range strings.Split(name, "/") {
			words = append(words, element)
			words = append(words, strings.Split(element, "-")...)
		}
	}
	slices.Sort(words)
	return append(slices.Clone(names), slices.Compact(words)...)
}

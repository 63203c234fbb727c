package fuzz

import (
	"fmt"
	"io"
	"strings"

	"github.com/difftest/difftest/harness/internal/fresh"
)

// Text writes a result for people. rerun returns the command that runs a case of the corpus again,
// "" if there is none.
func Text(w io.Writer, r *Result, rerun func(name string) string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, seed %d: %d draws, %d passed, %d failed", r.Subject, r.Seed, r.Draws, r.Passed, r.Failed)
	if r.Skipped > 0 {
		fmt.Fprintf(&b, ", %d skipped", r.Skipped)
	}
	if r.Kept > 0 {
		fmt.Fprintf(&b, "; the first %d of them failed before", r.Kept)
	}
	b.WriteString("\n")
	for _, f := range r.Findings {
		b.WriteString("\n")
		f.text(&b, rerun(f.Case.Name))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// text writes one finding.
func (f Finding) text(b *strings.Builder, rerun string) {
	fmt.Fprintf(b, "FAIL %s  %s", f.Case.Name, f.Shrunk.Kind)
	if len(f.Names) > 0 {
		fmt.Fprintf(b, ": %s", strings.Join(f.Names, " or "))
	}
	b.WriteString("\n")
	line := func(label, format string, args ...any) {
		fmt.Fprintf(b, "  %-9s %s\n", label, fmt.Sprintf(format, args...))
	}
	if f.Shrunk.Text != "" {
		text, _, _ := strings.Cut(f.Shrunk.Text, "\n")
		line("says", "%s", text)
	}
	line("case", "%s", shape(f.Shrunk.Config))
	if options := f.Shrunk.Config; complexity(options) > 0 {
		line("needs", "%s; without any of them it does not fail like this", strings.Join(needed(options), ", "))
	}
	e := f.Condition
	counts := fmt.Sprintf("%d draws like this case: %d failed, %d passed", e.Failed+e.Passed, e.Failed, e.Passed)
	if e.Text == "always" {
		line("fails", "always")
		line("proof", "%s", counts)
	} else if e.Text != "" {
		line("fails", "if and only if %s", e.Text)
		line("proof", "%s; %d of them were chosen to refute it", counts, e.Chosen)
	} else {
		line("fails", "under no condition that was found, in %s", counts)
	}
	first := fmt.Sprintf("draw %d", f.Draw)
	if f.Draw < 0 {
		first = "a case that failed before"
	}
	line("draws", "%d failing draws are like it; the first was %s", f.Draws, first)
	if rerun != "" {
		line("rerun", "%s", rerun)
	}
}

// needed returns the options of a shrunk case.
func needed(c fresh.Config) []string {
	names := optionsOf(c)
	if c.Layer {
		names = append([]string{"layer"}, names...)
	}
	return names
}

// shape returns the flags of a configuration without its seed.
func shape(c fresh.Config) string {
	var words []string
	for _, f := range c.Fields() {
		text := fresh.Text(f.Value)
		if f.Name == "seed" || f.Option && (text == "0" || text == "" || text == "false") {
			continue
		}
		words = append(words, f.Name+" "+text)
	}
	return strings.ReplaceAll(strings.Join(words, ", "), " true", "")
}

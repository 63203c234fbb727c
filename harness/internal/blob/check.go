package blob

import (
	"fmt"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/known"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/subject"
)

// checkHeader refuses a first line that no run writes.
func (b *Blob) checkHeader(h header) error {
	if err := b.Shard.Check(); err != nil {
		return wrong("Shard", "%w", err)
	}
	names := []string{b.Tool, b.SuiteHash, b.About, b.Precision, b.Subject}
	for _, text := range slices.Concat(names, b.Flags, b.Cases) {
		if strings.Contains(text, "\n") {
			return fmt.Errorf("%.200q: more than one line", text)
		}
	}
	if !slices.IsSortedFunc(b.Cases, strictly) {
		return wrong("Cases", "not sorted, or one is there twice")
	}
	if _, err := known.Parse(b.Known); err != nil {
		return wrong("Known", "%w", err)
	}
	for _, p := range append(slices.Clone(h.Replies), h.Declared) {
		if err := subject.Precision(p).Check(); err != nil {
			return err
		}
	}
	if !slices.IsSortedFunc(h.Replies, strictly) {
		return wrong("Replies", "not sorted, or one is there twice")
	}
	if n := len(b.own()); h.Results < 0 || h.Results > n {
		return wrong("Results", "%d, but shard %s has %d cases", h.Results, b.Shard, n)
	}
	return nil
}

// strictly orders names for [slices.IsSortedFunc]. A list with a name twice is not sorted.
func strictly(a, b string) int {
	if a <= b {
		return -1
	}
	return 1
}

// own returns the cases of the shard.
func (b *Blob) own() []string { return b.Shard.Cases(b.Cases) }

// Fits refuses a blob whose results are no results of the cases. cases holds the cases of the run
// that can be read.
func (b *Blob) Fits(cases map[string]*fixture.Case) error {
	own := b.own()
	for i, r := range b.Observed.Probed {
		at := slices.Index(own, r.Case)
		if at < 0 {
			return fmt.Errorf("%s: no case of shard %s, or out of order", r.Case, b.Shard)
		}
		own = own[at+1:]
		c := cases[r.Case]
		if c == nil {
			return fmt.Errorf("%s: the case cannot be read here", r.Case)
		}
		if err := checkResult(r, c); err != nil {
			return fmt.Errorf("%s: %w", r.Case, err)
		}
		if !slices.Contains(classes, b.Observed.Judged[i].Diagnosis.Class) {
			return fmt.Errorf("%s: Class: %.200q", r.Case, b.Observed.Judged[i].Diagnosis.Class)
		}
	}
	return b.checkBroken()
}

// checkBroken refuses broken cases of other shards, and such that have a verdict.
func (b *Blob) checkBroken() error {
	own := b.own()
	for _, broken := range b.Observed.Broken {
		has := func(r report.Result) bool { return r.Case == broken.Case }
		at := slices.Index(own, broken.Case)
		if at < 0 || slices.ContainsFunc(b.Observed.Probed, has) {
			return wrong("Broken", "%s: no case of shard %s without a result, or out of order", broken.Case, b.Shard)
		}
		own = own[at+1:]
	}
	for _, broken := range b.Observed.General {
		if !strings.HasPrefix(broken.Case, "(") || strings.Contains(broken.Case, "\n") {
			return wrong("General", "%.200q is about a case", broken.Case)
		}
	}
	return nil
}

// wrong returns an error about a field.
func wrong(field, format string, args ...any) error {
	return fmt.Errorf(field+": "+format, args...)
}

package report

import (
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"fmt"
	"html/template"
	"io"

	"github.com/difftest/difftest/harness/internal/pattern"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"plain": plain, "words": headline, "someOf": someOf, "maps": maps, "anchor": anchor,
	"against": Cause.against, "sentences": Shared.Sentences,
}).Parse(pageText))

// HTML writes a report as one page, which loads nothing and runs no script: the verdict, the causes
// with their evidence and fixes, every case as a square, and each failure with the attention
// weights recovered from its output.
func HTML(w io.Writer, r *Report) error {
	sum := sha256.Sum256([]byte(pageStyle))
	return pageTemplate.Execute(w, page{
		Report: r,
		Passed: r.OK() && len(r.Broken) == 0 && !r.Interrupted && r.Failure == nil,
		Counts: counts(r),
		Style:  template.CSS(pageStyle),
		Policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'none'",
		Full: inDetail(r),
	})
}

// page holds the values that the template shows.
type page struct {
	*Report
	Passed bool
	Counts string
	Style  template.CSS
	Policy string
	Full   map[string]bool // failures with pictures
}

// Wrongs returns the results that have a section.
func (p page) Wrongs() []Result {
	var all []Result
	for _, r := range p.Results {
		if r.Verdict == Fail || r.Verdict == Error {
			all = append(all, r)
		}
	}
	return all
}

// Why returns the reasons of the first failure that a cause explains.
func (p page) Why(c Cause) []string {
	for _, r := range p.Results {
		if len(c.Failures) > 0 && r.Case == c.Failures[0] {
			return r.Diagnosis.Reasons
		}
	}
	return nil
}

// anchor returns the id of the section of a case.
func anchor(name string) string { return "case-" + base64.RawURLEncoding.EncodeToString([]byte(name)) }

// picture is a map of attention weights: a line a query, a column a key.
type picture struct {
	Title         string
	Queries, Keys int
	Cells         []cell
}

// cell is one weight. Shade is its size in ten steps, which the style colours.
type cell struct {
	Query, Key, Shade int
	Text              string
}

// maps returns the recovered and the expected weights of the head that differs most.
func maps(p *pattern.Pattern) []picture {
	if p == nil || p.Heads == 0 || p.Queries*p.Keys > 64*64 {
		return nil
	}
	size, worst, most := p.Queries*p.Keys, 0, 0.0
	for head := range p.Heads {
		sum := 0.0
		for i := head * size; i < (head+1)*size; i++ {
			if d := p.Recovered[i] - p.Expected[i]; d == d {
				sum += d * d
			}
		}
		if sum > most {
			worst, most = head, sum
		}
	}
	var all []picture
	for _, one := range []struct {
		title   string
		weights []float64
	}{{"yours, recovered from the output", p.Recovered}, {"expected", p.Expected}} {
		m := picture{
			Title:   fmt.Sprintf("batch %d head %d: %s", worst/max(1, p.PerBatch), worst%max(1, p.PerBatch), one.title),
			Queries: p.Queries, Keys: p.Keys,
		}
		for i, v := range one.weights[worst*size:][:size] {
			shade := 0
			if v > 0 {
				shade = int(min(9, v*10))
			}
			q, k := i/p.Keys, i%p.Keys
			m.Cells = append(m.Cells, cell{q, k, shade, fmt.Sprintf("query %d, key %d: %.4g", q, k, v)})
		}
		all = append(all, m)
	}
	return all
}

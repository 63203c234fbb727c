package report

import (
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/difftest/difftest/harness/internal/pattern"
	"github.com/difftest/difftest/harness/internal/trace"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

//go:embed page.js
var pageScript string

// pageTemplate parses the page when a report first asks for it.
var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"plain": plain, "words": headline, "someOf": someOf, "maps": maps, "masks": newMasks, "anchor": anchor,
		"heatmaps": newHeatmaps, "magnitudes": newMagnitudes, "distances": newDistances, "modules": modules,
		"parameters": newParameters, "against": Cause.against, "sentences": Shared.Sentences, "configuration": configuration,
	}).Parse(pageText))
})

// HTML writes a report as one page that loads nothing: the verdict, the causes with their evidence
// and fixes, every case as a square, and each failure. The first failure of each cause has pictures
// of its mask, output and attention, and charts of the distances from the truth and from every
// known mistake. The only script filters the cases and tells the element under the pointer.
func HTML(w io.Writer, r *Report) error { return pageTemplate().Execute(w, newPage(r)) }

// Sections writes the sections of all cases alone as a page, for a frame in a notebook.
func Sections(w io.Writer, r *Report) error {
	return pageTemplate().ExecuteTemplate(w, "sections", newPage(r))
}

func newPage(r *Report) page {
	return page{
		Report: r,
		Passed: r.OK() && len(r.Broken) == 0 && !r.Interrupted && r.Failure == nil,
		Counts: counts(r),
		Style:  template.CSS(pageStyle),
		Script: template.JS(pageScript),
		Policy: "default-src 'none'; img-src data:; style-src " + hashed(pageStyle) + "; script-src " + hashed(pageScript) +
			"; base-uri 'none'; form-action 'none'",
		Full: inDetail(r),
	}
}

// hashed returns the source of a policy that allows a text alone.
func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// page holds the values that the template shows.
type page struct {
	*Report
	Passed bool
	Counts string
	Style  template.CSS
	Script template.JS
	Policy string
	Full   map[string]bool // failures with pictures
}

// group is the cases of one folder of the suite.
type group struct {
	Name    string
	Results []Result
}

// Groups returns the cases by the first part of their names, in the order of the report.
func (p page) Groups() []group {
	var all []group
	for _, r := range p.Results {
		name, _, _ := strings.Cut(r.Case, "/")
		if len(all) == 0 || all[len(all)-1].Name != name {
			all = append(all, group{Name: name})
		}
		last := &all[len(all)-1]
		last.Results = append(last.Results, r)
	}
	return all
}

// section is a result with what the report says about it.
type section struct {
	Result
	Causes string
	Full   bool // with pictures
}

// Section returns the section of a case.
func (p page) Section(r Result) section { return section{r, p.CausesOf(r.Case), p.Full[r.Case]} }

// Verdicts returns the verdicts of the report, each once.
func (p page) Verdicts() []Verdict {
	var all []Verdict
	for _, v := range []Verdict{Fail, Error, Known, Skip, Pass} {
		if p.Count(v) > 0 {
			all = append(all, v)
		}
	}
	return all
}

// CausesOf returns the ids of the causes of a case with blanks between them.
func (p page) CausesOf(name string) string {
	var ids []string
	for _, c := range p.Causes {
		if slices.Contains(c.Failures, name) {
			ids = append(ids, c.ID)
		}
	}
	return strings.Join(ids, " ")
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

// configuration writes a configuration as one sentence.
func configuration(lines string) string {
	if lines == "" {
		return ""
	}
	sentence := strings.NewReplacer("\t", " ", "\n", "; ").Replace(lines)
	return strings.ToUpper(sentence[:1]) + sentence[1:] + "."
}

// maps draws the recovered and the expected weights of the head that differs most: a line a query,
// a column a key.
func maps(p *pattern.Pattern) []picture {
	if p == nil || p.Heads == 0 || p.Queries*p.Keys > MaskLimit {
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
	place := fmt.Sprintf(" in batch %d, head %d", worst/max(1, p.PerBatch), worst%max(1, p.PerBatch))
	return []picture{
		drawn("weights recovered from your output"+place, p.Recovered[worst*size:][:size], p.Queries, p.Keys, signed),
		drawn("expected weights"+place, p.Expected[worst*size:][:size], p.Queries, p.Keys, signed),
	}
}

// module is a line about a module inside a model.
type module struct {
	Path, Class, Verdict, MaxZ string
	Depth                      int // of the module in the model, at most 4
	First                      bool
}

// modules returns a line for every value of a trace.
func modules(t *trace.Trace) []module {
	var all []module
	for i, line := range t.Lines {
		m := module{Path: line.Path, Class: line.Class, Depth: min(4, strings.Count(line.Path, "."))}
		switch {
		case line.Problem != "":
			m.Verdict = line.Problem
		case line.Wrong():
			m.Verdict, m.MaxZ = "FAIL", fmt.Sprintf("%.3g", line.Comparison.MaxZ)
		default:
			m.Verdict, m.MaxZ = "ok", fmt.Sprintf("%.3g", line.Comparison.MaxZ)
		}
		if m.First = i == t.First; m.First {
			m.Verdict += ", the first wrong module"
		}
		all = append(all, m)
	}
	return all
}

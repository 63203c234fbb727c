package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"path"
	"strings"
)

// JUnit writes a report as JUnit XML, as CI servers read it: a suite for each group of cases, and
// one more, "difftest", for files that are broken. The encoder replaces what XML cannot hold by
// U+FFFD.
func JUnit(w io.Writer, r *Report) error {
	all := junitSuites{Name: "difftest: " + r.Subject + partOf(r.Shard), Time: junitTime(r.Took.Seconds())}
	index := map[string]int{}
	for _, result := range r.Results {
		group := path.Dir(result.Case)
		i, known := index[group]
		if !known {
			i = len(all.Suites)
			index[group] = i
			all.Suites = append(all.Suites, junitSuite{Name: group})
		}
		all.Suites[i].add(junitOf(result))
	}
	if broken := junitBroken(r); broken.Tests > 0 {
		all.Suites = append(all.Suites, broken)
	}
	for _, s := range all.Suites {
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		all.Skipped += s.Skipped
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr,omitempty"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name      string        `xml:"name,attr"`
	ClassName string        `xml:"classname,attr"`
	Time      string        `xml:"time,attr,omitempty"`
	Failure   *junitProblem `xml:"failure"`
	Error     *junitProblem `xml:"error"`
	Skipped   *junitProblem `xml:"skipped"`
}

type junitProblem struct {
	Message string `xml:"message,attr,omitempty"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

func (s *junitSuite) add(c junitCase) {
	s.Cases = append(s.Cases, c)
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
}

// junitOf returns a case with its verdict. A failure that is expected counts as skipped.
func junitOf(r Result) junitCase {
	c := junitCase{
		Name: path.Base(r.Case), ClassName: path.Dir(r.Case), Time: junitTime(r.Took.Seconds()),
	}
	switch r.Verdict {
	case Fail:
		c.Failure = &junitProblem{headline(r), string(r.Diagnosis.Class), plain(r)}
	case Error:
		first, _, _ := strings.Cut(strings.TrimSpace(r.Err), "\n")
		c.Error = &junitProblem{first, "no output", plain(r)}
	case Skip:
		c.Skipped = &junitProblem{Message: r.Err}
	case Known:
		c.Skipped = &junitProblem{Message: "known to fail: " + r.Known}
	}
	return c
}

// junitBroken returns a suite of what could not be read, and of a command that failed altogether.
func junitBroken(r *Report) junitSuite {
	s := junitSuite{Name: "difftest"}
	for _, b := range r.Broken {
		first, _, _ := strings.Cut(b.Err, "\n")
		s.add(junitCase{
			Name: b.Case, ClassName: s.Name, Error: &junitProblem{first, "broken", b.Err},
		})
	}
	if r.Failure != nil {
		s.add(junitCase{Name: "run", ClassName: s.Name, Error: &junitProblem{Message: r.Failure.Message}})
	}
	if r.Interrupted {
		text := fmt.Sprintf("interrupted after %d of %s", len(r.Results), counted(r.Selected, "case"))
		s.add(junitCase{Name: "run", ClassName: s.Name, Error: &junitProblem{Message: text}})
	}
	return s
}

// plain returns the text of one result, without colours.
func plain(r Result) string {
	var b strings.Builder
	_ = Text(TextOptions{Bare: true, Brief: true, Width: 100})(&b, &Report{Results: []Result{r}})
	return strings.TrimRight(b.String(), "\n") // a strings.Builder takes everything
}

func junitTime(seconds float64) string {
	if seconds == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f", seconds)
}

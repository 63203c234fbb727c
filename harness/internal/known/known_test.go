package known

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/replay"
	"github.com/difftest/difftest/harness/internal/report"
)

func entry(cases, cause, reason string) Failure {
	return Failure{Pattern: cases, Cause: cause, Reason: reason}
}

func TestParse(t *testing.T) {
	known, err := Parse(`# of people

seed/causal  cause=causal-missing  # not ported # yet
` + "\tmha/**\t#all of them" + `
a#b # a name with a sign
x cause=causal-missing+padding-ignored # two`)
	require.NoError(t, err)
	require.Equal(t, []Failure{
		entry("seed/causal", "causal-missing", "not ported # yet"),
		entry("mha/**", "", "all of them"),
		entry("a#b", "", "a name with a sign"),
		entry("x", "causal-missing+padding-ignored", "two"),
	}, known)
	const form = "want a name or pattern, cause=ID or nothing, then # and the reason"
	for text, want := range map[string]string{
		"seed/causal":                          "line 1: seed/causal: no reason",
		"\nseed/causal #":                      "line 2: seed/causal: no reason",
		"seed/causal why # x":                  `line 1: "why": ` + form,
		"seed/causal cause= # x":               `line 1: "cause=": want`,
		"a cause=causal-missing cause=no # x":  `line 1: "cause=no": want`,
		"a cause=casual-missing # x":           `line 1: a: cause=casual-missing: "casual-missing" is no known mistake`,
		"a cause=causal-missing+none-such # x": `"none-such" is no known mistake`,
		"a cause=alibi-by-key # x":             `"alibi-by-key" is no known mistake`,
		"mha/[ # x":                            `line 1: mha/[: pattern "mha/[" is malformed`,
		"good # x\nbad\nworse\n":               "line 2: bad: no reason\nline 3: worse: no reason",
	} {
		_, err := Parse(text)
		require.ErrorContains(t, err, want, text)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "a # b", "a cause=causal-missing # b\n# c\n", "mha/[ #", "#", " # #", "\x00\t#"} {
		f.Add(text)
	}
	r := &report.Report{Results: []report.Result{result("a", report.Fail), result("b", report.Pass)}}
	f.Fuzz(func(t *testing.T, text string) {
		known, err := Parse(text)
		if err != nil {
			return
		}
		updated, err := Update(text, r)
		require.NoError(t, err)
		again, err := Parse(updated)
		require.NoError(t, err, "an updated list can be read")
		require.LessOrEqual(t, len(again), len(known)+1)
		after := &report.Report{Results: []report.Result{r.Results[0], r.Results[1]}}
		after, _ = Acknowledge(after, again, []string{"a", "b"})
		require.Equal(t, report.Known, after.Results[0].Verdict, updated)
		require.Equal(t, report.Pass, after.Results[1].Verdict, updated)
	})
}

// result returns the result of a case with a verdict, and with a match for each id.
func result(name string, verdict report.Verdict, ids ...string) report.Result {
	r := report.Result{Case: name, Verdict: verdict, Diagnosis: diagnose.Diagnosis{Class: diagnose.MissingFeature}}
	for _, id := range ids {
		var match replay.Match
		for part := range strings.SplitSeq(id, "+") {
			m, _ := catalogue.ByID(part)
			match.Mistakes = append(match.Mistakes, m)
		}
		r.Diagnosis.Matches = append(r.Diagnosis.Matches, match)
	}
	return r
}

func TestAcknowledge(t *testing.T) {
	const missing, padding = "causal-missing", "padding-ignored"
	list := func(f ...Failure) []Failure { return f }
	fails := func(ids ...string) report.Result { return result("a/b", report.Fail, ids...) }
	for _, tc := range []struct {
		name    string
		known   []Failure
		result  report.Result
		verdict report.Verdict
		finding string
	}{
		{"not listed", list(entry("other", "", "r")), fails(), report.Fail, ""},
		{"any cause", list(entry("a/b", "", "r")), fails(), report.Known, ""},
		{"a pattern", list(entry("a/**", "", "r")), fails(), report.Known, ""},
		{"a word", list(entry("b", "", "r")), fails(), report.Known, ""},
		{"a crash", list(entry("a/b", "", "r")), result("a/b", report.Error), report.Known, ""},
		{"the cause", list(entry("a/b", missing, "r")), fails(missing), report.Known, ""},
		{"one of the causes", list(entry("a/b", missing, "r")), fails(padding, missing), report.Known, ""},
		{
			"two at once", list(entry("a/b", padding+"+"+missing, "r")), fails(missing + "+" + padding),
			report.Known, "",
		},
		{
			"one of two at once", list(entry("a/b", missing, "r")), fails(missing + "+" + padding),
			report.Fail, "it is listed as failing with causal-missing (r), and fails otherwise",
		},
		{
			"another cause", list(entry("a/b", missing, "r")), fails(padding),
			report.Fail, "it is listed as failing with causal-missing (r), and fails otherwise",
		},
		{
			"no cause found", list(entry("a/b", missing, "r")), fails(),
			report.Fail, "it is listed as failing with",
		},
		{
			"a crash instead of the cause", list(entry("a/b", missing, "r")), result("a/b", report.Error),
			report.Error, "",
		},
		{
			"one of two entries", list(entry("a/b", missing, "r"), entry("a/**", "", "s")), fails(padding),
			report.Known, "",
		},
		{
			"passes", list(entry("a/b", missing, "r")), result("a/b", report.Pass),
			report.Fail, "it passes, but is listed as known to fail (r): take a/b off the list",
		},
		{
			"passes, by a pattern", list(entry("a/*", "", "r")), result("a/b", report.Pass),
			report.Fail, "take a/* off the list",
		},
		{"skipped", list(entry("a/b", "", "r")), result("a/b", report.Skip), report.Skip, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &report.Report{Results: []report.Result{tc.result}}
			r, _ = Acknowledge(r, tc.known, []string{"a/b", "other"})
			got := r.Results[0]
			require.Equal(t, tc.verdict, got.Verdict)
			require.Contains(t, strings.Join(got.Findings, "\n"), tc.finding)
			require.Equal(t, tc.finding == "", len(got.Findings) == 0)
			if tc.verdict == report.Error {
				require.Contains(t, got.Err, "it is listed as failing with causal-missing (r), and fails otherwise")
			}
		})
	}
}

func TestAcknowledgeRefusesTheList(t *testing.T) {
	_, err := Acknowledge(&report.Report{}, []Failure{
		entry("mha/none", "", "r"), entry("mha/causal", "", ""),
		entry("seed/causal", "casual", "r"), entry("seed/causal", "", "r"),
	}, []string{"mha/causal", "seed/causal"})
	require.EqualError(t, err, `known "mha/none": the suite has no such case
known "mha/causal": no reason
known "seed/causal": cause=casual: "casual" is no known mistake
known "seed/causal": listed twice`)
}

// A cause of known failures alone is left out, and other causes do not list known failures.
func TestAcknowledgeCauses(t *testing.T) {
	r := &report.Report{
		Results: []report.Result{
			result("a", report.Fail, "causal-missing"),
			result("b", report.Fail, "causal-missing"),
			result("c", report.Fail, "padding-ignored"),
		},
		Causes: []report.Cause{
			{ID: "causal-missing", Failures: []string{"a", "b"}},
			{ID: "padding-ignored", Failures: []string{"c"}},
		},
	}
	r, err := Acknowledge(r, []Failure{entry("a", "", "r"), entry("c", "", "r")}, []string{"a", "b", "c"})
	require.NoError(t, err)
	require.Len(t, r.Causes, 1)
	require.Equal(t, []string{"b"}, r.Causes[0].Failures)
}

// The given report and its results stay as they are.
func TestAcknowledgeLeavesItsInput(t *testing.T) {
	fresh := func() *report.Report {
		fails, passes := result("a", report.Fail, "causal-missing"), result("b", report.Pass)
		otherwise, crashes := result("c", report.Fail, "scale-missing"), result("d", report.Error)
		for _, r := range []*report.Result{&fails, &passes, &otherwise} {
			r.Findings = append(make([]string, 0, 8), "one") // with room that an append would use
		}
		crashes.Err = "boom"
		return &report.Report{
			Results: []report.Result{fails, passes, otherwise, crashes},
			Causes:  []report.Cause{{ID: "causal-missing", Failures: []string{"a", "c", "d"}}},
		}
	}
	given, known := fresh(), []Failure{
		entry("a", "", "r"), entry("b", "", "r"), entry("c", "causal-missing", "r"), entry("d", "causal-missing", "r"),
	}
	got, err := Acknowledge(given, known, []string{"a", "b", "c", "d"})
	require.NoError(t, err)
	require.Equal(t, asJSON(t, fresh()), asJSON(t, given))
	require.Equal(t, []string{"c", "d"}, got.Causes[0].Failures)
	require.Equal(t, "it is listed as failing with causal-missing (r), and fails otherwise\nboom", got.Results[3].Err)
	for i := range given.Results[:3] {
		require.Empty(t, given.Results[i].Findings[:2][1], "nothing is written behind the findings")
	}
	require.NotEqual(t, asJSON(t, given), asJSON(t, got))
}

// asJSON writes a report for comparison: its mistakes hold functions, which do not compare.
func asJSON(t *testing.T, r *report.Report) string {
	t.Helper()
	var text strings.Builder
	require.NoError(t, report.JSON(&text, r))
	return text.String()
}

func TestUpdate(t *testing.T) {
	r := &report.Report{Results: []report.Result{
		result("a/1", report.Fail, "causal-missing"), result("a/2", report.Pass),
		result("b/1", report.Fail, "padding-ignored"), result("b/2", report.Error),
		result("c/1", report.Skip), result("d/1", report.Fail, "scale-missing", "causal-missing"),
		result("e/1", report.Pass), result("f/1", report.Fail),
	}}
	for _, tc := range []struct{ name, text, want string }{
		{"nothing listed", "", `a/1  cause=causal-missing  # missing-feature, not looked at yet
b/1  cause=padding-ignored  # missing-feature, not looked at yet
b/2  # error, not looked at yet
d/1  cause=scale-missing  # missing-feature, not looked at yet
f/1  # missing-feature, not looked at yet
`},
		{"all listed, and nothing to change", `# people

a/1 # one
  b/**   #  two
# between
c/1 # three
d/1 cause=causal-missing # four
f/1 # five
# end`, `# people

a/1 # one
  b/**   #  two
# between
c/1 # three
d/1 cause=causal-missing # four
f/1 # five
# end
`},
		{"one passes, one is gone, a pattern of both", `e/1 # passes
z/9 # gone
# kept
a/* cause=causal-missing # half of it
1 # all
`, `# kept
a/1  cause=causal-missing  # half of it
b/1  # all
d/1  # all
f/1  # all
b/2  # error, not looked at yet
`},
		{"another cause", `b/1 cause=causal-missing # wrong
b/2 cause=causal-missing # a crash
a/1 # x
d/1 # x
f/1 # x
`, `b/1  cause=padding-ignored  # wrong
b/2  # a crash
a/1 # x
d/1 # x
f/1 # x
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Update(tc.text, r)
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
			again, err := Update(got, r)
			require.NoError(t, err)
			require.Equal(t, got, again, "a list that is true stays")
		})
	}
	_, err := Update("a/1\n", r)
	require.ErrorContains(t, err, "line 1: a/1: no reason")
}

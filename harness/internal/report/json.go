package report

import (
	"encoding/json"
	"io"
	"math"
	"strconv"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/compare"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/pattern"
	"github.com/difftest/difftest/harness/internal/replay"
)

// JSON writes a report for programs, in version 1: fields may be added, and none changes its
// meaning. NaN and infinities are the strings "NaN", "+Inf" and "-Inf".
func JSON(w io.Writer, r *Report) error {
	out := jsonReport{
		Version: 1, Tool: r.Tool, Subject: r.Subject, Precision: r.Precision, Suite: r.Suite, SuiteHash: r.SuiteHash,
		Shard:    r.Shard,
		Selected: max(r.Selected, len(r.Results)), Interrupted: r.Interrupted, Failure: r.Failure, Duration: durationJSON(r),
		Causes:  make([]jsonCause, 0, len(r.Causes)),
		Shared:  make([]jsonShared, 0, len(r.Shared)),
		Results: make([]jsonResult, 0, len(r.Results)),
		Broken:  make([]jsonBroken, 0, len(r.Broken)),
		Summary: jsonSummary{
			Pass: r.Count(Pass), Fail: r.Count(Fail), Error: r.Count(Error),
			Skip: r.Count(Skip), Known: r.Count(Known), Broken: len(r.Broken),
		},
	}
	for _, c := range r.Causes {
		out.Causes = append(out.Causes, causeJSON(c))
	}
	for _, s := range r.Shared {
		out.Shared = append(out.Shared, sharedJSON(s))
	}
	full := inDetail(r)
	for _, result := range r.Results {
		one := toJSON(result)
		if one.Pattern != nil && len(r.Results) > 1 && !full[result.Case] {
			none := [][][]number{}
			one.Pattern.Recovered, one.Pattern.Expected, one.Pattern.Uncertainty = none, none, none
		}
		out.Results = append(out.Results, one)
	}
	for _, b := range r.Broken {
		out.Broken = append(out.Broken, jsonBroken{b.Case, b.Err})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

func causeJSON(c Cause) jsonCause {
	return jsonCause{
		ID: c.ID, Title: c.Title, Fix: c.Fix, Live: c.Live,
		Failures: orEmpty(c.Failures), Contradictions: orEmpty(c.Contradictions), Passes: c.Passes,
		Otherwise: orEmpty(c.Otherwise), Only: c.Only, Symptom: c.Symptom,
		Alternatives: orEmpty(c.Alternatives), RuledOut: ruledOutJSON(c.RuledOut),
	}
}

type jsonReport struct {
	Version   int    `json:"version"`
	Tool      string `json:"tool,omitempty"`
	Subject   string `json:"subject"`
	Precision string `json:"precision,omitempty"` // declared; else float32
	Suite     string `json:"suite"`
	SuiteHash string `json:"suite_hash,omitempty"` // SHA-256 of the descriptions of all cases

	Shard       string        `json:"shard,omitempty"` // "2/3": the part of a run that this is
	Selected    int           `json:"selected"`        // cases that the run was about
	Interrupted bool          `json:"interrupted"`     // the causes are missing then
	Failure     *Failure      `json:"failure,omitempty"`
	Duration    *jsonDuration `json:"duration,omitempty"`

	Causes  []jsonCause  `json:"causes"`
	Shared  []jsonShared `json:"shared"`
	Results []jsonResult `json:"results"`
	Broken  []jsonBroken `json:"broken"`
	Summary jsonSummary  `json:"summary"`
}

// jsonDuration is all that differs between two runs of the same program.
type jsonDuration struct {
	Seconds float64            `json:"seconds"`
	Cases   map[string]float64 `json:"cases"` // the first answer of the subject
}

func durationJSON(r *Report) *jsonDuration {
	if r.Took == 0 {
		return nil
	}
	out := &jsonDuration{r.Took.Seconds(), map[string]float64{}}
	for _, result := range r.Results {
		if result.Took > 0 {
			out.Cases[result.Case] = result.Took.Seconds()
		}
	}
	return out
}

type jsonCause struct {
	ID             string   `json:"id"`
	Title          string   `json:"title"`
	Fix            string   `json:"fix"`
	Live           bool     `json:"live"` // running the subject again showed it
	Failures       []string `json:"failures"`
	Contradictions []string `json:"contradictions"`
	Passes         int      `json:"passes"`
	Alternatives   []string `json:"alternatives"`
	Otherwise      []string `json:"otherwise"` // failing in another way
	Only           string   `json:"only"`      // what the failures have, and no contradiction
	Symptom        bool     `json:"symptom"`   // tells where or how, and names no mistake

	RuledOut []jsonRuledOut `json:"ruled_out"`
}

// jsonShared lists features that some failing cases share, and no pass or few.
type jsonShared struct {
	Among    Among         `json:"among"`
	Cases    []string      `json:"cases"`
	Passes   int           `json:"passes"`
	Features []jsonFeature `json:"features"`
	More     int           `json:"more"` // features that tell the same cases apart
	Text     []string      `json:"text"`
}

type jsonFeature struct {
	ID      string `json:"id"`
	Title   string `json:"title"`
	Lacking bool   `json:"lacking"` // the cases lack it
	Passes  int    `json:"passes"`  // passes that are like the cases
	Instead string `json:"instead"` // what the passes have
}

func sharedJSON(s Shared) jsonShared {
	out := jsonShared{
		Among: s.Among, Cases: orEmpty(s.Cases), Passes: s.Passes, Features: []jsonFeature{}, More: s.More,
		Text: orEmpty(s.Sentences()),
	}
	for _, f := range s.Features {
		out.Features = append(out.Features, jsonFeature(f))
	}
	return out
}

type jsonRuledOut struct {
	ID string `json:"id"`
	By string `json:"by"`
}

func ruledOutJSON(list []RuledOut) []jsonRuledOut {
	out := []jsonRuledOut{}
	for _, one := range list {
		out = append(out, jsonRuledOut(one))
	}
	return out
}

type jsonBroken struct {
	Case  string `json:"case"`
	Error string `json:"error"`
}

type jsonSummary struct {
	Pass   int `json:"pass"`
	Fail   int `json:"fail"`
	Error  int `json:"error"`
	Skip   int `json:"skip"`
	Known  int `json:"known"`
	Broken int `json:"broken"`
}

type jsonResult struct {
	Case        string          `json:"case"`
	Purpose     string          `json:"purpose"`
	Verdict     Verdict         `json:"verdict"`
	Class       diagnose.Class  `json:"class,omitempty"`
	Reasons     []string        `json:"reasons"`
	Comparison  *jsonComparison `json:"comparison,omitempty"`
	PyTorch     *jsonNoise      `json:"pytorch,omitempty"`
	Structure   *jsonStructure  `json:"structure,omitempty"`
	Matches     []jsonMatch     `json:"matches"`
	Numbers     []jsonNumber    `json:"numbers,omitempty"`
	Joint       []jsonJoint     `json:"joint,omitempty"`
	Orders      []jsonOrder     `json:"orders,omitempty"`
	Unwritten   *jsonUnwritten  `json:"unwritten,omitempty"`
	Fits        []jsonFit       `json:"fits,omitempty"`
	Pattern     *jsonPattern    `json:"pattern,omitempty"`
	Stage       pattern.Stage   `json:"stage,omitempty"`
	Trace       *jsonTrace      `json:"trace,omitempty"`
	Bands       []jsonBand      `json:"bands"`
	RuledOut    []jsonRuledOut  `json:"ruled_out"` // matches that other cases rule out
	Unexplained bool            `json:"unexplained"`
	Parameters  []jsonParameter `json:"parameters,omitempty"`
	Findings    []string        `json:"findings"`
	Probes      []jsonProbe     `json:"probes"`
	Proven      []string        `json:"proven"` // titles of what was demonstrated
	Error       string          `json:"error,omitempty"`
	SkipReason  string          `json:"skip_reason,omitempty"`
	Known       string          `json:"known,omitempty"`
	Rerun       string          `json:"rerun,omitempty"`
}

// jsonParameter is a parameter of a failing case that the subject gives back after the load.
type jsonParameter struct {
	Key      string `json:"key"`
	Shape    []int  `json:"shape"`
	ReadBack string `json:"read_back"` // "unchanged", or the difference
}

// jsonOrder is an expression of PyTorch that turns the output into the expected one.
type jsonOrder struct {
	Expression string `json:"expression"`
	Residual   number `json:"residual"`
	MaxZ       number `json:"max_z"`
}

type jsonUnwritten struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Fix   string `json:"fix"`
}

type jsonProbe struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Text  string `json:"text"`
}

type jsonNoise struct {
	MaxZ number `json:"max_z"`
	RMSZ number `json:"rms_z"`
}

type jsonComparison struct {
	GotShape  []int         `json:"got_shape"`
	WantShape []int         `json:"want_shape"`
	Elements  int           `json:"elements"`
	Padded    int           `json:"padded_rows,omitempty"` // not judged
	Outside   int           `json:"outside"`
	NonFinite int           `json:"non_finite"`
	MaxZ      number        `json:"max_z"`
	RMSZ      number        `json:"rms_z"`
	Rel       number        `json:"rel"`
	Gain      number        `json:"gain"`
	Cosine    number        `json:"cosine"`
	Noise     string        `json:"noise"` // computed by the oracle, or measured by PyTorch
	Worst     *jsonElement  `json:"worst,omitempty"`
	First     []jsonElement `json:"first"`
}

type jsonElement struct {
	Index   []int  `json:"index"`
	Got     number `json:"got"`
	Want    number `json:"want"`
	Allowed number `json:"allowed"`
	Z       number `json:"z"`
}

type jsonStructure struct {
	Rows          []string `json:"rows"`
	WrongBatches  []int    `json:"wrong_batches"`
	WrongRows     []int    `json:"wrong_rows"`
	WrongFeatures []int    `json:"wrong_features"`
	FirstRowExact bool     `json:"first_row_exact"`
	LastRowExact  bool     `json:"last_row_exact"`
}

type jsonMatch struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Fixes    []string `json:"fixes"`
	Residual number   `json:"residual"`
	MaxZ     number   `json:"max_z"`
	Margin   number   `json:"margin"`
}

// jsonNumber is a number of the configuration that gives the output with another value.
type jsonNumber struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Fix      string   `json:"fix"`
	Where    string   `json:"where,omitempty"` // path of the only modules of a graph that have it
	With     []string `json:"with,omitempty"`  // mistakes that are made besides
	Value    number   `json:"value"`           // in the output
	Case     number   `json:"case"`            // in the case
	Least    number   `json:"least"`           // the values from least to most explain the output
	Most     number   `json:"most"`
	Residual number   `json:"residual"`
	MaxZ     number   `json:"max_z"`

	Beside *jsonBeside `json:"beside,omitempty"`
}

// jsonBeside is another number that is wrong as well.
type jsonBeside struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Fix   string `json:"fix"`
	Value number `json:"value"` // in the output
	Case  number `json:"case"`  // in the case
	Least number `json:"least"` // the values from least to most explain the output
	Most  number `json:"most"`
}

// jsonJoint is an explanation by several parts at once. Other cases show one part alone.
type jsonJoint struct {
	ID       string            `json:"id"`
	Title    string            `json:"title"`
	Fixes    []string          `json:"fixes"`
	Values   map[string]number `json:"values"` // of the numbers, in the output
	Residual number            `json:"residual"`
	MaxZ     number            `json:"max_z"`
}

func jointJSON(j Joint) jsonJoint {
	out := jsonJoint{
		ID: j.ID(), Title: j.Title(), Fixes: j.Fixes(), Values: map[string]number{},
		Residual: number(j.Residual), MaxZ: number(j.MaxZ),
	}
	for id, v := range j.Values() {
		out.Values[id] = number(v)
	}
	return out
}

// jsonFit is a question: could other values of these parameters give the output?
type jsonFit struct {
	Freed      string   `json:"freed"`
	Parameters []string `json:"parameters"`
	Explains   bool     `json:"explains"`
	Confusable bool     `json:"confusable,omitempty"`
	Residual   number   `json:"residual"`
	MaxZ       number   `json:"max_z"`
	Refused    string   `json:"refused,omitempty"`
	Detail     string   `json:"detail,omitempty"`
}

// jsonPattern holds weights by head over the whole batch, query and key. They are empty but for the
// first failure of each cause.
type jsonPattern struct {
	HeadsPerBatch int          `json:"heads_per_batch"`
	Recovered     [][][]number `json:"recovered"`
	Expected      [][][]number `json:"expected"`
	Uncertainty   [][][]number `json:"uncertainty"`
	Findings      []string     `json:"findings"`
}

type jsonBand struct {
	ID     string    `json:"id"`
	Rel    [2]number `json:"rel"`
	Gain   [2]number `json:"gain"`
	Cosine [2]number `json:"cosine"`
}

// number writes what JSON has no word for as a string.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if v := float64(n); math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte(strconv.Quote(strconv.FormatFloat(v, 'g', -1, 64))), nil
	}
	return json.Marshal(float64(n))
}

func toJSON(r Result) jsonResult {
	d := r.Diagnosis
	out := jsonResult{
		Case: r.Case, Purpose: r.Purpose, Verdict: r.Verdict, Class: d.Class, Reasons: orEmpty(d.Reasons),
		Matches: []jsonMatch{}, Bands: []jsonBand{}, RuledOut: ruledOutJSON(r.RuledOut), Unexplained: d.Unexplained,
		Findings: orEmpty(r.Findings), Probes: []jsonProbe{}, Proven: orEmpty(r.ProvenTitles()),
		Error: r.Err, Known: r.Known, Rerun: r.Rerun,
	}
	if r.Verdict == Skip {
		out.SkipReason = r.Err
	}
	if r.Comparison.WantShape != nil {
		out.Comparison = comparisonJSON(r.Comparison)
		out.PyTorch = &jsonNoise{number(r.PyTorch.MaxZ), number(r.PyTorch.RMSZ)}
	}
	if s := d.Structure; s.Wrong != nil {
		out.Structure = &jsonStructure{
			Rows: rowsOf(s), WrongBatches: s.WrongBatches, WrongRows: s.WrongRows, WrongFeatures: s.WrongFeatures,
			FirstRowExact: s.FirstRowExact, LastRowExact: s.LastRowExact,
		}
	}
	for _, m := range d.Matches {
		out.Matches = append(out.Matches, matchJSON(m))
	}
	for _, p := range r.Probes {
		out.Probes = append(out.Probes, jsonProbe(p))
	}
	for _, p := range r.Parameters {
		if p.ReadBack != "" {
			out.Parameters = append(out.Parameters, jsonParameter{p.Key, orEmpty(p.Shape), p.ReadBack})
		}
	}
	out.Stage, out.Trace = d.Stage, traceJSON(r.Trace)
	for _, n := range d.Numbers {
		out.Numbers = append(out.Numbers, numberJSON(n))
	}
	for _, j := range r.Joint {
		out.Joint = append(out.Joint, jointJSON(j))
	}
	for _, o := range d.Orders {
		out.Orders = append(out.Orders, jsonOrder{o.String(), number(o.Residual), number(o.MaxZ)})
	}
	if u := d.Unwritten; u != nil {
		out.Unwritten = &jsonUnwritten{u.ID, u.Title, u.Fix}
	}
	for _, f := range d.Fits {
		out.Fits = append(out.Fits, jsonFit{
			Freed: f.Freed, Parameters: orEmpty(f.Parameters), Explains: f.Explains(), Confusable: f.Confusable,
			Residual: number(f.Residual), MaxZ: number(f.MaxZ), Refused: f.Refused, Detail: f.Detail,
		})
	}
	if p := d.Pattern; p != nil {
		out.Pattern = &jsonPattern{
			HeadsPerBatch: p.PerBatch, Recovered: heads(p, p.Recovered), Expected: heads(p, p.Expected),
			Uncertainty: heads(p, p.Uncertainty), Findings: orEmpty(p.Findings),
		}
	}
	for _, b := range d.Bands {
		out.Bands = append(out.Bands, jsonBand{b.Mistake.ID, pair(b.Rel), pair(b.Gain), pair(b.Cosine)})
	}
	return out
}

func matchJSON(m replay.Match) jsonMatch {
	return jsonMatch{
		ID: m.ID(), Title: m.Title(), Fixes: m.Fixes(),
		Residual: number(m.Residual), MaxZ: number(m.MaxZ), Margin: number(m.Margin),
	}
}

func numberJSON(n replay.NumberMatch) jsonNumber {
	out := jsonNumber{
		ID: n.Number.ID, Title: n.Number.Title, Fix: n.Number.Fix, Where: n.Where, With: catalogue.IDs(n.With),
		Value: number(n.Value), Case: number(n.Right),
		Least: number(n.Least), Most: number(n.Most), Residual: number(n.Residual), MaxZ: number(n.MaxZ),
	}
	if b := n.Beside; b != nil {
		out.Beside = &jsonBeside{
			ID: b.Number.ID, Title: b.Number.Title, Fix: b.Number.Fix, Value: number(b.Value), Case: number(b.Right),
			Least: number(b.Least), Most: number(b.Most),
		}
	}
	return out
}

// heads are weights by head, query and key.
func heads(p *pattern.Pattern, weights []float64) [][][]number {
	all := make([][][]number, p.Heads)
	for n := range all {
		all[n] = make([][]number, p.Queries)
		for i := range all[n] {
			for _, w := range weights[(n*p.Queries+i)*p.Keys:][:p.Keys] {
				all[n][i] = append(all[n][i], number(w))
			}
		}
	}
	return all
}

func comparisonJSON(c compare.Comparison) *jsonComparison {
	out := &jsonComparison{
		GotShape: orEmpty(c.GotShape), WantShape: orEmpty(c.WantShape), Elements: c.Elements, Padded: c.Padded,
		Outside: c.Outside, NonFinite: c.NonFinite, MaxZ: number(c.MaxZ), RMSZ: number(c.RMSZ),
		Rel: number(c.Rel), Gain: number(c.Gain), Cosine: number(c.Cosine), Noise: "computed", First: []jsonElement{},
	}
	if c.Measured {
		out.Noise = "measured"
	}
	if c.SameShape() {
		worst := elementJSON(c.Worst)
		out.Worst = &worst
	}
	for _, e := range c.First {
		out.First = append(out.First, elementJSON(e))
	}
	return out
}

func elementJSON(e compare.Element) jsonElement {
	return jsonElement{e.Index, number(e.Got), number(e.Want), number(e.Allowed), number(e.Z)}
}

func rowsOf(s diagnose.Structure) []string {
	rows := make([]string, len(s.Wrong))
	for g := range s.Wrong {
		rows[g] = s.Row(g)
	}
	return rows
}

func pair(r replay.Range) [2]number { return [2]number{number(r.Min), number(r.Max)} }

// orEmpty keeps a missing list from becoming null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

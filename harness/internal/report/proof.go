package report

import "slices"

// Proof is something that running the subject again, or reading its parameters back, demonstrated.
// IDs are compared; titles are for people.
type Proof struct {
	ID    string
	Title string // a few words, printed beside the class
}

// What the load of a state dict can be proved to have done.
var (
	LoadNoEffect    = Proof{"load-no-effect", "the load had no effect"}
	OtherParameters = Proof{"other-parameters", "it holds other parameters than were loaded"}
)

// AnotherCase is the id of the proof that an output is the expected one of another case.
const AnotherCase = "another-case"

// Proves reports whether the result has a proof of that id.
func (r Result) Proves(id string) bool {
	return slices.ContainsFunc(r.Proven, func(p Proof) bool { return p.ID == id })
}

// ProvenTitles returns what was proved, a few words each.
func (r Result) ProvenTitles() []string {
	var titles []string
	for _, p := range r.Proven {
		titles = append(titles, p.Title)
	}
	return titles
}

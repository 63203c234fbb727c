package harness

import (
	"cmp"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/fresh"
	"github.com/difftest/difftest/harness/internal/fuzz"
)

// FuzzOptions say how long [Fuzz] draws cases.
type FuzzOptions struct {
	// Seed decides which cases are drawn.
	Seed uint64
	// Count is how many cases are drawn; 0 draws 500, or as many as fit into For.
	Count int
	// For bounds the time of the draws; 0 is no bound. The search for causes takes longer.
	For time.Duration
	// Corpus is a folder for the smallest failing cases. They run first the next time, and [Run]
	// takes the folder as a suite. "" keeps none.
	Corpus string
	// Case is the name of a case in Suite, a module that was captured with --vary batch,tokens. Its
	// inputs are drawn in other shapes. "" draws cases of attention.
	Case  string
	Suite fs.FS
	// Timeout is how long a [Subject] may take for a case; 0 is 10 seconds. One that takes longer
	// fails the case, and its goroutine goes on. A [Command] has a timeout of its own.
	Timeout time.Duration
}

// Fuzz draws cases among what an implementation offers, most of them at edges: shapes of 1, powers
// of two and their neighbours, long caches, windows that do not divide. Each cause of failures
// becomes one error of t. It holds the smallest failing case and the condition under which cases
// fail. The truth comes from difftest's oracle, not from PyTorch.
//
// A [Subject] gets one case after the other. A panic or a hang is a failure of its case. The seed
// and the number of draws decide the result.
func Fuzz(t *testing.T, r Runner, o FuzzOptions) {
	t.Helper()
	if o.Count == 0 && o.For == 0 {
		o.Count = 500
	}
	model, err := o.model()
	if err != nil {
		t.Fatal(err)
	}
	running, end, err := r.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, inProcess := r.(Subject); inProcess {
		running = fuzz.Patient{Runner: running, Timeout: cmp.Or(o.Timeout, 10*time.Second)}
	}
	result, err := fuzz.Run(t.Context(), running, fuzz.Options{
		Seed: o.Seed, Count: o.Count, For: o.For, Corpus: o.Corpus, Model: model,
	})
	if endErr := end(); err == nil {
		err = endErr
	}
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	rerun := func(string) string { return "" }
	if o.Corpus != "" {
		rerun = func(string) string { return "go test -run '" + runPattern(t.Name()) + "'" }
	}
	_ = fuzz.Text(&b, result, rerun) // a Builder returns no error
	switch text := strings.TrimRight(b.String(), "\n"); {
	case result.Failed > 0:
		t.Error(text)
	case result.Passed == 0:
		t.Error(text + ": nothing was tested")
	default:
		t.Log(text)
	}
}

// model returns the module of the case, nil if there is no case.
func (o FuzzOptions) model() (*fresh.Model, error) {
	if o.Case == "" {
		return nil, nil
	}
	if o.Suite == nil {
		return nil, errors.New("FuzzOptions.Case: want a Suite that holds it")
	}
	c, err := fixture.Read(o.Suite, o.Case)
	if err != nil {
		return nil, err
	}
	return fresh.NewModel(c)
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memory bounds a mutant that allocates without end, in KiB.
const memory = 8 << 20

// trial runs the tests of one package. Go's overlay holds mutants, so no file of the tree changes.
type trial struct {
	*code
	folder string // scratch
	slow   string // tests that run last; "" for none
	late   int    // mutants that slow tests alone see
	limit  time.Duration
	never  []block
}

// block is a stretch of code that the tests never ran.
type block struct {
	file         string
	line, toLine int
}

// newTrial runs the tests once as they are. They must pass.
func newTrial(c *code, folder, slow string) (*trial, error) {
	t := &trial{code: c, folder: folder, slow: slow, limit: 10 * time.Minute}
	profile := filepath.Join(folder, "cover")
	tests := exec.Command("go", "test", "-coverprofile", profile, c.ImportPath)
	if out, err := tests.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the tests fail before any change:\n%s", out)
	}
	if err := t.readProfile(profile); err != nil {
		return nil, err
	}
	return t, nil
}

// readProfile keeps the blocks of a coverage profile that no test reached.
func (t *trial) readProfile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		var b block
		var column, statements, count int
		n, _ := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &b.line, &column, &b.toLine, &column, &statements, &count)
		if n == 6 && count == 0 {
			b.file = filepath.Join(t.Dir, filepath.Base(name))
			t.never = append(t.never, b)
		}
	}
	return nil
}

// reached reports whether a test runs the code of a mutant.
func (t *trial) reached(m mutant) bool {
	for _, b := range t.never {
		if b.file == m.file && b.line < m.line && m.line < b.toLine {
			return false
		}
	}
	return true
}

// run runs the tests on mutants, and calls alive with each that passes.
func (t *trial) run(chosen []mutant, alive func(m mutant)) error {
	var alone []mutant
	together := newSchemata(t.code)
	for _, m := range chosen {
		switch {
		case !t.reached(m):
			alive(m)
		case !together.add(m):
			alone = append(alone, m)
		}
	}
	if err := t.build(together.overlay()); err != nil {
		return err
	}
	begin := time.Now()
	if !t.pass(0) {
		return errors.New("the tests fail beside mutants that are switched off")
	}
	t.limit = 5*time.Since(begin) + 10*time.Second
	for i, m := range together.added {
		if t.pass(i + 1) {
			alive(m)
		}
	}
	for _, m := range alone {
		if err := t.build(map[string]string{m.file: string(m.apply(t.sources[m.file]))}); err == nil && t.pass(0) {
			alive(m)
		}
	}
	return nil
}

// build compiles the tests with other texts for some files.
func (t *trial) build(texts map[string]string) error {
	replace := map[string]string{}
	for path, text := range texts {
		replace[path] = filepath.Join(t.folder, filepath.Base(path))
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			return err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	path := filepath.Join(t.folder, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		return err
	}
	out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", path, "-o", t.binary(), t.ImportPath).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w:\n%s", err, out)
	}
	return nil
}

func (t *trial) binary() string { return filepath.Join(t.folder, "tests") }

// pass reports whether the tests pass with one mutant on, or none for 0: first the quick ones.
func (t *trial) pass(on int) bool {
	if !t.passes(on, "-test.skip", t.slow) {
		return false
	}
	if t.slow == "" || t.passes(on, "-test.run", t.slow) {
		return true
	}
	t.late++
	return false
}

// passes reports whether some tests pass within the limits of time and memory.
func (t *trial) passes(on int, which, tests string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), t.limit)
	defer cancel()
	script := fmt.Sprintf(`ulimit -v %d; exec "$0" -test.failfast "$1" "$2"`, memory)
	command := exec.CommandContext(ctx, "bash", "-c", script, t.binary(), which, tests)
	command.Dir = t.Dir
	command.Env = append(os.Environ(), variable+"="+strconv.Itoa(on))
	command.WaitDelay = time.Second
	return command.Run() == nil
}

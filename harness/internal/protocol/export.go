package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/difftest/difftest/harness/internal/fixture"
)

// Export writes the requests of cases into a folder, which it makes: mha/causal/request.json and
// its arrays beside it. An implementation writes its answer there, as mha/causal/output.npy.
//
// Export overwrites nothing. An earlier export of the same suite, also one that was killed, is
// completed, and its answers stay. If the folder holds any other file, or a request that differs
// from the suite's, Export fails with [fs.ErrExist] before it writes anything. It also fails on a
// broken case.
func Export(suite fs.FS, dir string, cases ...string) error {
	names, err := fixture.Names(suite)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	present, err := inspect(dir, names)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range cases {
		c, err := fixture.Read(suite, name)
		if err == nil {
			err = agrees(dir, c, present)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, name := range cases {
		c, err := fixture.Read(suite, name)
		if err == nil {
			err = writeCase(dir, c)
		}
		if err != nil { // the disk may be full
			return err
		}
	}
	return nil
}

// inspect lists the questions that a folder holds already. It fails on any file that is neither a
// question nor an answer, and on links, which could lead anywhere.
func inspect(dir string, cases []string) ([]string, error) {
	var present []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		whole, isPartial := strings.CutSuffix(file, partial)
		belonging := Place(whole, cases)
		switch {
		case !d.Type().IsRegular() || belonging < Question || isPartial && belonging != Question:
			return refusal(dir, file, "does not belong to an export of this suite")
		case isPartial: // left by an export that was killed; the next one replaces it
		case belonging == Question:
			present = append(present, file)
		}
		return nil
	})
	return present, err
}

// agrees fails if a question that is present differs from the one that Export would write.
func agrees(dir string, c *fixture.Case, present []string) error {
	_, files, err := texts(c)
	if err != nil {
		return err
	}
	for _, file := range present {
		if Place(file, []string{c.Name}) != Question {
			continue
		}
		was, err := fixture.ReadFile(os.DirFS(dir), file)
		if err != nil {
			return err
		}
		if want, ok := files[strings.TrimPrefix(file, c.Name+"/")]; !ok || !bytes.Equal(was, want) {
			return refusal(dir, file, "is not what this suite would write there")
		}
	}
	return nil
}

func refusal(dir, file, why string) error {
	return fmt.Errorf("%s: %s: export into another folder, or remove this one: %w",
		path.Join(filepath.ToSlash(dir), file), why, fs.ErrExist)
}

func writeCase(dir string, c *fixture.Case) error {
	folder := filepath.Join(dir, filepath.FromSlash(c.Name))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	_, err := Write(folder, c)
	return err
}

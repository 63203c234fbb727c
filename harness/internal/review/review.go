package review

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"

	"github.com/difftest/difftest/harness/internal/fixture"
)

// Suite is a folder of cases and the name that errors give it.
type Suite struct {
	Name string
	FS   fs.FS
}

// Kind classifies the change of a file.
type Kind string

// The kinds, worst first. Only Rounding and Identical may come from another PyTorch.
const (
	Changed   Kind = "changed" // in shape, dtype or a field of case.json
	Moved     Kind = "moved"   // by more than rounding
	Gone      Kind = "gone"
	New       Kind = "new"
	Rounding  Kind = "rounding"
	Identical Kind = "identical"
)

// Kinds are all kinds, worst first.
var Kinds = []Kind{Changed, Moved, Gone, New, Rounding, Identical}

// File is the change of one file.
type File struct {
	Path   string
	Kind   Kind
	Detail string  // how far it moved, or what changed
	Excess float64 // how far it moved, as a multiple of the limit; 0 if nothing moved
}

// Review lists every file of the cases in either of two suites, the worst change first.
type Review struct{ Files []File }

// OK reports whether nothing moved by more than rounding.
func (r *Review) OK() bool {
	return r.Count(Rounding)+r.Count(Identical) == len(r.Files)
}

// Count returns how many files are of a kind.
func (r *Review) Count(k Kind) int {
	n := 0
	for _, f := range r.Files {
		if f.Kind == k {
			n++
		}
	}
	return n
}

// Suites compares two suites file by file. Files outside the folders of the cases are left out,
// except .npy files. The error names every file that cannot be read, and the review holds the
// others. There is no review if a suite has no case.
func Suites(before, after Suite) (*Review, error) {
	r := reviewer{before: before, after: after}
	files, err := r.files()
	if err != nil {
		return nil, err
	}
	review := &Review{}
	var errs []error
	for _, file := range files {
		f, err := r.file(file)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		review.Files = append(review.Files, f)
	}
	slices.SortStableFunc(review.Files, func(a, b File) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Kinds, a.Kind), slices.Index(Kinds, b.Kind)),
			cmp.Compare(b.Excess, a.Excess))
	})
	return review, errors.Join(errs...)
}

// reviewer compares two suites.
type reviewer struct {
	before, after Suite
	oldCases      []string
}

const manifestName = "case.json"

// files lists the files of both suites to compare, sorted: every .npy file, and every other file
// below a folder with a case.json.
func (r *reviewer) files() ([]string, error) {
	oldCases, olds, err := r.before.list()
	if err != nil {
		return nil, err
	}
	newCases, news, err := r.after.list()
	if err != nil {
		return nil, err
	}
	r.oldCases = oldCases
	cases := slices.Concat(oldCases, newCases)
	files := slices.DeleteFunc(slices.Concat(olds, news), func(file string) bool {
		return path.Ext(file) != ".npy" && holder(file, cases) == ""
	})
	slices.Sort(files)
	return slices.Compact(files), nil
}

// list names the cases and the files of a suite that has at least one case.
func (s Suite) list() (cases, files []string, err error) {
	// Other errors of Names show up file by file.
	cases, err = fixture.Names(s.FS)
	if len(cases) == 0 {
		return nil, nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	err = fs.WalkDir(s.FS, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return s.fail(file, err)
		}
		if !d.IsDir() {
			files = append(files, file)
		}
		return nil
	})
	return cases, files, err
}

// holder returns the innermost case that holds a file; "" if none does.
func holder(file string, cases []string) string {
	for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
		if slices.Contains(cases, dir) {
			return dir
		}
	}
	if slices.Contains(cases, ".") {
		return "."
	}
	return ""
}

// file compares one file.
func (r *reviewer) file(file string) (File, error) {
	before, errBefore := r.before.read(file)
	after, errAfter := r.after.read(file)
	switch {
	case errors.Is(errBefore, fs.ErrNotExist):
		return File{Path: file, Kind: New}, errAfter
	case errors.Is(errAfter, fs.ErrNotExist):
		return File{Path: file, Kind: Gone}, errBefore
	case errBefore != nil || errAfter != nil:
		return File{}, errors.Join(errBefore, errAfter)
	case bytes.Equal(before, after):
		return File{Path: file, Kind: Identical}, nil
	case path.Base(file) == manifestName:
		return r.fields(file, before, after)
	case path.Ext(file) == ".npy":
		return r.array(file, before, after)
	}
	return File{Path: file, Kind: Moved, Detail: "other bytes", Excess: math.Inf(1)}, nil
}

// read reads a regular file of a suite. Anything else, such as a pipe, is refused: it could block
// for ever.
func (s Suite) read(file string) ([]byte, error) {
	info, err := fs.Stat(s.FS, file)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, s.fail(file, err)
	}
	f, err := s.FS.Open(file)
	if err != nil {
		return nil, s.fail(file, err)
	}
	defer f.Close()
	data, err := fixture.ReadAll(f)
	if err != nil {
		return nil, s.fail(file, err)
	}
	return data, nil
}

// fail puts the path of a file before an error, in place of the path in the system's own error.
func (s Suite) fail(file string, err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	return fmt.Errorf("%s: %w", path.Join(s.Name, file), err)
}

package review

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

// fields compares two versions of a case.json, field by field.
func (r *reviewer) fields(file string, before, after []byte) (File, error) {
	olds, err := flatten(before)
	if err != nil {
		return File{}, r.before.fail(file, err)
	}
	news, err := flatten(after)
	if err != nil {
		return File{}, r.after.fail(file, err)
	}
	var moved, origin []string
	both := maps.Clone(olds)
	maps.Copy(both, news)
	for _, name := range slices.Sorted(maps.Keys(both)) {
		switch {
		case reflect.DeepEqual(olds[name], news[name]):
		case describesOrigin(name):
			origin = append(origin, name)
		default:
			moved = append(moved, name)
		}
	}
	f := File{Path: file, Kind: Rounding, Detail: strings.Join(slices.Concat(moved, origin), ", ")}
	switch {
	case len(moved) > 0:
		f.Kind, f.Excess = Changed, math.Inf(1)
	case len(origin) == 0:
		f.Detail = "only the layout of the text"
	}
	return f, nil
}

// describesOrigin reports whether a field only records how the files were made.
func describesOrigin(field string) bool {
	return strings.HasPrefix(field, "provenance.") ||
		strings.HasPrefix(field, "files.") && strings.HasSuffix(field, ".sha256")
}

// flatten returns the leaves of nested objects by their dotted name. A list is a leaf.
func flatten(data []byte) (map[string]any, error) {
	var root map[string]any
	if err := json.Unmarshal(data, &root); err != nil {
		return nil, err
	}
	leaves := map[string]any{}
	var walk func(name string, value any)
	walk = func(name string, value any) {
		object, nested := value.(map[string]any)
		if !nested || len(object) == 0 {
			leaves[name] = value
		}
		for key, inner := range object {
			walk(name+"."+key, inner)
		}
	}
	for key, value := range root {
		walk(key, value)
	}
	return leaves, nil
}

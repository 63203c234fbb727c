package review

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

// roles holds the fields of a case.json that give files a role.
type roles struct {
	name      string
	Inputs    map[string]string `json:"inputs"`
	StateDict map[string]string `json:"state_dict"`
	Expected  map[string]string `json:"expected"`
}

// roles reads the old case.json of the case that holds a file. Without one no file has a role.
func (r *reviewer) roles(file string) (roles, error) {
	c := roles{name: holder(file, r.oldCases)}
	if c.name == "" {
		return c, nil
	}
	manifest := path.Join(c.name, manifestName)
	data, err := r.before.read(manifest)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, r.before.fail(manifest, err)
	}
	return c, nil
}

// of returns the role of a file among the expected ones; "" for an input, a parameter and a file
// without a role.
func (c roles) of(file string) string {
	inner := strings.TrimPrefix(file, c.name+"/")
	for _, exact := range []map[string]string{c.Inputs, c.StateDict} {
		if slices.Contains(slices.Collect(maps.Values(exact)), inner) {
			return ""
		}
	}
	for _, role := range slices.Sorted(maps.Keys(c.Expected)) {
		if c.Expected[role] == inner {
			return role
		}
	}
	return ""
}

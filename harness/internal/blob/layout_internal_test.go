package blob

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
)

// Fields that are not exported are not stored. The two of results are no loss: sites tells the
// diagnosis of a graph where to look, and free is stored as the names of projections.
func TestNothingOfAResultIsLost(t *testing.T) {
	var hidden []string
	var walk func(t reflect.Type, seen map[reflect.Type]bool)
	walk = func(t reflect.Type, seen map[reflect.Type]bool) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array:
			walk(t.Elem(), seen)
		case reflect.Map, reflect.Interface, reflect.Func, reflect.Chan:
			hidden = append(hidden, t.String())
		case reflect.Struct:
			catalogued := t == reflect.TypeFor[catalogue.Mistake]() || t == reflect.TypeFor[catalogue.Number]()
			if seen[t] || catalogued {
				return
			}
			seen[t] = true
			for i := range t.NumField() {
				if f := t.Field(i); f.IsExported() {
					walk(f.Type, seen)
				} else {
					hidden = append(hidden, t.String()+"."+f.Name)
				}
			}
		}
	}
	walk(reflect.TypeFor[header](), map[reflect.Type]bool{})
	walk(reflect.TypeFor[entry](), map[reflect.Type]bool{})
	require.Equal(t, []string{"replay.Match.sites", "fit.Fit.free"}, hidden)
}

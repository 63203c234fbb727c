package blob

import (
	"math"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json"
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

// The sign of zero is part of a report: "got -0". NaN and infinity are, too.
func TestEveryNumberComesBack(t *testing.T) {
	for _, want := range []float64{math.Copysign(0, -1), 0, math.NaN(), math.Inf(1), math.Inf(-1), 0.1} {
		var e entry
		e.Result.Comparison.Worst.Got = want
		line, err := json.Marshal(e, writing)
		require.NoError(t, err)
		var read entry
		require.NoError(t, json.Unmarshal(line, &read, reading))
		got := read.Result.Comparison.Worst.Got
		require.Equal(t, math.Float64bits(want), math.Float64bits(got), "%v, %v", want, got)
	}
}

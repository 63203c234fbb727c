package subject

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
)

// Load is the visible effect of loading a state dict: the keys that LoadStateDict returned and, if
// the module is a [StateDicter], the parameters that it holds afterwards. The zero value is a load
// without any fault.
type Load struct {
	Wrong     []string // faults, whatever the output is
	Doubtful  []string // may be faults; a module with another parameter layout answers so, too
	Unchanged bool     // all parameters read back as before the load, and not as they were given
	Confirmed bool     // all parameters read back as they were given

	// ReadBack tells how each given parameter reads back: "unchanged", or the difference. It is nil
	// if the module gives no parameters back.
	ReadBack map[string]string

	// Held holds the parameters that were read back if they have the given names and shapes, and
	// other values; nil otherwise.
	Held attention.StateDict
}

// loader is a [Module] or a [Model].
type loader interface {
	LoadStateDict(attention.StateDict, attention.Strictness) (attention.IncompatibleKeys, error)
}

// load loads a state dict and reads it back. own is the module's copy of given. A module may keep
// its parameters in the precision that it declares.
func load(m loader, own, given attention.StateDict, kept Precision) (Load, error) {
	before, _ := held(m)
	before = clone(before) // a module may hand out the tensors that it loads into
	keys, err := m.LoadStateDict(own, attention.Strict)
	if err != nil {
		return Load{}, fmt.Errorf("load the state dict: %w", err)
	}
	l := Load{Wrong: contradicted(keys, given)}
	after, err := held(m)
	if err != nil {
		l.Wrong = append(l.Wrong, err.Error())
	}
	if len(after) > 0 {
		l.readBack(given, before, after, sameParameter[kept])
	}
	return l, nil
}

// held returns the parameters that a module says it holds; nil if it is no [StateDicter]. The error
// is a panic.
func held(m loader) (dict attention.StateDict, err error) {
	d, ok := m.(StateDicter)
	if !ok {
		return nil, nil
	}
	defer func() {
		if p := recover(); p != nil {
			dict, err = nil, fmt.Errorf("StateDict() panics after the load: %v", p)
		}
	}()
	return d.StateDict(), nil
}

// clone returns a copy of a state dict.
func clone(dict attention.StateDict) attention.StateDict {
	copies := make(attention.StateDict, len(dict))
	for key, t := range dict {
		copies[key] = t.Clone()
	}
	return copies
}

// contradicted returns a fault for each key that a strict load returns. The load was given exactly
// the keys of the layer and returned no error, so it may not return any.
func contradicted(keys attention.IncompatibleKeys, given attention.StateDict) []string {
	var wrong []string
	for _, key := range keys.Missing {
		if _, ok := given[key]; ok {
			wrong = append(wrong, fmt.Sprintf("LoadStateDict says that %s is missing, which it was given", key))
		} else {
			wrong = append(wrong, fmt.Sprintf(
				"LoadStateDict says that %s is missing, which the layer does not have, and returns no error", key))
		}
	}
	for _, key := range keys.Unexpected {
		if _, ok := given[key]; ok {
			wrong = append(wrong, fmt.Sprintf(
				"LoadStateDict did not expect %s, which the layer has, and returns no error", key))
		} else {
			wrong = append(wrong, fmt.Sprintf("LoadStateDict did not expect %s, which it was not given", key))
		}
	}
	return wrong
}

// readBack compares the parameters that were given with the ones that are held. Under the same name
// and in the same shape, the values must be equal. Other names and shapes may be another layout.
func (l *Load) readBack(given, before, after attention.StateDict, same float64) {
	unchanged, wrong := sameState(before, after), 0
	l.ReadBack = map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		got, ok := after[key]
		how := ""
		if ok {
			how = difference(key, given, before[key], got, same)
		}
		l.ReadBack[key] = cmp.Or(strings.TrimPrefix(how, "reads back "), "unchanged")
		switch {
		case !ok:
			l.ReadBack[key] = "missing"
			l.Doubtful = append(l.Doubtful, "StateDict() lacks "+key)
		case got.Check() != nil:
			l.Wrong = append(l.Wrong, fmt.Sprintf("StateDict() gives no valid %s: %v", key, got.Check()))
		case !slices.Equal(got.Shape, given[key].Shape):
			l.Doubtful = append(l.Doubtful, fmt.Sprintf("%s %s", key, how))
		case how != "":
			wrong++
			l.Wrong = append(l.Wrong, fmt.Sprintf("%s %s", key, how))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if _, ok := given[key]; !ok {
			l.Doubtful = append(l.Doubtful, "StateDict() has "+key+", which was not loaded")
		}
	}
	l.Unchanged = unchanged && wrong > 0
	l.Confirmed = len(l.Wrong)+len(l.Doubtful) == 0
	if wrong > 0 && len(l.Doubtful) == 0 && finiteState(after) {
		l.Held = clone(after)
	}
	if l.Unchanged && wrong == len(given) {
		one := func(s string) bool { return strings.HasSuffix(s, asBefore) }
		l.Wrong = append(slices.DeleteFunc(l.Wrong, one), "every parameter "+asBefore)
	}
}

const asBefore = "reads back as it was before the load"

// sameParameter is the largest relative distance at which a parameter counts as the loaded one. For
// float32 it allows scaling and scaling back; for a lower precision it is the unit roundoff.
var sameParameter = map[Precision]float64{Float32: 1e-6, Float16: 0x1p-11, BFloat16: 0x1p-8, TF32: 0x1p-11}

// difference describes how a parameter that was read back differs from the given one; "" if it does
// not. The most telling description is tried first.
func difference(key string, given attention.StateDict, before, got *attention.Tensor, same float64) string {
	want := given[key]
	if got.Check() != nil {
		return "reads back as nothing"
	}
	s := parameterStatistics(want, got)
	sameShape := slices.Equal(want.Shape, got.Shape)
	switch {
	case sameShape && s.rel <= same:
		return ""
	case before != nil && Same(before, got):
		return asBefore
	case Same(transposed(want), got):
		return "reads back transposed"
	case !sameShape:
		return fmt.Sprintf("reads back in shape %s, and was loaded in shape %s",
			attention.FormatShape(got.Shape), attention.FormatShape(want.Shape))
	case holder(key, given, got) != "":
		return "reads back with the values of " + holder(key, given, got)
	case s.gain == 0:
		return "reads back as zeros"
	case slices.Equal(slices.Sorted(slices.Values(want.Data)), slices.Sorted(slices.Values(got.Data))):
		return "reads back with its values in another order"
	case math.Abs(s.cosine) > 1-1e-10:
		return fmt.Sprintf("reads back as %.4g times itself", math.Copysign(s.gain, s.cosine))
	case s.rel <= 0x1p-7:
		return fmt.Sprintf("reads back changed a little, as rounding to a lower precision does: rel %.2g", s.rel)
	}
	return fmt.Sprintf("reads back with other values%s: rel %.2g, gain %.2g, cosine %.2g%s",
		someRows(want, got), s.rel, s.gain, s.cosine, s.random())
}

// statistics compares a parameter that was read back with the given one. rel and gain are relative
// to the given one; n is its number of elements.
type statistics struct {
	rel, gain, cosine float64
	n                 int
}

func parameterStatistics(want, got *attention.Tensor) statistics {
	if len(want.Data) != len(got.Data) {
		return statistics{rel: math.Inf(1), gain: math.NaN(), cosine: math.NaN()}
	}
	var ww, gg, wg, dd float64
	for i, w := range want.Data {
		w, g := float64(w), float64(got.Data[i])
		ww, gg, wg, dd = ww+w*w, gg+g*g, wg+w*g, dd+(w-g)*(w-g)
	}
	s := statistics{
		rel: math.Sqrt(dd / ww), gain: math.Sqrt(gg / ww), cosine: wg / math.Sqrt(ww) / math.Sqrt(gg),
		n: len(want.Data),
	}
	if dd == 0 {
		s.rel = 0
	}
	return s
}

// random returns a remark if the values resemble the loaded ones no more than random values do. The
// cosine of n random pairs has a standard deviation of 1/sqrt(n).
func (s statistics) random() string {
	const few = 50
	if s.n >= few && math.Abs(s.cosine) < 4/math.Sqrt(float64(s.n)) {
		return ", as random ones"
	}
	return ""
}

// transposed returns a matrix with its dimensions exchanged; nil if t is no matrix.
func transposed(t *attention.Tensor) *attention.Tensor {
	if len(t.Shape) != 2 {
		return nil
	}
	rows, columns := t.Shape[0], t.Shape[1]
	y := attention.NewTensor(columns, rows)
	for i, v := range t.Data {
		y.Data[i%columns*rows+i/columns] = v
	}
	return y
}

// holder names another given parameter that has the values of got; "" if none does.
func holder(key string, given attention.StateDict, got *attention.Tensor) string {
	for _, other := range slices.Sorted(maps.Keys(given)) {
		if other != key && Same(given[other], got) {
			return other
		}
	}
	return ""
}

// someRows tells which rows of a parameter differ; "" if all do.
func someRows(want, got *attention.Tensor) string {
	if len(want.Shape) == 0 || want.Shape[0] == 0 {
		return ""
	}
	rows := want.Shape[0]
	width := len(want.Data) / rows
	first, last, n := -1, -1, 0
	for r := range rows {
		if !slices.Equal(want.Data[r*width:][:width], got.Data[r*width:][:width]) {
			if first < 0 {
				first = r
			}
			last, n = r, n+1
		}
	}
	if n == rows {
		return ""
	}
	return fmt.Sprintf(" in %d of %d rows, %d to %d", n, rows, first, last)
}

func finiteState(dict attention.StateDict) bool {
	for _, t := range dict {
		if t.Check() != nil || !finite(t.Data) {
			return false
		}
	}
	return true
}

// sameState reports whether two state dicts have the same keys, shapes and bits.
func sameState(a, b attention.StateDict) bool {
	return maps.EqualFunc(a, b, Same)
}

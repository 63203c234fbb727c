package checkpoint

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/npy"
)

// Finding describes wrong values of one parameter.
type Finding struct{ Name, Text string }

// Prefix returns the prefix before every parameter of a model in the names of the file. It is empty
// if the names are the same, and "model." or "module." if a whole model was saved. found reports
// whether any prefix fits.
func (f *File) Prefix(model attention.StateDict) (prefix string, found bool) {
	names := slices.Sorted(maps.Keys(model))
	if len(names) == 0 {
		return "", false
	}
	for _, t := range f.Tensors {
		before, ok := strings.CutSuffix(t.Name, names[0])
		lacks := func(name string) bool { return f.Tensor(before+name) == nil }
		if ok && (before == "" || strings.HasSuffix(before, ".")) && !slices.ContainsFunc(names, lacks) {
			return before, true
		}
	}
	return "", false
}

// Against compares the tensors of the file, named with a prefix, with the parameters of a model. It
// tries to explain different values: another parameter, a transposed one, rows in another order,
// the bits of another type, untouched initial values. Findings are sorted by name. A missing name,
// or a wrong shape alone, is not reported: [attention.Config.CheckStateDict] does so.
func (f *File) Against(model attention.StateDict, prefix string) ([]Finding, error) {
	a := against{model: model, values: map[string][]float64{}}
	for name, want := range model {
		a.values[name] = want.Float64s()
	}
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(model)) {
		t := f.Tensor(prefix + name)
		if t == nil {
			continue
		}
		text, err := a.judge(t, name)
		if err != nil {
			return nil, err
		}
		if text != "" {
			findings = append(findings, Finding{name, text})
		}
	}
	return findings, nil
}

// against holds the parameters of the model, and their values in float64.
type against struct {
	model  attention.StateDict
	values map[string][]float64
}

// alike bounds the relative error of values that count as the same. Rounding to bfloat16 causes
// half as much, and two different parameters differ by far more.
const alike = 4e-3

// judge describes the values of a tensor, and is empty if they are right for the parameter.
func (a against) judge(t *Tensor, name string) (string, error) {
	got, err := t.Float64s()
	if err != nil {
		return "", err
	}
	want, shape := a.values[name], a.model[name].Shape
	sameShape := slices.Equal(t.Shape, shape)
	if sameShape && same(got, want) {
		return "", nil
	}
	for _, other := range slices.Sorted(maps.Keys(a.model)) {
		sameShape, values := slices.Equal(t.Shape, a.model[other].Shape), a.values[other]
		if other != name && sameShape && telling(values) && same(got, values) {
			return fmt.Sprintf("it has the values of %s: are the two swapped?", other), nil
		}
	}
	if text := rearranged(t.Shape, shape, got, want); text != "" {
		return text, nil
	}
	if !sameShape {
		return a.otherShape(t.Shape, shape, name), nil
	}
	if text, err := otherBits(t, want); text != "" || err != nil {
		return text, err
	}
	return otherValues(t, got, want), nil
}

// same reports whether two arrays as a whole are alike.
func same(got, want []float64) bool {
	if len(got) != len(want) {
		return false
	}
	return relative(got, want, 1) <= alike
}

// relative returns RMS(got - factor want) / RMS(factor want), or 0 between zeros.
func relative(got, want []float64, factor float64) float64 {
	var off, all float64
	for i, w := range want {
		d := got[i] - factor*w
		off += d * d
		all += factor * w * factor * w
	}
	if off == 0 {
		return 0
	}
	return math.Sqrt(off / all)
}

// telling reports whether values differ from one another. Many parameters begin with one repeated
// number, which tells nothing.
func telling(values []float64) bool {
	return slices.ContainsFunc(values, func(v float64) bool { return v != values[0] })
}

// rearranged recognises the right values in another order or another shape.
func rearranged(gotShape, wantShape []int, got, want []float64) string {
	if len(got) != len(want) || !telling(want) {
		return ""
	}
	if len(wantShape) == 2 {
		rows, columns := wantShape[0], wantShape[1]
		turned := transposed(want, rows, columns)
		if slices.Equal(gotShape, []int{columns, rows}) && same(got, turned) {
			return "it is transposed"
		}
		if slices.Equal(gotShape, wantShape) {
			if text := reordered(got, want, rows, columns, "rows"); text != "" {
				return text
			}
			return reordered(transposed(got, rows, columns), turned, columns, rows, "columns")
		}
	}
	if same(got, want) {
		return "it has the right values in another shape, " + attention.FormatShape(gotShape)
	}
	if len(wantShape) == 1 && len(gotShape) == 1 {
		return reordered(got, want, len(want), 1, "elements")
	}
	return ""
}

func transposed(values []float64, rows, columns int) []float64 {
	out := make([]float64, len(values))
	for r := range rows {
		for c := range columns {
			out[c*rows+r] = values[r*columns+c]
		}
	}
	return out
}

// reordered recognises rows that were shifted around or stand in another order. Rows in another
// order are matched by their bits, because rounded numbers are easily alike.
func reordered(got, want []float64, rows, columns int, what string) string {
	for shift := 1; shift < rows; shift++ {
		first := shift * columns
		// The first row rules most shifts out, at little cost.
		if same(got[:columns], want[first:first+columns]) && same(got, slices.Concat(want[first:], want[:first])) {
			return fmt.Sprintf("its %s are shifted: %s %d is first", what, what[:len(what)-1], shift)
		}
	}
	left := map[string]int{}
	for row := range slices.Chunk(want, columns) {
		left[rowKey(row)]++
	}
	for row := range slices.Chunk(got, columns) {
		if left[rowKey(row)]--; left[rowKey(row)] < 0 {
			return ""
		}
	}
	return fmt.Sprintf("it has the right %s in another order", what)
}

func rowKey(row []float64) string {
	var b strings.Builder
	for _, v := range row {
		fmt.Fprintf(&b, "%x ", math.Float64bits(v))
	}
	return b.String()
}

// otherShape names the parameter whose shape a tensor has. It is empty if there is none.
func (a against) otherShape(got, want []int, name string) string {
	turned := slices.Clone(want)
	slices.Reverse(turned)
	if slices.Equal(got, turned) {
		return "it has the shape of the transposed parameter, and other values"
	}
	for _, other := range slices.Sorted(maps.Keys(a.model)) {
		if other != name && slices.Equal(got, a.model[other].Shape) {
			return fmt.Sprintf("it has the shape of %s, and other values", other)
		}
	}
	return ""
}

// sameWidth lists the types whose bits can be mistaken for each type.
var sameWidth = map[npy.DType][]npy.DType{
	npy.Float16: {npy.BFloat16}, npy.BFloat16: {npy.Float16},
	npy.Uint16: {npy.BFloat16, npy.Float16}, npy.Int16: {npy.BFloat16, npy.Float16},
	npy.Int32: {npy.Float32}, npy.Uint32: {npy.Float32}, npy.Int64: {npy.Float64}, npy.Uint64: {npy.Float64},
}

// otherBits recognises bytes that give the right values as another type, or in the other byte
// order.
func otherBits(t *Tensor, want []float64) (string, error) {
	data, err := t.Bytes()
	if err != nil || !telling(want) {
		return "", err
	}
	for _, dtype := range sameWidth[t.DType] {
		if same(decodeAll(dtype, data), want) {
			return fmt.Sprintf("its bytes are right as %s, but the file calls them %s", dtype, t.DType), nil
		}
	}
	turned := slices.Clone(data)
	swap(turned, t.DType.Size())
	if same(decodeAll(t.DType, turned), want) {
		return "its bytes are in big-endian order", nil
	}
	return "", nil
}

// otherValues describes values that fit no parameter.
func otherValues(t *Tensor, got, want []float64) string {
	s := describe(got)
	if t.DType.IsFloat() {
		s.Origin = origin(t, s, got)
	}
	var ww, gw float64
	for i, w := range want {
		ww += w * w
		gw += got[i] * w
	}
	factor := gw / ww
	switch {
	case s.NonFinite > 0:
		return fmt.Sprintf("%d of its %d elements are NaN or infinite", s.NonFinite, s.Elements)
	case s.Origin != "":
		return "it looks like it was never loaded: " + s.Origin
	case factor != 0 && relative(got, want, factor) <= alike:
		return fmt.Sprintf("it is %.4g times the right values", factor)
	}
	gotNorm := math.Sqrt(float64(s.Elements) * (s.Std*s.Std + s.Mean*s.Mean))
	return fmt.Sprintf("it has other values: rel %.3g, cosine %.3f",
		relative(got, want, 1), factor*math.Sqrt(ww)/gotNorm)
}

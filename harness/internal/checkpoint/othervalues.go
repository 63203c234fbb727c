package checkpoint

import (
	"fmt"
	"math"
	"slices"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/npy"
)

// otherShape describes a tensor of another shape than its parameter's. It is empty if the shapes
// are the same.
func (a *against) otherShape(t *Tensor, name string) (string, error) {
	want := a.params[name].shape
	if slices.Equal(t.Shape, want) {
		return "", nil
	}
	text := fmt.Sprintf("it has shape %s, the case has %s",
		attention.FormatShape(t.Shape), attention.FormatShape(want))
	turned := slices.Clone(want)
	slices.Reverse(turned)
	if slices.Equal(t.Shape, turned) {
		return text + ", as if transposed, and other values", nil
	}
	for _, other := range a.names {
		if other != name && slices.Equal(t.Shape, a.params[other].shape) {
			return fmt.Sprintf("%s; %s has that shape, and other values", text, other), nil
		}
	}
	return text, nil
}

// otherNumbers describes a tensor of the right shape with values that no parameter has.
func (a *against) otherNumbers(t *Tensor, name string) (string, error) {
	want := a.params[name]
	if text, err := otherBits(t, want); text != "" || err != nil {
		return text, err
	}
	got, err := a.read(t)
	if err != nil {
		return "", err
	}
	return otherValues(t, got, want), nil
}

// sameWidth lists the types whose bits can be mistaken for each type.
var sameWidth = map[npy.DType][]npy.DType{
	npy.Float16: {npy.BFloat16}, npy.BFloat16: {npy.Float16},
	npy.Uint16: {npy.BFloat16, npy.Float16}, npy.Int16: {npy.BFloat16, npy.Float16},
	npy.Int32: {npy.Float32}, npy.Uint32: {npy.Float32}, npy.Int64: {npy.Float64}, npy.Uint64: {npy.Float64},
}

// otherBits recognises bytes that give the right values as another type, or in the other byte
// order.
func otherBits(t *Tensor, want numbers) (string, error) {
	data, err := t.Bytes()
	if err != nil || !want.tells(want.grain) {
		return "", err
	}
	for _, dtype := range sameWidth[t.DType] {
		if numbersOf(dtype, t.Shape, decodeAll(dtype, data)).equals(want) {
			return fmt.Sprintf("its bytes are right as %s, but the file calls them %s", dtype, t.DType), nil
		}
	}
	swap(data, t.DType.Size())
	if numbersOf(t.DType, t.Shape, decodeAll(t.DType, data)).equals(want) {
		return "its bytes are in big-endian order", nil
	}
	return "", nil
}

// otherValues describes values that fit no parameter.
func otherValues(t *Tensor, got, want numbers) string {
	var m moments
	m.add(got.values)
	s := m.statistics(t)
	var ww, gw, off float64
	for i, w := range want.values {
		ww += w * w
		gw += got.values[i] * w
		off += (got.values[i] - w) * (got.values[i] - w)
	}
	factor := gw / ww
	switch {
	case s.NonFinite > 0:
		return fmt.Sprintf("%d of its %d elements are NaN or infinite", s.NonFinite, s.Elements)
	case want.constant():
		return fmt.Sprintf("it has other values; the case has only %.6g, which proves nothing more", want.values[0])
	case s.Origin != "":
		return "it looks like it was never loaded: " + s.Origin
	case factor != 0 && want.tells(got.grain) && got.times(factor, want):
		return fmt.Sprintf("it is %.4g times the right values", factor)
	}
	gotNorm := math.Sqrt(float64(s.Elements) * (s.Std*s.Std + s.Mean*s.Mean))
	return fmt.Sprintf("it has other values: rel %.3g, cosine %.3f", math.Sqrt(off/ww), factor*math.Sqrt(ww)/gotNorm)
}

package checkpoint

import (
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/harness/internal/npy"
)

// Statistics describes the values of a tensor.
type Statistics struct {
	Elements, Zeros, NonFinite int

	// Mean, Std and Largest, a magnitude, describe the finite values. They are NaN without any.
	Mean, Std, Largest float64

	// Origin tells the likely origin of values that nobody trained or loaded: "all zeros", "as
	// torch.randn draws them". It is a guess, and empty if there is none.
	Origin string
}

// Statistics reads a tensor and describes its values.
func (t *Tensor) Statistics() (Statistics, error) {
	values, err := t.Float64s()
	if err != nil {
		return Statistics{}, err
	}
	s := describe(values)
	if t.DType.IsFloat() {
		s.Origin = origin(t, s, values)
	}
	return s, nil
}

func describe(values []float64) Statistics {
	s := Statistics{Elements: len(values)}
	sum := 0.0
	for _, v := range values {
		switch {
		case math.IsNaN(v) || math.IsInf(v, 0):
			s.NonFinite++
			continue
		case v == 0:
			s.Zeros++
		}
		sum += v
		s.Largest = math.Max(s.Largest, math.Abs(v))
	}
	finite := float64(s.Elements - s.NonFinite)
	if finite == 0 {
		s.Mean, s.Std, s.Largest = math.NaN(), math.NaN(), math.NaN()
		return s
	}
	s.Mean = sum / finite
	s.Std = math.Sqrt(moment(values, s.Mean, 2))
	return s
}

// moment returns the central moment of the finite values to a power.
func moment(values []float64, mean, power float64) float64 {
	sum, n := 0.0, 0.0
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			sum += math.Pow(v-mean, power)
			n++
		}
	}
	return sum / n
}

// origin recognises fresh memory and the values of PyTorch's initialisers.
func origin(t *Tensor, s Statistics, values []float64) string {
	switch {
	case s.Elements == 0 || s.NonFinite == s.Elements:
		return ""
	case s.Zeros == s.Elements:
		return "all zeros"
	case s.Elements > 1 && s.Std == 0 && s.NonFinite == 0:
		return fmt.Sprintf("every element is %.6g", values[0])
	case neverWritten(t.DType, values):
		return "denormal numbers, as memory that nobody wrote holds (torch.empty)"
	case standardNormal(s, values):
		return "as torch.randn draws them: mean 0, standard deviation 1"
	}
	return uniformInit(t.Shape, s)
}

// neverWritten reports whether more than 1 % of the values are float32 denormals, which trained
// weights do not contain. All denormals of float16 are larger.
func neverWritten(dtype npy.DType, values []float64) bool {
	const least = 0x1p-126
	n := 0
	for _, v := range values {
		if v != 0 && math.Abs(v) < least {
			n++
		}
	}
	return dtype != npy.Float64 && n*100 > len(values)
}

// enough is the number of values that tell one distribution from another.
const enough = 256

// standardNormal compares mean, deviation and kurtosis with N(0, 1). Each may differ by 5 of its
// standard errors.
func standardNormal(s Statistics, values []float64) bool {
	if s.Elements < enough || s.NonFinite > 0 {
		return false
	}
	n := float64(s.Elements)
	kurtosis := moment(values, s.Mean, 4) / math.Pow(s.Std, 4)
	return math.Abs(s.Mean) < 5/math.Sqrt(n) && math.Abs(s.Std-1) < 5/math.Sqrt(2*n) &&
		math.Abs(kurtosis-3) < 5*math.Sqrt(24/n)
}

// uniformInit recognises the two uniform distributions from which PyTorch draws matrices (out, in).
// Their bound is sharp: the largest of n values lies within about 1/n of it.
func uniformInit(shape []int, s Statistics) string {
	if len(shape) != 2 || s.Elements < enough || s.NonFinite > 0 {
		return ""
	}
	n, out, in := float64(s.Elements), float64(shape[0]), float64(shape[1])
	for _, init := range []struct {
		bound float64
		text  string
	}{
		{1 / math.Sqrt(in), "uniform within 1/sqrt(in), as nn.Linear begins"},
		{
			math.Sqrt(6 / (in + out)),
			"uniform within sqrt(6/(in + out)), as nn.MultiheadAttention begins (xavier_uniform_)",
		},
	} {
		sharp := s.Largest <= init.bound*(1+1e-6) && s.Largest >= init.bound*(1-10/n)
		// The standard deviation of n uniform values has a relative standard error of sqrt(0.2/n).
		if sharp && math.Abs(s.Std*math.Sqrt(3)/init.bound-1) < 5*math.Sqrt(0.2/n) {
			return init.text
		}
	}
	return ""
}

// Twins returns groups of names whose tensors have the same type, shape and bytes, sorted. One
// tensor may have been saved under several names, or loaded into several places. Tensors of one
// repeated number are left out.
func (f *File) Twins() ([][]string, error) {
	groups := map[string][]string{}
	var order []string
	for _, t := range f.Tensors {
		if !t.Readable() {
			continue
		}
		data, err := t.Bytes()
		if err != nil {
			return nil, err
		}
		if repeats(data, t.DType.Size()) {
			continue
		}
		id := fmt.Sprintf("%s %v %x", t.DType, t.Shape, sha256.Sum256(data))
		if groups[id] == nil {
			order = append(order, id)
		}
		groups[id] = append(groups[id], t.Name)
	}
	var twins [][]string
	for _, id := range order {
		if len(groups[id]) > 1 {
			twins = append(twins, groups[id])
		}
	}
	slices.SortFunc(twins, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	return twins, nil
}

// repeats reports whether all elements are equal. No element and one element are.
func repeats(data []byte, size int) bool {
	for element := range slices.Chunk(data, size) {
		if !slices.Equal(element, data[:size]) {
			return false
		}
	}
	return true
}

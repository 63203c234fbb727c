package graph

import (
	"fmt"
	"math"
	"slices"
)

// tap is an element of the input, and its weight in an element of the output.
type tap struct {
	place  int
	weight float64
}

// upsample computes torch.nn.functional.interpolate without antialiasing, one dimension at a time.
func upsample[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	x, a := in[0], n.Attributes
	images := len(a.Size)
	if images < 1 || len(x.Shape) != images+2 || len(a.Steps) != images {
		return nil, fmt.Errorf("size %v and steps %v for an input of shape %v", a.Size, a.Steps, x.Shape)
	}
	for d, size := range a.Size {
		var err error
		taps, err := tapsOf(a, x.Shape[d+2], size, a.Steps[d])
		if err != nil {
			return nil, err
		}
		if x, err = along(x, d+2, taps); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// along replaces one dimension by weighted sums of its elements.
func along[T Float](x *Tensor[T], dim int, taps [][]tap) (*Tensor[T], error) {
	shape := slices.Clone(x.Shape)
	shape[dim] = len(taps)
	out, err := New[T](shape)
	if err != nil {
		return nil, err
	}
	step := strides(shape)[dim] // also of x
	for i := range out.Data {
		before, at, after := i/step/len(taps), i/step%len(taps), i%step
		for _, t := range taps[at] {
			out.Data[i] += T(t.weight) * x.Data[(before*x.Shape[dim]+t.place)*step+after]
		}
	}
	return out, nil
}

// tapsOf returns, for each of `wanted` pixels, the pixels of the input behind it.
func tapsOf(a Attributes, size, wanted int, step float64) ([][]tap, error) {
	if size < 1 || wanted < 1 || wanted > maxElements || !(step > 0) {
		return nil, fmt.Errorf("%d pixels from %d in steps of %v", wanted, size, step)
	}
	taps := make([][]tap, wanted)
	for i := range taps {
		switch a.Mode {
		case "nearest", "nearest-exact":
			// PyTorch multiplies in float32.
			shift := float32(0.5)
			if a.Mode == "nearest" {
				shift = 0
			}
			at := math.Floor(float64((float32(i) + shift) * float32(step)))
			taps[i] = []tap{{min(int(at), size-1), 1}}
		case "linear":
			at := source(a, i, size, wanted, step)
			if at < 0 {
				at = 0
			}
			low := min(int(at), size-1)
			taps[i] = []tap{{low, 1 - (at - float64(low))}, {min(low+1, size-1), at - float64(low)}}
		case "cubic":
			at := source(a, i, size, wanted, step)
			low := math.Floor(at)
			for j, weight := range cubic(at - low) {
				taps[i] = append(taps[i], tap{min(max(int(low)-1+j, 0), size-1), weight})
			}
		default:
			return nil, fmt.Errorf("mode: %.200q, want nearest, nearest-exact, linear or cubic", a.Mode)
		}
	}
	return taps, nil
}

// source returns where a pixel of the output lies in the input.
func source(a Attributes, i, size, wanted int, step float64) float64 {
	if !a.Corners {
		return (float64(i)+0.5)*step - 0.5
	}
	if wanted == 1 {
		return 0
	}
	return float64(i) * float64(size-1) / float64(wanted-1)
}

// cubic returns the weights of four neighbours for a point at t between the middle two: cubic
// convolution with a = -0.75.
func cubic(t float64) [4]float64 {
	const a = -0.75
	near := func(x float64) float64 { return ((a+2)*x-(a+3))*x*x + 1 }
	far := func(x float64) float64 { return ((a*x-5*a)*x+8*a)*x - 4*a }
	return [4]float64{far(t + 1), near(t), near(1 - t), far(2 - t)}
}

// pad computes torch.nn.functional.pad.
func pad[T Float](n *Node, in []*Tensor[T]) (*Tensor[T], error) {
	x, a := in[0], n.Attributes
	if len(a.Before) != len(x.Shape) || len(a.After) != len(x.Shape) {
		return nil, fmt.Errorf("widths %v and %v for %v", a.Before, a.After, x.Shape)
	}
	shape := slices.Clone(x.Shape)
	for d := range shape {
		if min(a.Before[d], a.After[d]) < 0 || max(a.Before[d], a.After[d]) > maxElements {
			return nil, fmt.Errorf("widths %v and %v", a.Before, a.After)
		}
		shape[d] += a.Before[d] + a.After[d]
	}
	out, err := New[T](shape)
	if err != nil {
		return nil, err
	}
	out.Bool = x.Bool
	steps, own := strides(shape), strides(x.Shape)
	for i := range out.Data {
		place, inside := 0, true
		for d, size := range x.Shape {
			at, err := padded(a.Mode, i/steps[d]%shape[d]-a.Before[d], size)
			if err != nil {
				return nil, err
			}
			inside = inside && at >= 0
			place += at * own[d]
		}
		if out.Data[i] = T(a.Value); inside {
			out.Data[i] = x.Data[place]
		}
	}
	return out, nil
}

// padded returns the index that stands at an index outside of a dimension, -1 if a constant does.
func padded(mode string, at, size int) (int, error) {
	outside := at < 0 || at >= size
	switch {
	case !outside:
		return at, nil
	case mode == "constant":
		return -1, nil
	case mode == "reflect" && at > -size && at < 2*size-1:
		if at < 0 {
			return -at, nil
		}
		return 2*(size-1) - at, nil
	case mode == "replicate" && size > 0:
		return min(max(at, 0), size-1), nil
	case mode == "circular" && at >= -size && at < 2*size:
		return (at + size) % size, nil
	}
	return 0, fmt.Errorf("mode %.200q for index %d of a dimension of %d", mode, at, size)
}

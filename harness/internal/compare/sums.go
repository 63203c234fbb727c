package compare

import "math"

// sums holds sums of squares and products over pairs of finite elements. Arrays of very large or
// very small numbers are multiplied by a power of two, their scale, so that squares stay in range.
type sums struct {
	got, want      scale
	pairs          int
	gg, ww, gw, dd float64 // dd, of squared differences, has the lesser scale
}

func newSums() sums { return sums{got: scale{by: 1}, want: scale{by: 1}} }

// scale is the scale of an array.
type scale struct{ largest, by float64 }

// both is the scale of differences.
func (s *sums) both() float64 { return math.Min(s.got.by, s.want.by) }

// add takes pairs. It leaves out the ones with an element that is not finite.
func (s *sums) add(got, want []float64) {
	ofGot, ofWant := largest(got), largest(want)
	if !(ofGot <= math.MaxFloat64 && ofWant <= math.MaxFloat64) {
		got, want = finitePairs(got, want)
		ofGot, ofWant = largest(got), largest(want)
	}
	gotWas, wantWas, bothWas := s.got.by, s.want.by, s.both()
	s.got.raise(ofGot)
	s.want.raise(ofWant)
	a, b, c := s.got.by/gotWas, s.want.by/wantWas, s.both()/bothWas
	s.gg, s.ww, s.gw, s.dd = times(s.gg, a*a), times(s.ww, b*b), times(s.gw, a*b), times(s.dd, c*c)
	s.pairs += len(got)
	if s.got.by == 1 && s.want.by == 1 {
		s.addUnscaled(got, want)
		return
	}
	for i, g := range got {
		w := want[i]
		s.gg += square(g * s.got.by)
		s.ww += square(w * s.want.by)
		s.gw += g * s.got.by * (w * s.want.by)
		s.dd += square(g*s.both() - w*s.both())
	}
}

// largest returns the largest magnitude, and one that is not finite if there is any.
func largest(values []float64) float64 {
	var most uint64 // bits, which have the order of magnitudes
	for _, v := range values {
		most = max(most, math.Float64bits(v)&^(1<<63))
	}
	return math.Float64frombits(most)
}

// raise lowers the scale as far as a larger magnitude needs it.
func (s *scale) raise(magnitude float64) {
	s.largest = max(s.largest, magnitude)
	// The squares of numbers in between stay in range.
	if s.largest < 0x1p-400 || s.largest > 0x1p400 {
		s.by = toUnit([]float64{s.largest})
	} else {
		s.by = 1
	}
}

// times is a product in which 0 times infinity is 0.
func times(sum, factor float64) float64 {
	if sum == 0 {
		return 0
	}
	return sum * factor
}

// addUnscaled keeps two sums of each kind side by side, which is faster than one.
func (s *sums) addUnscaled(got, want []float64) {
	want = want[:len(got)]
	var gg, ww, gw, dd [2]float64
	for i := 1; i < len(got); i += 2 {
		g, w, h, x := got[i-1], want[i-1], got[i], want[i]
		gg[0], gg[1] = gg[0]+g*g, gg[1]+h*h
		ww[0], ww[1] = ww[0]+w*w, ww[1]+x*x
		gw[0], gw[1] = gw[0]+g*w, gw[1]+h*x
		dd[0], dd[1] = dd[0]+(g-w)*(g-w), dd[1]+(h-x)*(h-x)
	}
	if last := len(got) - 1; len(got)%2 == 1 {
		g, w := got[last], want[last]
		gg[0], ww[0], gw[0], dd[0] = gg[0]+g*g, ww[0]+w*w, gw[0]+g*w, dd[0]+(g-w)*(g-w)
	}
	s.gg, s.ww, s.gw, s.dd = s.gg+gg[0]+gg[1], s.ww+ww[0]+ww[1], s.gw+gw[0]+gw[1], s.dd+dd[0]+dd[1]
}

// summary returns the numbers of [Comparison.summarize].
func (s *sums) summary() (rel, gain, cosine float64) {
	rel, gain = math.NaN(), math.NaN()
	if s.pairs > 0 {
		rel, gain = ratio(s.dd, s.ww)/s.both()*s.want.by, ratio(s.gg, s.ww)/s.got.by*s.want.by
	}
	return rel, gain, s.gw / math.Sqrt(s.gg) / math.Sqrt(s.ww)
}

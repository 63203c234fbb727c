package kernel

import "math"

// plain is multiply in plain Go.
func (r Right[F]) plain(rows int, a []F, lda int, c []F, ldc, add int) {
	width := panelWidth[F]()
	for col := 0; col < r.cols; col += width {
		cols, panel := min(width, r.cols-col), r.data[col/width*r.panel:]
		for row := range rows {
			left, sums := a[row*lda:][:r.rows], c[row*ldc+col:][:cols]
			if add == 0 {
				clear(sums)
			}
			switch left := any(left).(type) {
			case []float64:
				chains64(left, any(panel).([]float64), r.stride, any(sums).([]float64))
			case []float32:
				chains32(left, any(panel).([]float32), r.stride, any(sums).([]float32))
			}
		}
	}
}

// chains64 adds the products of a and the columns of b to sums, four columns side by side.
func chains64(a, b []float64, stride int, sums []float64) {
	for ; len(sums) >= 4; sums, b = sums[4:], b[4:] {
		s0, s1, s2, s3 := sums[0], sums[1], sums[2], sums[3]
		for p, x := range a {
			row := b[p*stride:][:4]
			s0 = math.FMA(x, row[0], s0)
			s1 = math.FMA(x, row[1], s1)
			s2 = math.FMA(x, row[2], s2)
			s3 = math.FMA(x, row[3], s3)
		}
		sums[0], sums[1], sums[2], sums[3] = s0, s1, s2, s3
	}
	for i, s := range sums {
		for p, x := range a {
			s = math.FMA(x, b[p*stride+i], s)
		}
		sums[i] = s
	}
}

// chains32 is chains64 for float32.
func chains32(a, b []float32, stride int, sums []float32) {
	for ; len(sums) >= 4; sums, b = sums[4:], b[4:] {
		s0, s1, s2, s3 := sums[0], sums[1], sums[2], sums[3]
		for p, x := range a {
			row := b[p*stride:][:4]
			s0 = fma32(x, row[0], s0)
			s1 = fma32(x, row[1], s1)
			s2 = fma32(x, row[2], s2)
			s3 = fma32(x, row[3], s3)
		}
		sums[0], sums[1], sums[2], sums[3] = s0, s1, s2, s3
	}
	for i, s := range sums {
		for p, x := range a {
			s = fma32(x, b[p*stride+i], s)
		}
		sums[i] = s
	}
}

// exactFMA32 returns x*y + z, rounded once. A float64 holds the product. If it does not hold the
// sum, the sum is rounded to the neighbour with an odd last bit, and the rounding to float32 is the
// rounding of the exact sum.
func exactFMA32(x, y, z float32) float32 {
	product, term := float64(x)*float64(y), float64(z)
	sum := product + term
	part := sum - product
	lost := (product - (sum - part)) + (term - part)
	if bits := math.Float64bits(sum); bits&1 == 0 && (lost > 0 || lost < 0) {
		if (lost > 0) == (sum > 0) {
			bits++
		} else {
			bits--
		}
		sum = math.Float64frombits(bits)
	}
	return float32(sum)
}

package num

import "math"

// erf returns the error function, with an error below 3e-16, by a Taylor series about the nearest
// of some points. Without branches, erf takes a tenth of the time of [math.Erf].
func erf(x float64) float64 {
	z := math.Abs(x)
	if !(z < erfEnd) {
		return math.Erf(x)
	}
	n := int(z*erfPoints + 0.5)
	d, c := z-float64(n)/erfPoints, &erfSeries[n]
	even := c[0] + d*d*(c[2]+d*d*(c[4]+d*d*(c[6]+d*d*c[8])))
	odd := c[1] + d*d*(c[3]+d*d*(c[5]+d*d*c[7]))
	return math.Copysign(even+d*odd, x)
}

const (
	erfPoints = 32 // in an interval of length 1
	erfEnd    = 6  // from there on erf is 1
)

// erfSeries holds the coefficients of the Taylor series at each point. The rest of a series is
// below 1e-18.
var erfSeries = func() (series [erfEnd*erfPoints + 1][9]float64) {
	for n := range series {
		z := float64(n) / erfPoints
		// erf is the integral of f = 2/sqrt(pi) exp(-z^2). The derivatives of f follow from
		// f' = -2 z f.
		before, f := 0.0, 2/math.Sqrt(math.Pi)*math.Exp(-z*z)
		series[n][0] = math.Erf(z)
		factorial := 1.0
		for k := 1; k < len(series[n]); k++ {
			factorial *= float64(k)
			series[n][k] = f / factorial
			before, f = f, -2*(z*f+float64(k-1)*before)
		}
	}
	return series
}()

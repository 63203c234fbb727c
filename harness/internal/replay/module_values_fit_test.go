package replay

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A first step that leaves much of an error, and leaves it straight, falls short. A bend, a small
// rest, noise, and a direction that the step did not take may lead further.
func TestFallsShort(t *testing.T) {
	const whole, far = 4 * 1e6, 0.01
	straight := []float64{500, -500, 500, -500} // a quarter of the error
	for _, tc := range []struct {
		name     string
		straight []float64
		off      []float64
		left     float64
		whole    float64
		want     bool
	}{
		{"straight", straight, []float64{510, -500, 500, -490}, 0.25, whole, true},
		{"bent", straight, []float64{700, -500, 500, -500}, 0.25, whole, false},
		{"small rest", []float64{90, 90, -90, 90}, []float64{90, 90, -90, 90}, 0.0081, whole, false},
		{"noise", []float64{1, -1, 1, -1}, []float64{1, -1, 1, -1}, 1, 4, false},
		{"another direction", straight, []float64{510, -500, 500, -490}, 0.1, whole, false},
	} {
		f := &valueFit{off: tc.off, left: tc.left}
		assert.Equal(t, tc.want, f.fallsShort(tc.straight, tc.whole, far), tc.name)
	}
}

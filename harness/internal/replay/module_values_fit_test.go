package replay

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A step that leaves much of an error, and leaves it straight, falls short. A bend, a small rest,
// noise, and a direction that the step did not take may lead further. A bend leads further if the
// straight rest falls from step to step.
func TestFallsShort(t *testing.T) {
	const whole = 4 * 1e6
	straight := []float64{500, -500, 500, -500} // a quarter of the error
	for _, tc := range []struct {
		name     string
		straight []float64
		off      []float64
		furthest float64
		before   float64 // the straight rest in the step before
		whole    float64
		want     bool
	}{
		{"straight", straight, []float64{510, -500, 500, -490}, 1e6, 0, whole, true},
		{"bent", straight, []float64{900, -500, 500, -500}, 1e6, 0, whole, false},
		{"bent, where the rest stays", straight, []float64{900, -500, 500, -500}, 1e6, 1.05e6, whole, true},
		{"bent, where the rest falls", straight, []float64{900, -500, 500, -500}, 1e6, 1.5e6, whole, false},
		{"bent much, where the rest stays", straight, []float64{1300, -500, 500, -500}, 1e6, 1.05e6, whole, false},
		{"small rest", []float64{90, 90, -90, 90}, []float64{90, 90, -90, 90}, 32400, 0, whole, false},
		{"noise", []float64{1, -1, 1, -1}, []float64{1, -1, 1, -1}, 4, 0, 4, false},
		{"three times the noise", []float64{5, -5, 5, -5}, []float64{5, -5, 5, -5}, 100, 0, 1000, false},
		{"more than noise", []float64{7, -7, 7, -7}, []float64{7, -7, 7, -7}, 196, 0, 1000, true},
		{"another direction", straight, []float64{510, -500, 500, -490}, 4e5, 0, whole, false},
	} {
		f := &valueFit{off: tc.off, straight: tc.before}
		assert.Equal(t, tc.want, f.fallsShort(tc.straight, tc.furthest, tc.whole), tc.name)
		assert.Equal(t, product(tc.straight, tc.straight), f.straight, tc.name)
	}
}

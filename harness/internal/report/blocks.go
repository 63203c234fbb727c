package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/difftest/difftest/harness/internal/pattern"
)

// Palette is the colours that a terminal shows.
type Palette int

// The palettes. Pictures are characters without one, and half blocks with one: a character shows
// two elements, one above the other.
const (
	NoPalette Palette = iota
	Colors256
	TrueColors
)

// shade is a colour in red, green and blue.
type shade [3]uint8

// ramp is viridis, from 0 to 1. It is told apart without colour vision, too.
var ramp = []shade{
	{68, 1, 84}, {71, 44, 122}, {59, 81, 139}, {44, 113, 142}, {33, 144, 141}, {39, 173, 129},
	{92, 200, 99}, {170, 220, 50}, {253, 231, 37},
}

// noWeight is the colour of a number below 0 or above 1.
var noWeight = shade{214, 39, 40}

// shadeOf returns the colour of a weight from 0 to 1, NaN for any other number.
func shadeOf(weight float64) shade {
	if math.IsNaN(weight) {
		return noWeight
	}
	place := min(1, max(0, weight)) * float64(len(ramp)-1)
	n := min(len(ramp)-2, int(place))
	var mixed shade
	for i := range mixed {
		low, high := float64(ramp[n][i]), float64(ramp[n+1][i])
		mixed[i] = uint8(math.Round(low + (high-low)*(place-float64(n))))
	}
	return mixed
}

// code returns the end of an escape sequence for a colour. After "38;" the sequence colours the
// character, after "48;" its background.
func (p Palette) code(s shade) string {
	if p == TrueColors {
		return fmt.Sprintf("2;%d;%d;%d", s[0], s[1], s[2])
	}
	return fmt.Sprintf("5;%d", 16+36*cube(s[0])+6*cube(s[1])+cube(s[2]))
}

// cube returns the nearest of the six steps that a colour of 256 has of red, green or blue.
func cube(v uint8) int {
	steps := []int{0, 95, 135, 175, 215, 255}
	nearest := 0
	for i, step := range steps {
		if math.Abs(float64(int(v)-step)) < math.Abs(float64(int(v)-steps[nearest])) {
			nearest = i
		}
	}
	return nearest
}

// blocks draws two rows of weights as one line. below is nil under the last row.
func (p Palette) blocks(above, below []float64) string {
	var line strings.Builder
	for i, weight := range above {
		fmt.Fprintf(&line, "\x1b[38;%s", p.code(shadeOf(weight)))
		if below != nil {
			fmt.Fprintf(&line, ";48;%s", p.code(shadeOf(below[i])))
		}
		line.WriteString("m▀")
	}
	return line.String() + "\x1b[0m"
}

// picture draws the recovered and the expected weights of the head that differs most in half
// blocks.
func (p Palette) picture(x *pattern.Pattern) (lines []string, legend string) {
	recovered, expected := x.Drawn()
	width := max(len(recovered[0]), len("recovered"))
	gap := strings.Repeat(" ", 2+width-len(recovered[0]))
	lines = append(lines, fmt.Sprintf("%-*s  %-*s  %s", width, "recovered", len(recovered[0]), "expected", x.Label()))
	for i := 0; i < len(recovered); i += 2 {
		var below [2][]float64
		if i+1 < len(recovered) {
			below = [2][]float64{recovered[i+1], expected[i+1]}
		}
		lines = append(lines, p.blocks(recovered[i], below[0])+gap+p.blocks(expected[i], below[1]))
	}
	return lines, "a column a key, a row a query: dark is 0, yellow is 1, red is below 0 or above 1" + x.Left()
}

package report

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/png"
	"math"
	"slices"

	"github.com/difftest/difftest/harness/internal/num"
)

// heatmapLimit is the largest number of elements of an output that is drawn.
const heatmapLimit = 1 << 14

// heatmaps are the pictures of an output: for each matrix of its last two dimensions what the
// subject gave, what was expected, and the distance between them in sigma.
type heatmaps struct {
	Rows, Columns int
	Panels        []panel
	Values        string // got, want and z of all elements, float32 in base64
	Scale         string // the size that has the full colour
}

// panel is one matrix of an output.
type panel struct {
	Place  string // indices of the leading dimensions: "batch 0, head 1"
	First  int    // place of its first element in the output
	Images []picture
}

// picture is an image with its title.
type picture struct {
	Title         string
	URL           template.URL // data:image/png
	Width, Height int          // in pixels of the page
}

// newHeatmaps draws a failing output. It returns nil if there is no output of the right shape, or if
// the output is too large.
func newHeatmaps(r Result) *heatmaps {
	c := r.Comparison
	if !c.SameShape() || len(r.Got) == 0 || len(r.Got) > heatmapLimit || len(r.Want.Value) != len(r.Got) {
		return nil
	}
	shape := slices.Concat([]int{1, 1}, c.WantShape)[min(2, len(c.WantShape)):]
	h := &heatmaps{Rows: shape[len(shape)-2], Columns: num.Last(shape)}
	full := largest(r.Want.Value)
	h.Scale = fmt.Sprintf("%.3g", full)
	size := h.Rows * h.Columns
	for first := 0; first < len(r.Got); first += size {
		p := panel{Place: place(shape[:len(shape)-2], first/size), First: first}
		for _, one := range []struct {
			title  string
			values []float64
			shade  func(float64) uint8
		}{
			{"yours", r.Got, func(v float64) uint8 { return signed(v / full) }},
			{"expected", r.Want.Value, func(v float64) uint8 { return signed(v / full) }},
			{"distance", c.Z, func(z float64) uint8 { return distant(z / c.Limits.Z) }},
		} {
			p.Images = append(p.Images, drawn(one.title+" "+p.Place, one.values[first:][:size], h.Rows, h.Columns, one.shade))
		}
		h.Panels = append(h.Panels, p)
	}
	h.Values = packed(r.Got, r.Want.Value, c.Z)
	return h
}

// place writes the indices of a matrix in the leading dimensions of an output.
func place(leading []int, n int) string {
	names := []string{"batch", "head"}
	if len(leading) > len(names) {
		names = slices.Repeat([]string{"index"}, len(leading))
	}
	text := ""
	for d := len(leading) - 1; d >= 0; d-- {
		text = fmt.Sprintf("%s %d", names[d], n%leading[d]) + text
		if n /= leading[d]; d > 0 {
			text = ", " + text
		}
	}
	return text
}

// largest returns the largest finite size of some values, 1 if there is none above 0.
func largest(values []float64) float64 {
	most := 0.0
	for _, v := range values {
		if size := math.Abs(v); size > most && !math.IsInf(v, 0) {
			most = size
		}
	}
	if most == 0 {
		return 1
	}
	return most
}

// The palette: 0 to 200 from blue over white to red, and marks for values without a colour.
const (
	white   = 100
	fullRed = 200
	notANum = 201
	beyond  = 202 // outside the scale
)

var palette = func() color.Palette {
	p := make(color.Palette, beyond+1)
	shade := func(part float64, full uint8) uint8 { return uint8(255 - part*float64(255-int(full))) }
	for i := range white + 1 {
		part := float64(i) / white
		p[white-i] = color.RGBA{shade(part, 11), shade(part, 84), shade(part, 160), 255}
		p[white+i] = color.RGBA{shade(part, 178), shade(part, 24), shade(part, 43), 255}
	}
	p[notANum] = color.RGBA{0, 0, 0, 255}
	p[beyond] = color.RGBA{110, 0, 110, 255}
	return p
}()

// signed returns the colour of a value from -1, blue, to 1, red.
func signed(part float64) uint8 {
	switch {
	case math.IsNaN(part):
		return notANum
	case math.Abs(part) > 1:
		return beyond
	}
	return uint8(math.Round(white + white*part))
}

// distant returns the colour of a distance, whose unit is the limit: white up to the limit, and the
// full red at ten thousand times the limit.
func distant(part float64) uint8 {
	switch {
	case math.IsNaN(part):
		return notANum
	case part <= 1:
		return white
	}
	return uint8(math.Round(white + 20 + (white-20)*min(1, math.Log10(part)/4)))
}

// drawn draws a matrix, a pixel an element, and gives it a size on the page.
func drawn(title string, values []float64, rows, columns int, shade func(float64) uint8) picture {
	img := image.NewPaletted(image.Rect(0, 0, columns, rows), palette)
	for i, v := range values {
		img.Pix[i] = shade(v)
	}
	return pictureOf(title, img)
}

// pictureOf returns an image whose elements are squares of 2 to 12 pixels on the page.
func pictureOf(title string, img *image.Paletted) picture {
	var data bytes.Buffer
	_ = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&data, img) // a buffer takes everything
	size := img.Bounds().Size()
	step := min(12, max(2, 300/max(size.X, size.Y)))
	return picture{
		title, template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(data.Bytes())),
		step * size.X, step * size.Y,
	}
}

// packed returns arrays of the same length, one behind the other, as little-endian float32 in base64.
func packed(arrays ...[]float64) string {
	var data []byte
	for _, values := range arrays {
		for _, v := range values {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
		}
	}
	return base64.StdEncoding.EncodeToString(data)
}

// newMasks draws the masks of a case: one picture if all batch elements have the same.
func newMasks(masks []Mask) []picture {
	var all []picture
	same := !slices.ContainsFunc(masks, func(m Mask) bool { return !slices.Equal(m.Sees, masks[0].Sees) })
	for n, m := range masks {
		title := fmt.Sprintf("batch %d", n)
		if same {
			title = "every batch element"
		}
		img := image.NewPaletted(image.Rect(0, 0, m.Keys, m.Queries), palette)
		for i, sees := range m.Sees {
			if img.Pix[i] = white; sees {
				img.Pix[i] = 0
			}
		}
		all = append(all, pictureOf("mask of "+title+", first head", img))
		const most = 8
		if same || len(all) == most {
			break
		}
	}
	return all
}

package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// convolutions holds mistakes with kernels, padding and the layout of images.
var convolutions = []catalogue.Mistake{
	{
		ID: "conv-flipped", Title: "the kernels of convolutions flipped", Family: catalogue.Convolution, Kind: catalogue.Layout,
		Explanation: "A true convolution was computed. PyTorch computes a cross-correlation.",
		Fix:         "Do not reverse the kernel.",
		Refs:        []string{"C01", "S03"},
		Edit:        flipped("convolution"),
	},
	{
		ID: "conv-transposed-flipped", Title: "the kernels of transposed convolutions flipped", Family: catalogue.Convolution, Kind: catalogue.Layout,
		Explanation: "The kernel of the transposed convolution has the other direction.",
		Fix:         "Reverse the kernel if the transposed convolution is computed as a convolution of the spread input.",
		Refs:        []string{"C01"},
		Edit:        flipped("convolution_transposed"),
	},
	{
		ID: "conv-axes-exchanged", Title: "height and width of the kernels exchanged", Family: catalogue.Convolution, Kind: catalogue.Layout,
		Explanation: "The kernel was read as (out, in, width, height).",
		Fix:         "PyTorch stores (out, in, height, width).",
		Refs:        []string{"C02"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if !isConvolution(n) {
				return nil
			}
			w := v.Shape(n.Operands[1])
			if len(w) != 4 || w[2] != w[3] || w[2] == 1 {
				return nil
			}
			d := newDraft(v, n)
			return d.end(n.Put(1, d.permute(n.Operands[1], w, 0, 1, 3, 2)))
		},
	},
	{
		ID: "conv-channels-exchanged", Title: "input and output channels of the kernels exchanged", Family: catalogue.Convolution, Kind: catalogue.Layout,
		Explanation: "The kernel was read as (in, out, ...). Only as many inputs as outputs let this pass.",
		Fix:         "PyTorch stores (out, in, ...), and (in, out, ...) for a transposed convolution.",
		Refs:        []string{"C02"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if !isConvolution(n) || n.Attributes.Groups != 1 {
				return nil
			}
			w := v.Shape(n.Operands[1])
			if w[0] != w[1] {
				return nil
			}
			dims := []int{1, 0, 2, 3, 4}[:len(w)]
			d := newDraft(v, n)
			return d.end(n.Put(1, d.permute(n.Operands[1], w, dims...)))
		},
	},
	{
		ID: "conv-bias-missing", Title: "the biases of convolutions left out", Family: catalogue.Convolution, Kind: catalogue.Parameters,
		Explanation: "No convolution adds its bias.",
		Fix:         "Load the biases, and add them.",
		Refs:        []string{"C11", "S05"},
		Edit: where(func(_ *graph.View, n graph.Node) bool { return isConvolution(n) && !n.Operands[2].Absent },
			func(n graph.Node) graph.Node { return n.Put(2, graph.None) }),
	},
	{
		ID: "conv-same-padding", Title: "convolutions with stride padded as TensorFlow's SAME", Family: catalogue.Convolution, Kind: catalogue.Altered,
		Explanation: "The padding stands at the end, where PyTorch has as much on both sides.",
		Fix:         "Pad both sides by `padding` first, then convolve with padding VALID.",
		Refs:        []string{"C04"},
		Edit:        samePadding,
	},
	{
		ID: "conv-dilation-ignored", Title: "convolutions without their dilation", Family: catalogue.Convolution, Kind: catalogue.Missing,
		Explanation: "The elements of the kernel lie on neighbours.",
		Fix:         "Move by `dilation` from one element of the kernel to the next.",
		Refs:        []string{"C07"},
		Edit:        dilationIgnored,
	},
	{
		ID: "conv-groups-interleaved", Title: "the groups of convolutions on interleaved channels", Family: catalogue.Convolution, Kind: catalogue.Layout,
		Explanation: "Group g takes the channels c with c mod groups = g, where it takes a block of neighbours.",
		Fix:         "Group g takes the input channels from g C/G to (g + 1) C/G.",
		Refs:        []string{"C08"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			groups, x := n.Attributes.Groups, v.Shape(n.Operands[min(0, len(n.Operands))])
			if n.Op != "convolution" || groups == 1 || groups == x[1] || x[1] > maxOrder {
				return nil
			}
			var order []int
			for g := range groups {
				for c := g; c < x[1]; c += groups {
					order = append(order, c)
				}
			}
			d := newDraft(v, n)
			return d.end(n.Put(0, d.order(n.Operands[0], x, 1, order)))
		},
	},
	{
		ID: "conv-transposed-pad-in-front", Title: "the output padding of transposed convolutions in front", Family: catalogue.Convolution, Kind: catalogue.Layout,
		Explanation: "The image is shifted: output_padding adds elements at the end.",
		Fix:         "Cut `padding` elements in front, and padding - output_padding at the end.",
		Refs:        []string{"C09"},
		Edit:        outputPaddingInFront,
	},
	{
		ID: "pad-with-zeros", Title: "padding with zeros for reflected or repeated pixels", Family: catalogue.Convolution, Kind: catalogue.Altered,
		Explanation: "The pixels around the image are zeros.",
		Fix:         "Use the model's padding_mode.",
		Refs:        []string{"C05"},
		Edit: where(func(_ *graph.View, n graph.Node) bool { return n.Op == "pad" && n.Attributes.Mode != "constant" },
			func(n graph.Node) graph.Node {
				return n.Set(func(a *graph.Attributes) { a.Mode, a.Value = "constant", 0 })
			}),
	},
	{
		ID: "pad-sides-exchanged", Title: "padding with its sides exchanged", Family: catalogue.Convolution, Kind: catalogue.Layout,
		Explanation: "The widths in front and at the end are exchanged.",
		Fix:         "torch.nn.functional.pad takes (left, right, top, bottom).",
		Refs:        []string{"C06"},
		Edit: where(func(_ *graph.View, n graph.Node) bool {
			return n.Op == "pad" && !slices.Equal(n.Attributes.Before, n.Attributes.After)
		}, func(n graph.Node) graph.Node {
			return n.Set(func(a *graph.Attributes) { a.Before, a.After = a.After, a.Before })
		}),
	},
	{
		ID: "image-channels-reversed", Title: "images as BGR for RGB", Family: catalogue.Convolution, Kind: catalogue.Layout,
		Explanation: "The three channels of the image are in reverse order.",
		Fix:         "Give the channels in the order red, green, blue.",
		Refs:        []string{"C17"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "convolution" || v.Input(n.Operands[0]) == "" || len(n.Shape) != 4 || v.Shape(n.Operands[0])[1] != 3 {
				return nil
			}
			d := newDraft(v, n)
			return d.end(n.Put(0, d.flip(n.Operands[0], v.Shape(n.Operands[0]), 1)))
		},
	},
	{
		ID: "flatten-channels-last", Title: "images flattened with the channels last", Family: catalogue.Convolution, Kind: catalogue.Layout,
		Explanation: "The features go to the linear layer as (height, width, channels).",
		Fix:         "Flatten (channels, height, width), or permute the columns of the weight.",
		Refs:        []string{"C03"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			image := v.Shape(n.Operands[0])
			if n.Op != "reshape" || len(image) != 4 || len(n.Shape) != 2 || image[0] != n.Shape[0] ||
				image[1] == 1 || image[2]*image[3] == 1 || !usedBy(v, n.Name, "linear") {
				return nil
			}
			d := newDraft(v, n)
			return d.end(n.With(d.permute(n.Operands[0], image, 0, 2, 3, 1)))
		},
	},
	{
		ID: "patches-by-column", Title: "patches of an image column by column", Family: catalogue.Convolution, Kind: catalogue.Layout,
		Explanation: "The second token is the patch below the first one.",
		Fix:         "Flatten (height, width): the second token is the patch to the right.",
		Refs:        []string{"C15"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			image := v.Shape(n.Operands[0])
			if n.Op != "reshape" || !v.Made(n.Operands[0], "convolution") || len(image) != 4 || len(n.Shape) != 3 ||
				image[1] != n.Shape[1] || image[2] == 1 || image[3] == 1 || !usedBy(v, n.Name, "permute") {
				return nil
			}
			d := newDraft(v, n)
			return d.end(n.With(d.permute(n.Operands[0], image, 0, 1, 3, 2)))
		},
	},
}

func isConvolution(n graph.Node) bool {
	return n.Op == "convolution" || n.Op == "convolution_transposed"
}

// flipped returns an edit that reverses every axis of the kernels of an operator.
func flipped(op string) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		if n.Op != op {
			return nil
		}
		d, w, kernel := newDraft(v, n), v.Shape(n.Operands[1]), n.Operands[1]
		for dim := 2; dim < len(w); dim++ {
			if w[dim] > maxOrder {
				return nil
			}
			if w[dim] > 1 {
				kernel = d.flip(kernel, w, dim)
			}
		}
		if kernel == n.Operands[1] {
			return nil
		}
		return d.end(n.Put(1, kernel))
	}
}

// samePadding pads as TensorFlow does: as little as gives ceil(size / stride) elements, and the odd
// one at the end.
func samePadding(v *graph.View, n graph.Node) []graph.Node {
	a := n.Attributes
	if n.Op != "convolution" || slices.Max(a.Stride) == 1 {
		return nil
	}
	x, w := v.Shape(n.Operands[0]), v.Shape(n.Operands[1])
	before, after, padded := make([]int, len(x)), make([]int, len(x)), slices.Clone(x)
	for i, stride := range a.Stride {
		size, wanted := x[2+i], (x[2+i]+stride-1)/stride
		total := max((wanted-1)*stride+a.Dilation[i]*(w[2+i]-1)+1-size, 0)
		before[2+i], after[2+i] = total/2, total-total/2
		padded[2+i] += total
		if a.Padding[i] == 0 || wanted != n.Shape[2+i] {
			return nil
		}
	}
	if slices.Equal(before, after) {
		return nil
	}
	d := newDraft(v, n)
	x1 := d.set("pad", padded, n.Operands[0], func(p *graph.Attributes) {
		p.Before, p.After, p.Mode = before, after, "constant"
	})
	return d.end(n.Put(0, x1).Set(func(p *graph.Attributes) { p.Padding = make([]int, len(a.Stride)) }))
}

// dilationIgnored computes with neighbours, and with less padding, so that the size stays.
func dilationIgnored(v *graph.View, n graph.Node) []graph.Node {
	a := n.Attributes
	if n.Op != "convolution" || slices.Max(a.Dilation) == 1 {
		return nil
	}
	w, padding := v.Shape(n.Operands[1]), slices.Clone(a.Padding)
	for i, dilation := range a.Dilation {
		spare := (dilation - 1) * (w[2+i] - 1)
		if spare%2 != 0 || padding[i] < spare/2 {
			return nil
		}
		padding[i] -= spare / 2
	}
	return nodes(n.Set(func(p *graph.Attributes) {
		p.Padding, p.Dilation = padding, slices.Repeat([]int{1}, len(padding))
	}))
}

// outputPaddingInFront cuts less in front, by the output padding, and as much more at the end.
func outputPaddingInFront(v *graph.View, n graph.Node) []graph.Node {
	a := n.Attributes
	if n.Op != "convolution_transposed" || slices.Max(a.OutputPadding) == 0 {
		return nil
	}
	d, larger, padding := newDraft(v, n), slices.Clone(n.Shape), slices.Clone(a.Padding)
	for i, extra := range a.OutputPadding {
		if padding[i] < extra {
			return nil
		}
		padding[i] -= extra
		larger[2+i] += extra
	}
	result := d.put(larger, n.Set(func(p *graph.Attributes) {
		p.Padding, p.OutputPadding = padding, make([]int, len(padding))
	}))
	for i := range padding {
		result = d.slice(result, larger, 2+i, 0, n.Shape[2+i])
		larger[2+i] = n.Shape[2+i]
	}
	return d.end(n.Pass(result))
}

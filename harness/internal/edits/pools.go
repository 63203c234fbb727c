package edits

import (
	"slices"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/graph"
)

// pools holds mistakes with pools and with the interpolation of images.
var pools = []catalogue.Mistake{
	{
		ID: "upsample-corners", Title: "interpolation with aligned corners", Family: catalogue.Pooling, Kind: catalogue.Altered,
		Explanation: "The corners of both images coincide. The model aligns the edges of the pixels.",
		Fix:         "Use align_corners=False.",
		Refs:        []string{"I01"},
		Edit:        corners(true),
	},
	{
		ID: "upsample-corners-missing", Title: "interpolation without aligned corners", Family: catalogue.Pooling, Kind: catalogue.Altered,
		Explanation: "The edges of the pixels are aligned. The model aligns the corners.",
		Fix:         "Use align_corners=True.",
		Refs:        []string{"I01"},
		Edit:        corners(false),
	},
	{
		ID: "upsample-nearest-centres", Title: "the nearest pixel by the centres of pixels", Family: catalogue.Pooling, Kind: catalogue.Altered,
		Explanation: "The source of pixel i is floor((i + 0.5) scale), where PyTorch's nearest has floor(i scale).",
		Fix:         "Use mode nearest, not nearest-exact.",
		Refs:        []string{"I03"},
		Edit:        mode("nearest", "nearest-exact"),
	},
	{
		ID: "upsample-nearest-corners", Title: "the nearest pixel by the corners of pixels", Family: catalogue.Pooling, Kind: catalogue.Altered,
		Explanation: "The source of pixel i is floor(i scale), where the model has floor((i + 0.5) scale).",
		Fix:         "Use mode nearest-exact, not nearest.",
		Refs:        []string{"I03"},
		Edit:        mode("nearest-exact", "nearest"),
	},
	{
		ID: "upsample-scale-from-sizes", Title: "interpolation by the ratio of the sizes", Family: catalogue.Pooling, Kind: catalogue.Altered,
		Explanation: "The scale is output size / input size, where the model gives a scale_factor.",
		Fix:         "Use the given scale_factor: recompute_scale_factor is False.",
		Refs:        []string{"I06"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "upsample" || n.Attributes.Corners {
				return nil
			}
			steps := ratios(v, n)
			if slices.Equal(steps, n.Attributes.Steps) {
				return nil
			}
			return nodes(n.Set(func(a *graph.Attributes) { a.Steps = steps }))
		},
	},
	{
		ID: "pool-padding-counted", Title: "average pools that count the padding", Family: catalogue.Pooling, Kind: catalogue.Altered,
		Explanation: "The sum of a window at the border is divided by the size of the kernel.",
		Fix:         "Divide by the number of pixels inside the image: count_include_pad is False.",
		Refs:        []string{"I09"},
		Edit:        padding(true),
	},
	{
		ID: "pool-padding-not-counted", Title: "average pools that do not count the padding", Family: catalogue.Pooling, Kind: catalogue.Altered,
		Explanation: "The sum of a window at the border is divided by the number of pixels inside the image.",
		Fix:         "Divide by the size of the kernel: count_include_pad is True, PyTorch's default.",
		Refs:        []string{"I09"},
		Edit:        padding(false),
	},
	{
		ID: "pool-padded-with-zeros", Title: "max pools padded with zeros", Family: catalogue.Pooling, Kind: catalogue.Altered,
		Explanation: "The largest element of a window at the border is at least zero.",
		Fix:         "Pad with -inf.",
		Refs:        []string{"I11"},
		Edit: func(v *graph.View, n graph.Node) []graph.Node {
			if n.Op != "max_pool" || slices.Max(n.Attributes.Padding) == 0 {
				return nil
			}
			d, shape := newDraft(v, n), slices.Clone(v.Shape(n.Operands[0]))
			widths := make([]int, len(shape))
			for i, width := range n.Attributes.Padding {
				shape[2+i] += 2 * width
				widths[2+i] = width
			}
			padded := d.set("pad", shape, n.Operands[0], func(a *graph.Attributes) {
				a.Before, a.After, a.Mode = widths, widths, "constant"
			})
			return d.end(n.With(padded).Set(func(a *graph.Attributes) { a.Padding = make([]int, len(a.Padding)) }))
		},
	},
	{
		ID: "pool-max", Title: "max pools for average pools", Family: catalogue.Pooling, Kind: catalogue.Altered,
		Explanation: "The largest element of each window was taken.",
		Fix:         "Take the mean of each window.",
		Refs:        []string{"I13"},
		Edit: where(isOp("average_pool"), func(n graph.Node) graph.Node {
			n.Op = "max_pool"
			return n.Set(func(a *graph.Attributes) { a.CountPadding = false })
		}),
	},
	{
		ID: "pool-average", Title: "average pools for max pools", Family: catalogue.Pooling, Kind: catalogue.Altered,
		Explanation: "The mean of each window was taken.",
		Fix:         "Take the largest element of each window.",
		Refs:        []string{"I13"},
		Edit: where(isOp("max_pool"), func(n graph.Node) graph.Node {
			n.Op = "average_pool"
			return n.Set(func(a *graph.Attributes) { a.CountPadding = true })
		}),
	},
}

// ratios returns the pixels of the input for each pixel of the output.
func ratios(v *graph.View, n graph.Node) []float64 {
	var steps []float64
	for i, size := range n.Attributes.Size {
		steps = append(steps, float64(v.Shape(n.Operands[0])[2+i])/float64(size))
	}
	return steps
}

func corners(aligned bool) graph.Edit {
	return func(v *graph.View, n graph.Node) []graph.Node {
		smooth := n.Attributes.Mode == "linear" || n.Attributes.Mode == "cubic"
		if n.Op != "upsample" || !smooth || n.Attributes.Corners == aligned {
			return nil
		}
		return nodes(n.Set(func(a *graph.Attributes) { a.Corners, a.Steps = aligned, ratios(v, n) }))
	}
}

func mode(from, to string) graph.Edit {
	return where(func(_ *graph.View, n graph.Node) bool { return n.Op == "upsample" && n.Attributes.Mode == from },
		func(n graph.Node) graph.Node { return n.Set(func(a *graph.Attributes) { a.Mode = to }) })
}

func padding(counted bool) graph.Edit {
	fits := func(_ *graph.View, n graph.Node) bool {
		return n.Op == "average_pool" && slices.Max(n.Attributes.Padding) > 0 && n.Attributes.CountPadding != counted
	}
	return where(fits, func(n graph.Node) graph.Node {
		return n.Set(func(a *graph.Attributes) { a.CountPadding = counted })
	})
}

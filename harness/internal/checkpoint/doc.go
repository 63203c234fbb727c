// Package checkpoint reads files of named tensors: .safetensors, PyTorch's .pt and .pth (zip and
// legacy), NumPy's .npz and .npy.
//
//	f, err := checkpoint.Open("model.pt")
//	if err != nil { ... }
//	defer f.Close()
//	dict, left, err := f.StateDict()
//	_, err = layer.LoadStateDict(dict, attention.Strict)
//
// Nothing in a file is trusted. Every size is checked against the file's own before memory is
// taken for it, and all tensors together may take at most 8 times the file's size and 256 MiB more,
// whatever compression and views make of it. A name that stands twice is an error. A pickle is not
// run: it is read by a machine that knows what a state dict is made of and refuses anything else by
// its name.
package checkpoint

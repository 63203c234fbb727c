// Package checkpoint reads files of named tensors: .safetensors, PyTorch's .pt and .pth (zip and
// legacy), NumPy's .npz and .npy. An index of shards is read as one file.
//
//	f, err := checkpoint.Open("model.pt")
//	if err != nil { ... }
//	defer f.Close()
//	dict, left, err := f.StateDict()
//	_, err = layer.LoadStateDict(dict, attention.Strict)
//
// Nothing in a file is trusted. Every size is checked against the size of the file before memory is
// taken for it. Compression and views may not blow a file up: all tensors together, as float64,
// take at most 8 times its size and 256 MiB more. A name that stands twice is an error. A pickle is
// not run. A small machine reads it that knows the classes of a state dict and refuses every other
// one by its name.
package checkpoint

package checkpoint

import (
	"bytes"
	"strings"
)

// mistaken names a file that people take for weights, and the remedy. It is empty for any other
// file. head is the beginning of the file.
func mistaken(head []byte) string {
	begins := func(with string) bool { return bytes.HasPrefix(head, []byte(with)) }
	switch {
	case len(head) == 0:
		return "the file is empty"
	case begins("version https://git-lfs.github.com/spec/"):
		return "a Git LFS pointer, not the weights: fetch them with git lfs pull"
	case begins("GGUF"):
		return "a GGUF file of llama.cpp, which is not read: give the .safetensors or .bin that it was made of"
	case begins("\x89HDF"):
		return "an HDF5 file, as Keras writes: save the weights as .safetensors or .npz"
	case begins("\x1f\x8b"):
		return "compressed with gzip: unpack it first"
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return "a tar archive: PyTorch wrote them before 0.1.10, and they are not read here"
	}
	text := strings.ToLower(string(bytes.TrimSpace(head)))
	if strings.HasPrefix(text, "<!doctype html") || strings.HasPrefix(text, "<html") {
		return "an HTML page, not weights: the download gave a page instead of the file"
	}
	return ""
}

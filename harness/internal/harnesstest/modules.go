package harnesstest

import "strings"

// IsModule reports whether an embedded case is a captured module: a model or a block.
func IsModule(name string) bool {
	return strings.HasPrefix(name, "models/") || strings.HasPrefix(name, "blocks/")
}

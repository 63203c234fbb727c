// Command difftest reports whether an implementation of attention computes what PyTorch computes,
// and when it does not, which mistake it makes.
package main

import (
	"os"

	"github.com/difftest/difftest/harness/command"
)

func main() {
	os.Exit(command.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

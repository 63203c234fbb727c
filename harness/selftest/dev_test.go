package selftest

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

func TestDev(t *testing.T) {
	e := Quick
	if n, _ := strconv.Atoi(os.Getenv("N")); n > 0 {
		e.Cases = n
	}
	if n, _ := strconv.Atoi(os.Getenv("S")); n > 0 {
		e.Searched = n
	}
	seed, _ := strconv.Atoi(os.Getenv("SEED"))
	start := time.Now()
	r, err := Run(t.Context(), Options{Seed: uint64(seed), Extent: e, Case: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.parts() {
		fmt.Printf("%-12s %+v\n", p.name, p.Counts)
	}
	fmt.Printf("%+v %+v %v\n", r.Variants, r.Detection, time.Since(start))
	for _, f := range r.Findings {
		fmt.Println(f)
	}
	fmt.Println(r.Missed())
}

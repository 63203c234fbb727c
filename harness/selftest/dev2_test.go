package selftest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/difftest/difftest/harness/catalogue"
)

func TestOne(t *testing.T) {
	seed, _ := strconv.Atoi(os.Getenv("SEED"))
	n, _ := strconv.Atoi(os.Getenv("CASE"))
	tr := &trial{name: fmt.Sprint(n), seed: uint64(seed), n: n, searched: false}
	tr.run(t.Context(), Options{judge: referee})
	for _, id := range strings.Fields(os.Getenv("IDS")) {
		var ms []catalogue.Mistake
		for _, one := range strings.Split(id, "+") {
			m, _ := catalogue.ByID(one)
			ms = append(ms, m)
		}
		p, ok := tr.planted(tr.rand(id), ms...)
		fmt.Println(id, ok, p.by, p.maxZ)
		j, _ := referee(tr.c)
		tr.judges = j
		r, err := tr.judged(t.Context(), p, os.Getenv("UNKNOWN"))
		fmt.Println(said(r), err, r.Diagnosis.Reasons)
		for _, m := range r.Diagnosis.Matches {
			fmt.Println(m.ID(), m.Residual, m.MaxZ, m.Next, tr.gives(m, p))
		}
		c := tr.c
		fmt.Printf("%+v %+v pad %v block %v bias %v past %v\n", c.Layer, c.Options, c.Inputs.Padding != nil, c.Inputs.Block != nil, c.Inputs.Bias != nil, c.Inputs.PastKey != nil)
		fmt.Println(c.Inputs.Query.Shape, c.Inputs.Key.Shape)
	}
}

package condition_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/condition"
)

// drawn returns a table of points that fail where fails holds.
func drawn(points int, fails func(x, y, z int) bool) *condition.Table {
	r := rand.New(rand.NewPCG(1, 2))
	t := &condition.Table{Names: []string{"keys", "window", "heads"}}
	for range points {
		x, y, z := 1+r.IntN(80), 1+r.IntN(12), 1+r.IntN(6)
		t.Points = append(t.Points, condition.Point{Values: []int{x, y, z}, Failed: fails(x, y, z)})
	}
	return t
}

func TestSearch(t *testing.T) {
	for want, fails := range map[string]func(x, y, z int) bool{
		"keys mod 8 != 0":                func(x, _, _ int) bool { return x%8 != 0 },
		"keys mod 16 = 5":                func(x, _, _ int) bool { return x%16 == 5 },
		"keys >= 33":                     func(x, _, _ int) bool { return x > 32 },
		"heads = 3":                      func(_, _, z int) bool { return z == 3 },
		"keys mod window = 0":            func(x, y, _ int) bool { return x%y == 0 },
		"window > heads":                 func(_, y, z int) bool { return y > z },
		"window is a power of two":       func(_, y, _ int) bool { return y&(y-1) == 0 },
		"keys >= 17 and heads >= 2":      func(x, _, z int) bool { return x > 16 && z > 1 },
		"heads >= 3 and keys mod 4 != 0": func(x, _, z int) bool { return x%4 != 0 && z > 2 },
		"window >= 4 and keys <= 40 and heads mod 2 = 0": func(x, y, z int) bool { return x <= 40 && y > 3 && z%2 == 0 },
	} {
		table := drawn(2000, fails)
		found := table.Search()
		require.NotEmpty(t, found, want)
		texts := map[string]bool{}
		for _, c := range found {
			texts[c.Text(table.Names)] = true
			for _, p := range table.Points {
				require.Equal(t, p.Failed, c.Holds(p.Values), "%s", c.Text(table.Names))
			}
		}
		require.True(t, texts[want], "%s: %v", want, texts)
		require.Equal(t, want, found[0].Text(table.Names))
	}
}

// What no conjunction describes is not described, and neither is the lack of failures.
func TestSearchFindsNothing(t *testing.T) {
	either := func(x, _, z int) bool { return x%7 == 0 || z == 2 }
	require.Empty(t, drawn(2000, either).Search())
	require.Empty(t, drawn(50, func(int, int, int) bool { return false }).Search())
	require.Empty(t, (&condition.Table{}).Search())

	always := drawn(50, func(int, int, int) bool { return true })
	require.Equal(t, "always", always.Search()[0].Text(always.Names))
}

// Both ends of an interval that is not known yet are candidates: a draw between them decides.
func TestSearchKeepsBothEndsOfAGap(t *testing.T) {
	table := &condition.Table{Names: []string{"keys"}}
	for _, x := range []int{3, 10, 50, 60} {
		table.Points = append(table.Points, condition.Point{Values: []int{x}, Failed: x >= 50})
	}
	texts := map[string]bool{}
	for _, c := range table.Search() {
		texts[c.Text(table.Names)] = true
	}
	require.True(t, texts["keys >= 11"] && texts["keys >= 50"], "%v", texts)
}

// Columns that stand apart are not compared.
func TestApart(t *testing.T) {
	table := drawn(500, func(_, y, z int) bool { return y > z })
	table.Apart = func(x, y int) bool { return x+y == 3 }
	require.Empty(t, table.Search())
}

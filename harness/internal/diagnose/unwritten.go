package diagnose

import (
	"context"
	"fmt"
	"strings"

	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/num"
	"github.com/difftest/difftest/harness/internal/pattern"
)

// Unwritten is a part of the computation that is zero where it should not be, and accounts for all
// that is wrong.
type Unwritten struct {
	ID    string // "heads-not-written"
	Title string // "heads 1-3 are not written"
	Fix   string // a sentence
}

// UnwrittenParts returns the sorts of parts that a diagnosis can find, with titles that name no
// indices.
func UnwrittenParts() []Unwritten {
	var all []Unwritten
	for _, k := range kinds {
		all = append(all, Unwritten{k.id, k.many + " are not written", k.fix})
	}
	return all
}

// notWritten decides if zeros in a block of the output, or of the context before the output
// projection, account for all that is wrong: heads, rows, batch elements or features that nobody
// wrote.
func notWritten(_ context.Context, in *input, _ fit.Result) answer {
	if in.comparison.NonFinite > 0 || len(in.structure.WrongRows) == 0 {
		return answer{}
	}
	if z := zerosOfOutput(in); z.isPart() {
		return z.answer("the output is zero there, and right everywhere else")
	}
	if in.problem.Layer == nil || pattern.Untraceable(in.problem) != "" {
		return answer{}
	}
	c := contextOf(in)
	for _, z := range []zeros{c.zeroRows(), c.zeroFeatures()} {
		if !z.isPart() {
			continue
		}
		if compared := c.without(z); compared.Explained() {
			const text = "the output is as with a context of zeros there, before the output projection, " +
				"and all else right: residual %.2g (max z %.2g)"
			return z.answer(fmt.Sprintf(text, compared.Rel, compared.MaxZ), z.sameAs(c.trace.ValueWidth)...)
		}
	}
	return answer{}
}

// zeros is a block in an array of four dimensions: its indices in each. It is empty if a dimension
// has none.
type zeros struct {
	size [4]int
	at   [4][]int
	what string // the array: "every head", "the output"
}

// The dimensions of [zeros].
const (
	ofBatch = iota
	ofHead
	ofRow
	ofFeature
)

// each visits the indices of a block.
func (z zeros) each(f func(at [4]int)) {
	for _, b := range z.at[ofBatch] {
		for _, h := range z.at[ofHead] {
			for _, i := range z.at[ofRow] {
				for _, c := range z.at[ofFeature] {
					f([4]int{b, h, i, c})
				}
			}
		}
	}
}

// newZeros returns the smallest block around the marked indices. The block is extended along one
// dimension at a time by indices that are blank.
func newZeros(size [4]int, marked, blank func(at [4]int) bool) zeros {
	z := zeros{size: size}
	for d, n := range size {
		z.at[d] = num.UpTo(n)
	}
	var has [4][]bool
	for d, n := range size {
		has[d] = make([]bool, n)
	}
	z.each(func(at [4]int) {
		if marked(at) {
			for d, i := range at {
				has[d][i] = true
			}
		}
	})
	for d := range z.at {
		z.at[d] = num.Where(has[d])
	}
	for d := range z.at {
		for i, is := range has[d] {
			slice := z
			slice.at[d] = []int{i}
			all := !is
			slice.each(func(at [4]int) { all = all && blank(at) })
			has[d][i] = is || all
		}
		z.at[d] = num.Where(has[d])
	}
	return z
}

// isPart reports whether the block is neither empty nor the whole array.
func (z zeros) isPart() bool {
	whole := true
	for d, indices := range z.at {
		if len(indices) == 0 {
			return false
		}
		whole = whole && len(indices) == z.size[d]
	}
	return !whole
}

// kinds are the sorts of blocks, named by the first of these dimensions that is not whole.
var kinds = []struct {
	dimension int
	id        string
	one, many string
	fix       string
}{
	{
		ofHead, "heads-not-written", "head", "heads",
		"See over which heads the kernel runs, and where the result of each head is stored.",
	},
	{
		ofFeature, "features-not-written", "feature", "features",
		"See how many features a step of the inner loop takes, and what becomes of those that are left.",
	},
	{
		ofRow, "rows-not-written", "row", "rows",
		"See over which rows the loop runs, the last tile included, and whether a mask hides every key from them.",
	},
	{
		ofBatch, "batch-elements-not-written", "batch element", "batch elements",
		"See over which batch elements the loop runs.",
	},
}

// unwritten names the block.
func (z zeros) unwritten() Unwritten {
	var u Unwritten
	var words []string
	number := 0
	for _, k := range kinds {
		indices := z.at[k.dimension]
		if len(indices) == z.size[k.dimension] {
			continue
		}
		if u.ID == "" {
			u.ID, u.Fix, number = k.id, k.fix, len(indices)
		}
		word := k.many
		if len(indices) == 1 {
			word = k.one
		}
		words = append(words, word+" "+num.Ranges(indices))
		if k.dimension == ofFeature && len(z.at[ofHead]) == z.size[ofHead] {
			words[len(words)-1] += " of " + z.what
		}
	}
	verb := "are"
	if number == 1 {
		verb = "is"
	}
	u.Title = fmt.Sprintf("%s %s not written", strings.Join(words, " in "), verb)
	return u
}

// answer decides for the block.
func (z zeros) answer(proof string, more ...string) answer {
	u := z.unwritten()
	f := findingf(Dead, "%s: %s", u.Title, proof)
	f.reasons = append(f.reasons, more...)
	f.unwritten = &u
	return answer{finding: f}
}

// sameAs says which parameters of zeros would give the same, for a block of the context.
func (z zeros) sameAs(valueWidth int) []string {
	if len(z.at[ofBatch]) < z.size[ofBatch] || len(z.at[ofRow]) < z.size[ofRow] {
		return nil
	}
	var columns []int
	for _, h := range z.at[ofHead] {
		for _, c := range z.at[ofFeature] {
			columns = append(columns, h*valueWidth+c)
		}
	}
	const text = "an output weight with zeros for its inputs %s would give the same"
	return []string{fmt.Sprintf(text, num.Ranges(columns))}
}

// zerosOfOutput returns the block of all wrong elements if every element in it is zero; otherwise
// the result is empty.
func zerosOfOutput(in *input) zeros {
	shape := in.comparison.WantShape
	n := len(shape)
	size := [4]int{1, 1, shape[n-2], shape[n-1]}
	if in.problem.Layer == nil && n > 2 {
		size[ofHead] = shape[n-3]
	}
	size[ofBatch] = len(in.got) / (size[ofHead] * size[ofRow] * size[ofFeature])
	isZero := func(at [4]int) bool { return in.got[indexIn(size, at)] == 0 }
	isWrong := func(at [4]int) bool { return in.comparison.Z[indexIn(size, at)] > in.comparison.Limits.Z }
	z := newZeros(size, isWrong, isZero)
	z.what = "every head"
	if in.problem.Layer != nil {
		z.what = "the output"
	}
	all := true
	z.each(func(at [4]int) { all = all && isZero(at) })
	if !all {
		return zeros{}
	}
	return z
}

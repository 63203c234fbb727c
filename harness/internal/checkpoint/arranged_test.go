package checkpoint_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/campaign"
	"github.com/difftest/difftest/harness/internal/checkpoint"
)

// drawn returns normal values around a mean in a shape.
func drawn(r *rand.Rand, mean float64, shape ...int) *attention.Tensor {
	t := attention.NewTensor(shape...)
	for i := range t.Data {
		t.Data[i] = float32(mean + 0.1*r.NormFloat64())
	}
	return t
}

// rowsOf returns a matrix or a vector with the rows of other ones, by an index over all their rows.
func rowsOf(order []int, parts ...*attention.Tensor) *attention.Tensor {
	columns := len(parts[0].Data) / parts[0].Shape[0]
	var all []float32
	for _, p := range parts {
		all = append(all, p.Data...)
	}
	out := &attention.Tensor{Shape: slices.Clone(parts[0].Shape)}
	out.Shape[0] = len(order)
	for _, row := range order {
		out.Data = append(out.Data, all[row*columns:(row+1)*columns]...)
	}
	return out
}

// upTo returns from, from+1, ..., to-1.
func upTo(from, to int) (rows []int) {
	for i := from; i < to; i++ {
		rows = append(rows, i)
	}
	return rows
}

// byGroup returns the rows of stacked queries, keys and values group by group.
func byGroup(groups, queries, size int) (rows []int) {
	for g := range groups {
		rows = append(rows, upTo(g*queries*size, (g+1)*queries*size)...)
		for part := range 2 {
			at := (groups*(queries+part) + g) * size
			rows = append(rows, upTo(at, at+size)...)
		}
	}
	return rows
}

// counted4 returns the rows of a grid (outer, first, second, inner) in the order (outer, second,
// first, inner).
func counted4(outer, first, second, inner int) (rows []int) {
	for o := range outer {
		for s := range second {
			for f := range first {
				at := ((o*first+f)*second + s) * inner
				rows = append(rows, upTo(at, at+inner)...)
			}
		}
	}
	return rows
}

func turned(t *attention.Tensor) *attention.Tensor {
	rows, columns := t.Shape[0], t.Shape[1]
	out := attention.NewTensor(columns, rows)
	for i, v := range t.Data {
		out.Data[i%columns*rows+i/columns] = v
	}
	return out
}

// separate and fused are the same attention with three projections and with one: 3 groups of 2
// queries, 7 numbers a head. The queries have 42 rows, keys and values 21.
func separate(r *rand.Rand) attention.StateDict {
	norm := drawn(r, 0, 64)
	for i, v := range norm.Data {
		norm.Data[i] = 1 + 4*v
	}
	return attention.StateDict{
		"q.weight": drawn(r, 0, 42, 16), "k.weight": drawn(r, 0, 21, 16), "v.weight": drawn(r, 0, 21, 16),
		"q.bias": drawn(r, 0, 42), "k.bias": drawn(r, 0, 21), "v.bias": drawn(r, 0, 21),
		"out.weight": drawn(r, 0, 16, 42), "norm.weight": norm,
	}
}

func fused(s attention.StateDict) attention.StateDict {
	return attention.StateDict{
		"qkv.weight": rowsOf(upTo(0, 84), s["q.weight"], s["k.weight"], s["v.weight"]),
		"qkv.bias":   rowsOf(upTo(0, 84), s["q.bias"], s["k.bias"], s["v.bias"]),
		"out.weight": s["out.weight"], "norm.weight": s["norm.weight"],
	}
}

// changed returns a file of a model without some names and with other tensors.
func changed(model, with attention.StateDict, without ...string) attention.StateDict {
	file := maps.Clone(model)
	for _, name := range without {
		delete(file, name)
	}
	maps.Copy(file, with)
	return file
}

// What was done to the tensors of a file is named by its numbers, in a file of float32 and in one
// of bfloat16.
func TestAgainstNamesTheChange(t *testing.T) {
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 7))
		s := separate(r)
		f := fused(s)
		grouped := rowsOf(byGroup(3, 2, 7), f["qkv.weight"])
		groupedBias := rowsOf(byGroup(3, 2, 7), f["qkv.bias"])
		qkv := []string{"q.weight", "k.weight", "v.weight"}
		e := attention.StateDict{"e": drawn(r, 0, 3, 8, 5)}
		permuted := attention.NewTensor(5, 3, 8)
		for i := range permuted.Data {
			permuted.Data[i] = e["e"].Data[i%24*5+i/24]
		}
		minusOne := with(s["norm.weight"], func(i int) float32 { return s["norm.weight"].Data[i] - 1 })
		plusOne := with(s["norm.weight"], func(i int) float32 { return s["norm.weight"].Data[i] + 1 })
		for _, tc := range []struct {
			name        string
			model, file attention.StateDict
			want        string // the findings
		}{
			{
				"split", s, changed(s, attention.StateDict{"qkv.weight": f["qkv.weight"]}, qkv...),
				"k.weight: it is missing; its values are rows 42 to 62 of qkv.weight: split them off\n" +
					"q.weight: it is missing; its values are rows 0 to 41 of qkv.weight: split them off\n" +
					"v.weight: it is missing; its values are rows 63 to 83 of qkv.weight: split them off",
			},
			{
				"split columns", s, changed(s, attention.StateDict{"c": turned(f["qkv.weight"])}, qkv...),
				"k.weight: it is missing; its values are columns 42 to 62 of c: split them off and transpose them\n" +
					"q.weight: it is missing; its values are columns 0 to 41 of c: split them off and transpose " +
					"them\n" +
					"v.weight: it is missing; its values are columns 63 to 83 of c: split them off and transpose them",
			},
			{
				"split groups", s, changed(s, attention.StateDict{"qkv.weight": grouped}, qkv...),
				"k.weight: it is missing; its values are rows 14 to 20 of every 28 of qkv.weight: take them out " +
					"of each block\n" +
					"q.weight: it is missing; its values are rows 0 to 13 of every 28 of qkv.weight: take them " +
					"out of each block\n" +
					"v.weight: it is missing; its values are rows 21 to 27 of every 28 of qkv.weight: take them " +
					"out of each block",
			},
			{
				"split " +
					"biases", s, changed(s, attention.StateDict{"qkv.bias": groupedBias}, "q.bias", "k.bias", "v.bias"),
				"k.bias: it is missing; its values are rows 14 to 20 of every 28 of qkv.bias: take them out of " +
					"each block\n" +
					"q.bias: it is missing; its values are rows 0 to 13 of every 28 of qkv.bias: take them out " +
					"of each block\n" +
					"v.bias: it is missing; its values are rows 21 to 27 of every 28 of qkv.bias: take them out " +
					"of each block",
			},
			{
				"stack", f, changed(s, nil, "q.bias"),
				"qkv.bias: it is missing; 42 of its 84 rows are there, k.bias as rows 42 to 62, v.bias as rows " +
					"63 to 83: " +
					"no tensor proves to hold the others\n" +
					"qkv.weight: it is missing; q.weight, k.weight, v.weight make it up: stack them in this order",
			},
			{
				"stack, and a copy of a part", f, changed(s, attention.StateDict{"again.weight": s["k.weight"]}, "q.bias"),
				"qkv.bias: it is missing; 42 of its 84 rows are there, k.bias as rows 42 to 62, v.bias as rows 63 to 83: " +
					"no tensor proves to hold the others\n" +
					"qkv.weight: it is missing; q.weight, again.weight, v.weight make it up: stack them in this order",
			},
			{
				"stack columns", f, changed(f, attention.StateDict{
					"q": turned(s["q.weight"]), "k": turned(s["k.weight"]), "v": turned(s["v.weight"]),
				}, "qkv.weight"),
				"qkv.weight: it is missing; q, k, v make it up: transpose each, and stack them in this order",
			},
			{
				"stack groups", attention.StateDict{"qkv": grouped}, s,
				"qkv: it is missing; q.weight as rows 0 to 13 of every 28, k.weight as rows 14 to 20 of every 28, " +
					"v.weight as rows 21 to 27 of every 28 make it up: interleave them so",
			},
			{
				"grouped", f, changed(f, attention.StateDict{"qkv.weight": grouped}),
				"qkv.weight: its rows stand in 3 groups of 14, 7 and 7, as queries, keys and values by head, " +
					"where the case has all 42, all 21, all 21: stack them so",
			},
			{
				"apart", attention.StateDict{"qkv.bias": groupedBias}, attention.StateDict{"qkv.bias": f["qkv.bias"]},
				"qkv.bias: it has all 42, all 21, all 21 elements, where the case has them in 3 groups of 14, 7 " +
					"and 7, " +
					"as queries, keys and values by head: stack them so",
			},
			{
				"keys after values", f, changed(f, attention.StateDict{
					"qkv.weight": rowsOf(slices.Concat(upTo(0, 42), upTo(63, 84), upTo(42, 63)), f["qkv.weight"]),
				}),
				"qkv.weight: its rows stand in another order: 0 to 41 hold 0 to 41, 42 to 62 hold 63 to 83, 63 " +
					"to 83 hold 42 to 62",
			},
			{
				"halves", f, changed(f, attention.StateDict{
					"qkv.weight": rowsOf(slices.Concat(upTo(42, 84), upTo(0, 42)), f["qkv.weight"]),
				}),
				"qkv.weight: its two halves are exchanged: row 42 is first",
			},
			{
				"pairs of neighbours", s, changed(s, attention.StateDict{
					"q.weight": rowsOf(counted4(7, 2, 3, 1), s["q.weight"]),
				}),
				"q.weight: its rows count (7, 3, 2) where the case counts (7, 2, 3): reshape them so and " +
					"exchange 3 and 2 " +
					"(pairs of neighbours are the order for interleaved RoPE)",
			},
			{
				"by head", f, changed(f, attention.StateDict{
					"qkv.weight": rowsOf(counted4(1, 3, 4, 7), f["qkv.weight"]),
				}),
				"qkv.weight: its rows count (4, 3, 7) where the case counts (3, 4, 7): reshape them so and " +
					"exchange 4 and 3",
			},
			{
				"axes", e, attention.StateDict{"e": permuted}, "e: its axes are permuted: permute(1, 2, 0) of " +
					"it is right",
			},
			{
				"w - 1", s, changed(s, attention.StateDict{"norm.weight": minusOne}),
				"norm.weight: it is stored as w - 1, as Gemma stores the weights of norms: add 1",
			},
			{
				"w + 1", s, changed(s, attention.StateDict{"norm.weight": plusOne}),
				"norm.weight: it is stored as w + 1: subtract 1",
			},
			{
				"in a circle", s, changed(s, attention.StateDict{
					"k.bias": s["v.bias"], "v.bias": drawn(r, 0, 21),
				}),
				"k.bias: it has the values of v.bias: save them under that key\nv.bias: k.bias has its values: " +
					"rename that key",
			},
			{
				"copied", s, changed(s, attention.StateDict{"k.bias": s["v.bias"]}),
				"k.bias: it has the values of v.bias, which are under v.bias too: load its own",
			},
			{
				"transposed and " +
					"renamed", s, changed(s, attention.StateDict{"o": turned(s["out.weight"])}, "out.weight"),
				"out.weight: it is missing; o is its transpose: rename that key and transpose it",
			},
			{
				"exchanged and transposed", s, changed(s, attention.StateDict{
					"k.weight": turned(s["v.weight"]), "v.weight": turned(s["k.weight"]),
				}),
				"k.weight: it has the values of v.weight, transposed\nv.weight: it has the values of k.weight, " +
					"transposed",
			},
			{
				"tied", attention.StateDict{"embed": s["q.weight"], "head": s["q.weight"]},
				attention.StateDict{"embed": s["q.weight"]},
				"head: it is missing; embed has its values too (tied weights): load them in both places",
			},
			{
				"more rows", attention.StateDict{"embed": s["q.weight"]},
				attention.StateDict{"embed": rowsOf(upTo(0, 63), s["q.weight"], s["k.weight"])},
				"embed: its values are rows 0 to 41 of embed: cut off the others",
			},
		} {
			t.Run(fmt.Sprintf("%s/%d", tc.name, seed), func(t *testing.T) {
				for name, file := range map[string]*checkpoint.File{
					"float32": fileOf(t, tc.file), "bfloat16": bfloat16File(t, tc.file),
				} {
					c, err := file.Against(parameters(tc.model))
					require.NoError(t, err)
					require.Equal(t, checkpoint.Naming{}, c.Naming)
					require.Equal(t, tc.want, findingsText(c), name)
				}
			})
		}
	}
}

// findingsText writes findings one a line, without the sizes of other values.
func findingsText(c *checkpoint.Comparison) string {
	var lines []string
	for _, f := range c.Findings {
		text, _, _ := strings.Cut(f.Text, ": rel ")
		lines = append(lines, strings.Join(f.Names, ", ")+": "+text)
	}
	return strings.Join(lines, "\n")
}

// bfloat16File writes a state dict rounded to bfloat16.
func bfloat16File(t *testing.T, dict attention.StateDict) *checkpoint.File {
	var entries []string
	var data []byte
	for _, name := range slices.Sorted(maps.Keys(dict)) {
		at := len(data)
		for _, v := range dict[name].Data {
			b := math.Float32bits(v)
			data = binary.LittleEndian.AppendUint16(data, uint16((b+0x7fff+b>>16&1)>>16))
		}
		shape := strings.ReplaceAll(strings.Trim(fmt.Sprint(dict[name].Shape), "[]"), " ", ",")
		entries = append(entries, entry(name, "BF16", shape, at, len(data)))
	}
	return newFile(t, safetensors(header(entries...), data))
}

// Numbers that only look alike prove nothing: no change is named for tensors of other numbers.
func TestAgainstNamesNothingElse(t *testing.T) {
	campaign.SkipShort(t)
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 8))
		s := separate(r)
		s["ln1"], s["ln2"] = with(s["norm.weight"], func(int) float32 { return 1 }), drawn(r, 1, 64)
		for i := range s["ln2"].Data { // trained a little: in bfloat16 all are 1
			s["ln2"].Data[i] = 1 + (s["ln2"].Data[i]-1)/100
		}
		s["few"] = attention.NewTensor(2)
		copy(s["few"].Data, []float32{0.25, 0.5})
		for what, change := range map[string]func(v float32, i int) float32{
			"tuned":       func(v float32, _ int) float32 { return v + float32(1e-3*r.NormFloat64()) },
			"drawn again": func(float32, int) float32 { return float32(0.1 * r.NormFloat64()) },
			"near 1":      func(float32, int) float32 { return float32(1 + 1e-3*r.NormFloat64()) },
			"counted":     func(_ float32, i int) float32 { return float32(i) },
			"few values":  func(_ float32, i int) float32 { return float32([]int{i, r.IntN(2)}[min(i/2, 1)]) },
			"one wrong": func(v float32, i int) float32 {
				if i == 1 {
					return v + 1
				}
				return v
			},
			"rounded badly": func(v float32, _ int) float32 {
				return math.Float32frombits(math.Float32bits(v)&^0x3ffff | 0x20000)
			},
		} {
			for _, key := range slices.Sorted(maps.Keys(s)) {
				c, err := fileOf(t, changed(s, attention.StateDict{
					key: with(s[key], func(i int) float32 { return change(s[key].Data[i], i) }),
				})).Against(parameters(s))
				require.NoError(t, err)
				require.LessOrEqual(t, len(c.Findings), 1)
				for _, f := range c.Findings {
					require.Equal(t, []string{key}, f.Names)
					require.True(t, strings.HasPrefix(f.Text, "it has other values"), "%s, %s: %s", key, what, f.Text)
				}
				if what != "rounded badly" && what != "few values" {
					require.Len(t, c.Findings, 1, "%s, %s", key, what)
				}
			}
		}
	}
}

// Repeated numbers agree with themselves, and prove nothing.
func TestAgainstEqualNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	ones := func() *attention.Tensor {
		return with(attention.NewTensor(16), func(int) float32 { return 1 })
	}
	model := attention.StateDict{
		"a": ones(), "b": ones(), "c": attention.NewTensor(16), "d": attention.NewTensor(16), "w": drawn(r, 0, 16, 16),
	}
	c, err := fileOf(t, model).Against(parameters(model))
	require.NoError(t, err)
	require.Empty(t, c.Findings)
	require.Equal(t, []string{"a", "b", "c", "d"}, c.Equal)

	c, err = fileOf(t, changed(model, attention.StateDict{
		"a": model["c"], "c": model["a"], "x": model["d"], "w": attention.NewTensor(16, 16),
	}, "d")).Against(parameters(model))
	require.NoError(t, err)
	require.Equal(t, "a: it has other values; the case has only 1, which proves nothing more\n"+
		"c: it has other values; the case has only 0, which proves nothing more\n"+
		"w: it looks like it was never loaded: all zeros", findingsText(c))
	require.Equal(t, []string{"b"}, c.Equal)
}

package checkpoint_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/checkpoint"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
)

func TestTwins(t *testing.T) {
	w := model()
	w["tied"] = w["W_Q"]
	w["also"] = attention.NewTensor(12) // all zero, like "zero"
	w["flat"] = &attention.Tensor{Shape: []int{400}, Data: w["W_Q"].Data}
	twins, err := fileOf(t, w).Twins()
	require.NoError(t, err)
	require.Equal(t, [][]string{{"W_Q", "tied"}}, twins)
}

// Tensors of the same values are twins, whatever the order of their dimensions in the storage is.
func TestTwinsOfAnyOrder(t *testing.T) {
	bytesOf := func(values ...float32) string { return string(harnesstest.NPYFile(1, "", values)[10:]) }
	first, second := storageOf("FloatStorage", "0", 12), storageOf("FloatStorage", "1", 6)
	file := archive(
		"m/data.pkl", saved(dictOf(
			text("rows"), tensorOf(first, 0, numbers(3, 2), numbers(2, 1)),
			text("turned"), tensorOf(second, 0, numbers(3, 2), numbers(1, 3)),
			text("stored alike"), tensorOf(first, 0, numbers(3, 2), numbers(1, 3)),
			text("cube"), tensorOf(first, 0, numbers(3, 2, 2), numbers(1, 6, 3)),
			text("cube again"), tensorOf(first, 0, numbers(3, 2, 2), numbers(1, 6, 3)),
			text("zeros"), tensorOf(first, 6, numbers(2, 3), numbers(1, 2)),
			text("more zeros"), tensorOf(first, 6, numbers(2, 3), numbers(1, 2)),
		)), "m/version", "3\n",
		"m/data/0", bytesOf(1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0), "m/data/1", bytesOf(1, 3, 5, 2, 4, 6),
	)
	f, err := readAll(file)
	require.NoError(t, err)
	for range 2 { // the first time, no statistics are known
		twins, err := f.Twins()
		require.NoError(t, err)
		require.Equal(t, [][]string{{"cube", "cube again"}, {"rows", "turned"}}, twins)
		for _, tensor := range f.Tensors {
			_, err := tensor.Statistics()
			require.NoError(t, err)
		}
	}
}

// watched is a file that knows where it was read.
type watched struct {
	*bytes.Reader
	offsets []int64
}

func (w *watched) ReadAt(p []byte, at int64) (int, error) {
	w.offsets = append(w.offsets, at)
	return w.Reader.ReadAt(p, at)
}

// Statistics read a file in Fortran order as the file is stored. A dimension of 1 has no order.
func TestStatisticsOfFortranOrder(t *testing.T) {
	for _, shape := range [][]int{{2100, 1, 2200}, {1, 7, 30, 400}, {70000, 3}, {80000}, {0, 4}, {}} {
		n, err := attention.Size(shape)
		require.NoError(t, err)
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(i%1000 - 200)
		}
		header := harnesstest.NPYHeader("<f4", true, shape)
		file := harnesstest.NPYFile(1, header, values)
		from := &watched{Reader: bytes.NewReader(file)}
		f, err := checkpoint.New(from, int64(len(file)))
		require.NoError(t, err)
		from.offsets = nil
		s, err := f.Tensors[0].Statistics()
		require.NoError(t, err)
		require.True(t, slices.IsSorted(from.offsets), "%v", shape)
		file = harnesstest.NPYFile(1, harnesstest.NPYHeader("<f4", false, []int{n}), values)
		f, err = checkpoint.New(bytes.NewReader(file), int64(len(file)))
		require.NoError(t, err)
		want, err := f.Tensors[0].Statistics()
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(want), fmt.Sprint(s), "%v", shape)
	}
}

func TestStatistics(t *testing.T) {
	statistics := func(values ...float32) (checkpoint.Statistics, error) {
		w := &attention.Tensor{Shape: []int{len(values)}, Data: values}
		return fileOf(t, attention.StateDict{"w": w}).Tensor("w").Statistics()
	}
	s, err := statistics(0, 1, -3, 0, float32(math.NaN()), 2)
	require.NoError(t, err)
	want := checkpoint.Statistics{Elements: 6, Zeros: 2, NonFinite: 1, Mean: 0, Std: math.Sqrt(14.0 / 5), Largest: 3}
	require.Equal(t, want, s)
	s, err = statistics(float32(math.Inf(1)))
	require.NoError(t, err)
	require.Equal(t, 1, s.NonFinite)
	require.True(t, math.IsNaN(s.Mean) && math.IsNaN(s.Std) && math.IsNaN(s.Largest))
}

// No parameter of a case looks untouched, except two that were drawn so on purpose.
func TestParametersOfCasesDoNotLookUntouched(t *testing.T) {
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	looked := map[string][]string{}
	count := 0
	for _, name := range names {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		if len(c.State) == 0 {
			continue
		}
		f := fileOf(t, c.State)
		count += len(f.Tensors)
		for _, tensor := range f.Tensors {
			s, err := tensor.Statistics()
			require.NoError(t, err)
			if s.Origin != "" {
				looked[s.Origin] = append(looked[s.Origin], name+" "+tensor.Name)
			}
		}
		found, err := f.Against(parameters(c.State))
		require.NoError(t, err)
		require.Empty(t, found.Findings, name)
		require.Equal(t, checkpoint.Naming{}, found.Naming, name)
	}
	require.Greater(t, count, 300)
	require.Equal(t, map[string][]string{
		"as torch.randn draws them: mean 0, standard deviation 1": {
			"mha/hot in_proj_weight", "mha/hot out_proj.weight",
		},
	}, looked)
}

// Blocks give the moments of the whole tensor. The formulas are the textbook's, in two passes.
func TestStatisticsOfManyBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	values := make([]float32, 3<<16+77)
	for i := range values {
		values[i] = float32(r.NormFloat64())
		if i > 1<<17 {
			values[i] += 3 // the last blocks have another mean
		}
	}
	values[5], values[1<<17] = 0, float32(math.NaN())
	w := &attention.Tensor{Shape: []int{len(values)}, Data: values}
	s, err := fileOf(t, attention.StateDict{"w": w}).Tensor("w").Statistics()
	require.NoError(t, err)
	var sum, squares, largest float64
	for _, v := range values {
		if v == v {
			sum += float64(v)
			largest = max(largest, math.Abs(float64(v)))
		}
	}
	n := float64(len(values) - 1)
	for _, v := range values {
		if v == v {
			squares += (float64(v) - sum/n) * (float64(v) - sum/n)
		}
	}
	require.Equal(t, []int{len(values), 1, 1}, []int{s.Elements, s.Zeros, s.NonFinite})
	require.InEpsilon(t, sum/n, s.Mean, 1e-12)
	require.InEpsilon(t, math.Sqrt(squares/n), s.Std, 1e-12)
	require.Equal(t, largest, s.Largest)
}

// What randn draws is recognised over many blocks, by its fourth moment too. Numbers with the same
// mean and deviation and another kurtosis are not.
func TestStandardNormalOverManyBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	origin := func(draw func() float64) string {
		w := attention.NewTensor(3<<16, 1)
		for i := range w.Data {
			w.Data[i] = float32(draw())
		}
		slices.Sort(w.Data) // so that the blocks differ in every moment
		s, err := fileOf(t, attention.StateDict{"w": w}).Tensor("w").Statistics()
		require.NoError(t, err)
		return s.Origin
	}
	require.Equal(t, "as torch.randn draws them: mean 0, standard deviation 1", origin(r.NormFloat64))
	require.Empty(t, origin(func() float64 { return math.Sqrt(12) * (r.Float64() - 0.5) }))
	require.Equal(t, "every element is 0.1", origin(func() float64 { return 0.1 }))
}

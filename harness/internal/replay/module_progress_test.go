package replay

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/progress"
)

// heard collects what a search tells about its progress.
type heard struct {
	mu     sync.Mutex
	stages map[string]int // the total of each stage
}

func (h *heard) listen(t *testing.T, ctx context.Context) context.Context {
	h.stages = map[string]int{}
	return progress.With(ctx, func(u progress.Update) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.stages[u.Stage] = u.Total
		assert.Less(t, u.Done, u.Total, u.Stage)
		assert.GreaterOrEqual(t, u.Done, 0, u.Stage)
	})
}

// unexplained returns an output that no mistake gives.
func unexplained(m *Module) []float64 {
	got := make([]float64, len(m.Truth.Value))
	for i, x := range m.Truth.Value {
		got[i] = float64(float32(x + 0.03*x*x*x + 0.01*float64(i%7)))
	}
	return got
}

// searches are the searches in a graph, each with the stages that it tells when it finds nothing.
var searches = []struct {
	model  string
	stages []string
	find   func(m *Module, ctx context.Context, got []float64) Cut
}{
	{
		"deep", []string{"mistakes made everywhere", "mistakes made in one layer", "mistakes made in one module"},
		func(m *Module, ctx context.Context, got []float64) Cut { return second(m.Find(ctx, got)) },
	},
	{
		"deep", []string{"other numbers everywhere", "other numbers in one layer"},
		func(m *Module, ctx context.Context, got []float64) Cut { return second(m.FindNumbers(ctx, got)) },
	},
	{
		"deep", []string{"parameters in other places"},
		func(m *Module, ctx context.Context, got []float64) Cut { return second(m.FindParameters(ctx, got)) },
	},
	{
		"deep", []string{"multiples of parameters"},
		func(m *Module, ctx context.Context, got []float64) Cut { return second(m.ParameterFactors(ctx, got)) },
	},
	{
		"deep", []string{"mistakes to be made at once", "two mistakes at once"},
		func(m *Module, ctx context.Context, got []float64) Cut { return second(m.FindPairs(ctx, got)) },
	},
	{
		"deep", []string{"two numbers at once"},
		func(m *Module, ctx context.Context, got []float64) Cut { return second(m.FindTwoNumbers(ctx, got)) },
	},
	{
		"upscaler", []string{"other values of parameters"},
		func(m *Module, ctx context.Context, got []float64) Cut { return second(m.FindValues(ctx, got)) },
	},
}

func second[T any](_ T, cut Cut) Cut { return cut }

// Every search tells how far it is, and is cut off when its context ends.
func TestSearchesTellTheirProgress(t *testing.T) {
	for _, s := range searches {
		name := strings.Join(s.stages, ", ")
		m := moduleOf(t, os.DirFS("../edits/testdata"), "models/"+s.model)
		got := unexplained(m)
		var h heard
		require.Empty(t, s.find(m, h.listen(t, t.Context()), got), name)
		for _, stage := range s.stages {
			assert.Positive(t, h.stages[stage], stage)
		}
		// The context ends while the search works.
		midway, cancel := context.WithCancel(t.Context())
		cut := s.find(m, progress.With(midway, func(u progress.Update) {
			if u.Stage == s.stages[len(s.stages)-1] {
				cancel()
			}
		}), got)
		require.NotEmpty(t, cut, name)
		cancel()
	}
}

// The nearest replays of a large graph are counted, too, and cut off.
func TestExactReplaysTellTheirProgress(t *testing.T) {
	m := moduleIn(t, "models/bert")
	m.large = 0
	missing := edits.Mistakes[slices.IndexFunc(edits.Mistakes, func(k catalogue.Mistake) bool {
		return k.ID == "positions-missing" // another mistake gives almost the same output
	})]
	got := slices.Clone(m.outputOf(m.at(missing, everywhere)[0]).Data)
	for i := range got {
		got[i] += 0.01 * float64(i%7)
	}
	var h heard
	_, cut := m.made(h.listen(t, t.Context()), everywhere, "mistakes", map[string]hypothesis{}, got)
	require.Empty(t, cut)
	require.Positive(t, h.stages["nearest mistakes"])
	ended, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, cut = m.made(progress.With(ended, func(u progress.Update) {
		if strings.HasPrefix(u.Stage, "nearest") {
			cancel()
		}
	}), everywhere, "mistakes", map[string]hypothesis{}, got)
	require.Regexp(t, `^\d+ of \d+ mistakes were not tried$`, string(cut))
}

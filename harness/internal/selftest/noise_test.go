package selftest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/replay"
)

// A judge that blames random numbers on anything misses the bar.
func TestNoiseThatIsBlamed(t *testing.T) {
	for name, d := range map[string]diagnose.Diagnosis{
		"scale-missing":             named(diagnose.MissingFeature, "scale-missing"),
		"scale 0":                   {Numbers: []replay.NumberMatch{{Number: catalogue.Numbers[0]}}},
		"another of the value bias": {Fits: []fit.Fit{{Freed: "the value bias", Holds: true}}},
		"heads 1-3 are not written": {Unwritten: &diagnose.Unwritten{Title: "heads 1-3 are not written"}},
		"":                          {Class: diagnose.Unclear, Fits: []fit.Fit{{Freed: "the value bias"}}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &trial{seed: 1, n: 2, c: drawCase(1, 2)}
			tr.problem = oracle.FromCase(tr.c)
			tr.truth = tr.problem.Run().Expected()
			without, err := invented(func(string) diagnose.Diagnosis { return d })(tr.c)
			require.NoError(t, err)
			tr.without = without
			require.NoError(t, tr.judgeNoise(t.Context(), Extent{Noises: 2}))
			r := &Result{Noise: tr.found.Noise, Findings: tr.found.Findings}
			require.Equal(t, 2*len(noisyParts), r.Noise.Planted)
			if name == "" {
				require.Zero(t, r.Noise.Blamed)
				return
			}
			require.Greater(t, r.Noise.Blamed, len(noisyParts), "the case sees some of them")
			const missed = "noise: %d outputs were blamed on something, want none"
			require.Contains(t, r.Missed(), fmt.Sprintf(missed, r.Noise.Blamed))
			last := r.Findings[len(r.Findings)-1]
			require.Equal(t, "noise", last.Part)
			require.Contains(t, last.Said, name)
		})
	}
}

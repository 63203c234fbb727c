package judge

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/oracle"
	"github.com/difftest/difftest/harness/internal/report"
)

// A model that PyTorch computed in a lower precision passes if it is declared. It is classed as
// rounding if not. A mistake in it fails, and is named. A case without the noise of the declared
// precision is refused.
func TestModelsInLowerPrecision(t *testing.T) {
	c, err := fixture.Read(os.DirFS(plantedModels), "models/scaled")
	require.NoError(t, err)
	for name, precision := range map[string]oracle.Precision{"bfloat16": oracle.BFloat16, "float16": oracle.Float16} {
		outputs := storedOutputs(t, plantedModels+"/scaled-"+name+".npy", 2)
		right, wrong := outputs[0], outputs[1]

		low, err := New(t.Context(), c, precision)
		require.NoError(t, err)
		r := judgeModel(t, low, c, right)
		assert.Equal(t, report.Pass, r.Verdict, "%s: max z %.3g", name, r.Comparison.MaxZ)
		r = judgeModel(t, low, c, wrong)
		assert.Equal(t, report.Fail, r.Verdict)
		assert.Equal(t, []string{"norm-weight-missing"}, namesOf(r), r.Diagnosis.Reasons)

		undeclared, err := New(t.Context(), c, oracle.Precision{})
		require.NoError(t, err)
		r = judgeModel(t, undeclared, c, right)
		assert.Equal(t, diagnose.Rounding, r.Diagnosis.Class, r.Diagnosis.Reasons)
		assert.Contains(t, strings.Join(r.Diagnosis.Reasons, " "), "--precision "+name)
	}
	bare := *c
	bare.SigmaIn, bare.Graph = nil, nil
	_, err = New(t.Context(), &bare, oracle.Float16)
	require.ErrorContains(t, err, "models/scaled: the case does not hold the noise of the declared precision")
	_, err = New(t.Context(), &bare, oracle.TensorFloat32)
	require.ErrorContains(t, err, "models/scaled: the noise of the declared precision is not known, because the case has no graph")
}

// A model whose products PyTorch computed with rounded factors passes if tf32 is declared. If not,
// the report says which rounding it has. A mistake in it fails, and is named.
func TestModelsWithRoundedFactors(t *testing.T) {
	c, err := fixture.Read(os.DirFS(plantedModels), "models/scaled")
	require.NoError(t, err)
	low, err := New(t.Context(), c, oracle.TensorFloat32)
	require.NoError(t, err)
	undeclared, err := New(t.Context(), c, oracle.Precision{})
	require.NoError(t, err)
	outputs := storedOutputs(t, plantedModels+"/scaled-tf32.npy", 2)

	r := judgeModel(t, low, c, outputs[0])
	assert.Equal(t, report.Pass, r.Verdict, "max z %.3g, rms z %.3g", r.Comparison.MaxZ, r.Comparison.RMSZ)
	assert.Greater(t, r.Comparison.RMSZ, 0.4)
	r = judgeModel(t, low, c, outputs[1])
	assert.Equal(t, []string{"norm-weight-missing"}, namesOf(r), r.Diagnosis.Reasons)

	for file, text := range map[string]string{"tf32": "rounded to 11 bits", "tf32-truncated": "truncated to 11 bits"} {
		right := storedOutputs(t, plantedModels+"/scaled-"+file+".npy", 2)[0]
		r := judgeModel(t, undeclared, c, right)
		assert.Equal(t, diagnose.Rounding, r.Diagnosis.Class, r.Diagnosis.Reasons)
		assert.Contains(t, r.Diagnosis.Reasons[0], text)
		assert.Empty(t, namesOf(r))
	}
}

// Errors of the size of rounding that have another cause are not taken for rounded factors.
func TestErrorsThatAreNoRoundedFactors(t *testing.T) {
	c, err := fixture.Read(os.DirFS(plantedModels), "models/scaled")
	require.NoError(t, err)
	referee, err := New(t.Context(), c, oracle.Precision{})
	require.NoError(t, err)
	lowest := storedOutputs(t, plantedModels+"/scaled-tf32.npy", 2)[0]
	off := slices.Clone(c.Truth)
	for i := range off { // the same errors at other elements
		j := (i + len(off)/2) % len(off)
		off[i] += lowest[j] - c.Truth[j]
	}
	r := judgeModel(t, referee, c, off)
	assert.Equal(t, report.Fail, r.Verdict)
	assert.NotContains(t, strings.Join(r.Diagnosis.Reasons, " "), "matrix products")
}

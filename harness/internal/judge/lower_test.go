package judge

import (
	"os"
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
	_, err = New(t.Context(), c, oracle.TensorFloat32)
	require.ErrorContains(t, err, "models/scaled: the case does not hold the noise of the declared precision")
}

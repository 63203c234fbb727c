package transformer_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention/transformer"
)

// The values were printed by PyTorch 2.15.0: torch.nn.functional.gelu, silu and relu in float64.
func TestActivations(t *testing.T) {
	x := vector(-3, -1, 0, 0.5, 2)
	for name, want := range map[transformer.Activation][]float32{
		transformer.GELU:     {-0.0040496940948, -0.1586552539314, 0, 0.3457312306370, 1.9544997361036},
		transformer.GELUTanh: {-0.0036373920818, -0.1588080093918, 0, 0.3457140250976, 1.9545976940877},
		transformer.SiLU:     {-0.1422776195327, -0.2689414213700, 0, 0.3112296656009, 1.7615941559558},
		transformer.ReLU:     {0, 0, 0, 0.5, 2},
	} {
		require.InDeltaSlice(t, want, name.Apply(x).Data, 1e-7, "%s", name)
	}
	require.Equal(t, transformer.GELUTanh.Apply(x), transformer.GELUNew.Apply(x))
	require.Equal(t, transformer.SiLU.Apply(x), transformer.Swish.Apply(x))
	require.Panics(t, func() { transformer.Activation("tanh").Apply(x) })
}

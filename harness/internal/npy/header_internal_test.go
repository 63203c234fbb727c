package npy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The quick reader of NumPy's own spelling reads nothing that the reader of any dictionary refuses,
// and reads the same.
func TestNumPysHeaderIsReadQuickly(t *testing.T) {
	for text, quick := range map[string]bool{
		"{'descr': '<f4', 'fortran_order': False, 'shape': (5, 9, 40), }       \n": true,
		"{'descr': '|b1', 'fortran_order': True, 'shape': (), }\n":                 true,
		"{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }\n":              true,
		"{'descr': '<f8', 'fortran_order': False, 'shape': (-3,), }\n":             false,
		"{'descr': '<f4', 'fortran_order': None, 'shape': (5,), }\n":               false,
		"{'descr': '<f4', 'fortran_order': False, 'shape': (5L,), }\n":             false,
		"{'descr': '<f4', 'fortran_order': False, 'shape': (5,), } \t\n":           false,
		"{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }":                false,
		"{'descr': '<f4', 'fortran_order': False, 'shape': (5,), 'x': 1, }\n":      false,
		"{'descr': '<f\n', 'fortran_order': False, 'shape': (5,), }\n":             false,
		"{'descr': '<'f', 'fortran_order': False, 'shape': (5,), }\n":              false,
		"{'fortran_order': False, 'descr': '<f4', 'shape': (5,), }\n":              false,
		"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (5,), }\n":     false,
		"{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }\n\n":            false,
		"": false,
	} {
		values, ok := numPyValues(text)
		require.Equal(t, quick, ok, text)
		if quick {
			want, err := dictValues(text)
			require.NoError(t, err)
			require.Equal(t, want, values)
		}
	}
}

// No text is read quickly and refused, or read in another way, otherwise.
func FuzzNumPysHeader(f *testing.F) {
	f.Add("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 9, 40), }       \n")
	f.Add("{'descr': '<f4', 'fortran_order': True, 'shape': (), }\n")
	f.Fuzz(func(t *testing.T, text string) {
		if values, ok := numPyValues(text); ok {
			want, err := dictValues(text)
			require.NoError(t, err)
			require.Equal(t, want, values)
		}
	})
}

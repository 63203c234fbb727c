package subject_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/fixture"
	"github.com/difftest/difftest/harness/subject"
)

var builtIn = subject.Subject{
	Name: "attention",
	SDPA: attention.SDPA,
	MHA:  func(c attention.Config) (subject.Module, error) { return attention.New(c) },
}

// probed makes the probes of a case, whether the subject fails it or not.
func probed(t *testing.T, s subject.Subject, name string) []subject.Probe {
	t.Helper()
	c := readCase(t, name)
	r := s.Run(c)
	require.NoError(t, r.Err)
	return subject.Probes(t.Context(), s, c, r.Output)
}

// A correct subject is never caught at anything, on any case.
func TestProbesOfACorrectSubject(t *testing.T) {
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	for _, name := range names {
		c := readCase(t, name)
		r := builtIn.Run(c)
		require.NoError(t, r.Err)
		assert.Empty(t, subject.Probes(context.Background(), builtIn, c, r.Output), name)
		assert.Empty(t, subject.Probes(context.Background(), subject.OneByOne(builtIn.Run), c, r.Output), name)
	}
}

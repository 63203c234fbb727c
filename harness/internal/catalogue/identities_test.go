package catalogue_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/harnesstest"
	"github.com/difftest/difftest/harness/internal/oracle"
)

// An identity gives the right output on every case that it applies to, up to float64 rounding. The
// noise of every precision is far larger.
func TestIdentitiesAreNoMistakes(t *testing.T) {
	applied, moved := map[string]int{}, map[string]bool{}
	for _, p := range rightProblems(t) {
		var want []float64
		for _, identity := range catalogue.Identities {
			other := p.Clone()
			if !identity.Plant(other) {
				continue
			}
			applied[identity.ID]++
			if want == nil {
				want = p.Run().Value
			}
			got := other.Run().Value
			requireAlike(t, identity.ID, got, want)
			moved[identity.ID] = moved[identity.ID] || !slices.Equal(got, want)
		}
	}
	for _, identity := range catalogue.Identities {
		require.Positive(t, applied[identity.ID], "%s was never tried", identity.ID)
		// e^-1e9 is exactly 0, and twice 0 or -inf is exact. All others change the last bits.
		exact := identity.ID == "mask-minus-billion" || identity.ID == "mask-added-twice"
		require.NotEqual(t, exact, moved[identity.ID], "%s: changes bits: %t", identity.ID, moved[identity.ID])
	}
}

// rightProblems returns the problems of the committed cases. It adds two features that no case has:
// norms whose weights are one number, and an additive mask of only 0 and -inf.
func rightProblems(t *testing.T) []*oracle.Problem {
	t.Helper()
	names := harnesstest.AttentionCases(t)
	var all []*oracle.Problem
	for _, name := range names {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		p := oracle.FromCase(c)
		all = append(all, p)
		if c.Layer.QKNorm != nil {
			constant := p.Clone()
			for i := range constant.Layer.QueryNorm.Weight {
				constant.Layer.QueryNorm.Weight[i], constant.Layer.KeyNorm.Weight[i] = 0.7, 1.3
			}
			all = append(all, constant)
		}
		if p.Allow != nil {
			added := p.Clone()
			added.Allow = nil
			added.Bias = &oracle.Array{Shape: p.Allow.Shape, Value: make([]float64, len(p.Allow.Data))}
			for i, allowed := range p.Allow.Data {
				if !allowed {
					added.Bias.Value[i] = math.Inf(-1)
				}
			}
			all = append(all, added)
		}
	}
	return all
}

// requireAlike compares outputs to 1e-11 of the largest expected value. NaN equals NaN.
func requireAlike(t *testing.T, id string, got, want []float64) {
	t.Helper()
	largest, worst := 0.0, 0.0
	for i, w := range want {
		if math.IsNaN(w) && math.IsNaN(got[i]) {
			continue
		}
		largest = math.Max(largest, math.Abs(w))
		worst = math.Max(worst, math.Abs(got[i]-w)) // NaN if either is NaN
	}
	if !(worst <= 1e-11*largest) {
		t.Errorf("%s differs by %.3g of the largest value", id, worst/largest)
	}
}

func TestIdentitiesAreNamedLikeMistakes(t *testing.T) {
	seen := map[string]bool{}
	for _, identity := range catalogue.Identities {
		require.Regexp(t, `^[a-z0-9]+(-[a-z0-9]+)*$`, identity.ID)
		_, isMistake := catalogue.ByID(identity.ID)
		require.False(t, isMistake || seen[identity.ID], identity.ID)
		seen[identity.ID] = true
		require.True(t, strings.HasSuffix(identity.Why, "."), identity.ID)
		require.NotEmpty(t, identity.Title, identity.ID)
	}
	_, ok := catalogue.IdentityByID("none-such")
	require.False(t, ok)
	found, ok := catalogue.IdentityByID("alibi-by-key")
	require.True(t, ok)
	require.Equal(t, []string{"F05s"}, found.Refs)
}

// requireIdentity requires that a changed problem gives the right output, but not its last bits:
// those show that the computation changed.
func requireIdentity(t *testing.T, right, changed *oracle.Problem, name string) {
	t.Helper()
	was, is := right.Run().Value, changed.Run().Value
	require.NotEqual(t, was, is, "%s: nothing changed", name)
	require.LessOrEqual(t, apart(is, was), 1e-12, name)
}

// After RoPE scores depend on distances alone. All positions may start elsewhere, if the positions
// of cached keys start there too.
func TestRotationBeginsAnywhere(t *testing.T) {
	for _, name := range []string{
		"decoder/cache", "decoder/cache-chunk", "decoder/gemma", "decoder/qk-norm", "decoder/rope-factor",
		"decoder/rope-interleaved", "layouts/neox",
	} {
		p := problemOf(t, name)
		later := p.Clone()
		shift(later.Layer, 1)
		requireIdentity(t, p, later, name)
	}
}

// shift adds a number to all positions.
func shift(l *oracle.Layer, by int) {
	query, key, past := *l.QueryRotary, *l.KeyRotary, *l.KeyRotary
	query.First += by
	key.First += by
	past.Position = func(int, int) float64 { return float64(by) / past.Factor }
	l.QueryRotary, l.KeyRotary, l.PastRotary = &query, &key, &past
}

// Positions may therefore count left padding, or start at the first valid token of each batch
// element.
func TestRotationCountsPaddingOrNot(t *testing.T) {
	for _, name := range []string{"decoder/rope-half-left-padding", "decoder/cache-left-padding", "decoder/gemma"} {
		p := problemOf(t, name)
		padded := 0
		for b := range p.Query.Shape[0] {
			alone := p.Element(b)
			if left := slices.Index(alone.Padding.Data, false); left > 0 {
				padded++
				counted := alone.Clone()
				shift(counted.Layer, -left)
				requireIdentity(t, alone, counted, name)
			}
		}
		require.Positive(t, padded, name)
	}
}

// A term that is the same for all keys of a query changes nothing. slope * j can replace
// -slope * (i - j) if no key comes after the query.
func TestALiBiOfTheKeyAlone(t *testing.T) {
	for _, name := range []string{
		"decoder/alibi", "decoder/alibi-cache", "decoder/alibi-decode", "decoder/alibi-left-padding",
		"decoder/softcap-alibi", "sdpa/alibi", "sdpa/alibi-lower-right",
	} {
		const afterAll = 100
		p := problemOf(t, name)
		byKey := p.Clone()
		byKey.SlopeDistance = func(_, key int) int { return afterAll - key }
		requireIdentity(t, p, byKey, name)
	}
}

// The order of cached keys does not matter if values, masks and distances follow it.
func TestCacheInAnyOrder(t *testing.T) {
	for _, name := range []string{
		"decoder/cache", "decoder/cache-left-padding", "decoder/decode", "decoder/gemma", "decoder/window-cache",
		"decoder/alibi-cache", "decoder/relative-bias-cache",
	} {
		p := problemOf(t, name)
		ring := p.Clone()
		reverseCache(ring)
		requireIdentity(t, p, ring, name)
	}
}

// reverseCache reverses the order of cached keys and values, of their padding and of their
// positions.
func reverseCache(p *oracle.Problem) {
	past, window, causal := p.Past.Key.Shape[2], p.Window, p.Causal
	position := func(key int) int {
		if key < past {
			return past - 1 - key
		}
		return key
	}
	distance := func(query, key int) int { return position(key) - query }
	p.Past = &oracle.Past{Key: rowsReversed(p.Past.Key), Value: rowsReversed(p.Past.Value)}
	p.Causal = func(query, key int) bool {
		return causal(query, position(key)) && (window == 0 || query-position(key) < window)
	}
	p.Window, p.SlopeDistance, p.RelativeDistance = 0, distance, distance
	if p.Padding != nil {
		padding := slices.Clone(p.Padding.Data)
		for row := range slices.Chunk(padding, p.Padding.Shape[1]) {
			slices.Reverse(row[:past])
		}
		p.Padding = &attention.Mask{Shape: p.Padding.Shape, Data: padding}
	}
}

// rowsReversed reverses the positions of (B, Hk, P, E).
func rowsReversed(a oracle.Array) oracle.Array {
	var values []float64
	for head := range slices.Chunk(a.Value, a.Shape[2]*a.Shape[3]) {
		rows := slices.Collect(slices.Chunk(head, a.Shape[3]))
		slices.Reverse(rows)
		values = append(values, slices.Concat(rows...)...)
	}
	return oracle.Array{Shape: a.Shape, Value: values}
}

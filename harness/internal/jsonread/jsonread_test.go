package jsonread_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/jsonread"
)

// record has a field of each type that files of this module have.
type record struct {
	Count   int               `json:"count"`
	Offset  uint64            `json:"offset"`
	Pair    *[2]uint64        `json:"pair"`
	Ratio   *float64          `json:"ratio"`
	Causal  bool              `json:"causal"`
	Shape   []int             `json:"shape"`
	Shards  map[string]string `json:"shards"`
	Inner   *record           `json:"inner"`
	Purpose string            `json:"purpose"`
}

// Every error names the field and the value that it takes, in words that no run changes.
func TestErrorsNameTheField(t *testing.T) {
	for _, tc := range []struct{ field, text, err string }{
		{"", `{`, "not JSON: unexpected EOF after 1 bytes"},
		{"config", `{"count":1,}`, "config: not JSON: invalid character ',' at start of value after 10 bytes"},
		{"", `[]`, "a list, want an object"},
		{"config", `7`, "config: a number, want an object"},
		{"", `{"Count":1}`, "Count: unknown field"},
		{"config", `{"inner":{"speed":1}}`, "config.inner.speed: unknown field"},
		{"", `{"a/b":1}`, "a/b: unknown field"},
		{"", "{\"\\u001b[2J\":1}", `"\x1b[2J": unknown field`},
		{"config", `{"count":1,"count":2}`, "config.count: twice"},
		{"", `{"count":1.5}`, "count: a number, want an integer"},
		{"", `{"count":"1"}`, "count: a string, want an integer"},
		{"", `{"offset":-1}`, "offset: a number, want an integer, not negative"},
		{"", `{"pair":[1]}`, "pair: a list, want a list of 2"},
		{"", `{"ratio":[]}`, "ratio: a list, want a number"},
		{"", `{"ratio":1e999}`, "ratio: out of range, want a number"},
		{"", `{"causal":1}`, "causal: a number, want true or false"},
		{"", `{"shape":{}}`, "shape: an object, want a list"},
		{"", `{"shape":[1,true]}`, "shape.1: true or false, want an integer"},
		{"", `{"shards":[]}`, "shards: a list, want an object"},
		{"", `{"inner":""}`, "inner: a string, want an object"},
		{"", `{"purpose":{}}`, "purpose: an object, want a string"},
	} {
		t.Run(tc.text, func(t *testing.T) {
			require.EqualError(t, jsonread.Strict(tc.field, []byte(tc.text), &record{}), tc.err)
		})
	}
}

// Lenient passes over unknown fields, and nothing else.
func TestLenient(t *testing.T) {
	var r record
	require.NoError(t, jsonread.Lenient("", []byte(`{"count":3,"metadata":{}}`), &r))
	require.Equal(t, record{Count: 3}, r)
	require.EqualError(t, jsonread.Lenient("index", []byte(`{"count":[]}`), &r), "index.count: a list, want an integer")
	require.EqualError(t, jsonread.Strict("", []byte(`{"count":3,"metadata":{}}`), &r), "metadata: unknown field")
}

package protocol_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/harness/internal/protocol"
)

func TestParseReply(t *testing.T) {
	for _, line := range []string{
		`{"type":"ok","seq":1}`,
		` {"type":"ok", "seq":1} ` + "\r",
		`{"type":"skipped","seq":1,"reason":"no"}`,
		`{"type":"error","seq":1,"message":"no","traceback":""}`,
		`{"type":"started","seq":1,"protocol":1,"name":"x","version":"","language":"","precision":"",` +
			`"ops":["module"],"features":null}`,
	} {
		_, err := protocol.ParseReply([]byte(line))
		require.NoError(t, err, line)
	}
}

func TestParseReplyRefuses(t *testing.T) {
	const ops = `["scaled_dot_product_attention" "multi_head_attention" "rotary_embedding" "module"]`
	for _, tc := range []struct{ name, line, err string }{
		{"nothing", ``, "not JSON: unexpected EOF after 0 bytes"},
		{"half", `{"type":"ok"`, "not JSON: unexpected EOF after 12 bytes"},
		{"not JSON", `hello`, "not JSON: invalid character 'h' at start of value after 0 bytes"},
		{
			"two", `{"type":"ok","seq":1} {"type":"ok","seq":1}`,
			"not JSON: invalid character '{' after top-level value after 22 bytes",
		},
		{"not UTF-8", "{\"type\":\"ok\xff\"}", "not JSON: invalid UTF-8 after 11 bytes"},
		{"a list", `[1]`, "a list, want an object"},
		{"a number", `7`, "a number, want an object"},
		{"null", `null`, `type: "", want one of ["started" "ok" "skipped" "error"]`},
		{"unknown field", `{"type":"ok","seq":1,"speed":2}`, "speed: unknown field"},
		{"another case", `{"Type":"ok","seq":1}`, "Type: unknown field"},
		{"a field twice", `{"type":"ok","seq":1,"seq":1}`, "seq: twice"},
		{"a string", `{"type":"ok","seq":"1"}`, "seq: a string, want an integer"},
		{"a fraction", `{"type":"ok","seq":1.5}`, "seq: a number, want an integer"},
		{"true", `{"type":true,"seq":1}`, "type: true or false, want a string"},
		{"an object", `{"type":"started","seq":1,"ops":{}}`, "ops: an object, want a list"},
		{"a list in a list", `{"type":"started","seq":1,"ops":[[]]}`, "ops.0: a list, want a string"},
		{
			"precision of skipped", `{"type":"skipped","seq":1,"reason":"x","precision":"tf32"}`,
			"protocol, name, version, language, precision, ops, features: go with started, not with skipped",
		},
		{"reason of ok", `{"type":"ok","seq":1,"reason":"x"}`, "reason: goes with skipped, not with ok"},
		{
			"name of ok", `{"type":"ok","seq":1,"name":"x"}`,
			"protocol, name, version, language, precision, ops, features: go with started, not with ok",
		},
		{
			"message of skipped", `{"type":"skipped","seq":1,"reason":"x","traceback":"x"}`,
			"message, traceback: go with error, not with skipped",
		},
		{"no message", `{"type":"error","seq":1}`, "message: empty"},
		{"nobody", `{"type":"started","seq":1}`, "protocol: 0, want 1\nname: empty\nops: empty, want some of " + ops},
		{
			"unknown op", `{"type":"started","seq":1,"protocol":1,"name":"x","ops":["sdpa"]}`,
			`ops: "sdpa", want some of ` + ops,
		},
		{"too long", strings.Repeat(" ", protocol.MaxLine+1), "1048577 bytes, want at most 1048576"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := protocol.ParseReply([]byte(tc.line))
			require.EqualError(t, err, tc.err)
		})
	}
	line := `{"type":"started","seq":1,"protocol":1,"name":"x","ops":["module"],"features":["ropes"]}`
	_, err := protocol.ParseReply([]byte(line))
	require.ErrorContains(t, err, `features: "ropes", want some of ["grouped-heads" "masks" `)
}

func FuzzParseReply(f *testing.F) {
	for _, line := range []string{
		`{"type":"ok","seq":1}`, `{"type":"error","seq":1,"message":"x"}`,
		`{"type":"started","seq":1,"protocol":1,"name":"x","ops":["module"]}`, `[{"a":1}]`, "\xff", "{}",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := protocol.ParseReply(line)
		if err != nil {
			return
		}
		again, err := protocol.Line(r)
		require.NoError(t, err)
		_, err = protocol.ParseReply(again)
		require.NoError(t, err)
	})
}

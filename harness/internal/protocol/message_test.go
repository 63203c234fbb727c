package protocol_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/protocol"
)

func TestParseReply(t *testing.T) {
	for _, tc := range []struct{ name, line, err string }{
		{"ok", `{"type":"ok","seq":1}`, ""},
		{"space around it", ` {"type":"ok", "seq":1} ` + "\r", ""},
		{"skipped", `{"type":"skipped","seq":1,"reason":"no"}`, ""},
		{"error", `{"type":"error","seq":1,"message":"no","traceback":""}`, ""},
		{"started", `{"type":"started","seq":1,"protocol":1,"name":"x","version":"","language":"","precision":"","ops":["module"],"features":null}`, ""},
		{"nothing", ``, "no JSON: unexpected EOF after 0 bytes"},
		{"half", `{"type":"ok"`, "no JSON: unexpected EOF after 12 bytes"},
		{"no JSON", `hello`, "no JSON: invalid character 'h' at start of value after 0 bytes"},
		{"two", `{"type":"ok","seq":1} {"type":"ok","seq":1}`, "no JSON: invalid character '{' after top-level value after 22 bytes"},
		{"not UTF-8", "{\"type\":\"ok\xff\"}", "no JSON: invalid UTF-8 after 11 bytes"},
		{"a list", `[1]`, "a JSON [, want an object"},
		{"a number", `7`, "a JSON number, want an object"},
		{"null", `null`, `type: "", want one of ["started" "ok" "skipped" "error"]`},
		{"unknown field", `{"type":"ok","seq":1,"speed":2}`, "speed: unknown field"},
		{"another case", `{"Type":"ok","seq":1}`, "Type: unknown field"},
		{"a field twice", `{"type":"ok","seq":1,"seq":1}`, "seq: twice"},
		{"a string", `{"type":"ok","seq":"1"}`, "seq: not a JSON string"},
		{"a fraction", `{"type":"ok","seq":1.5}`, "seq: not a JSON number"},
		{"a list in a list", `{"type":"started","seq":1,"ops":[[]]}`, "ops/0: not a JSON ["},
		{"reason of ok", `{"type":"ok","seq":1,"reason":"x"}`, "reason: goes with skipped, not with ok"},
		{"name of ok", `{"type":"ok","seq":1,"name":"x"}`, "protocol, name, version, language, precision, ops, features: go with started, not with ok"},
		{"message of skipped", `{"type":"skipped","seq":1,"reason":"x","traceback":"x"}`, "message, traceback: go with error, not with skipped"},
		{"no message", `{"type":"error","seq":1}`, "message: empty"},
		{"nobody", `{"type":"started","seq":1}`, "protocol: 0, want 1\nname: empty\nops: empty, want some of [\"scaled_dot_product_attention\" \"multi_head_attention\" \"module\"]"},
		{"unknown op", `{"type":"started","seq":1,"protocol":1,"name":"x","ops":["sdpa"]}`, `ops: "sdpa", want some of ["scaled_dot_product_attention" "multi_head_attention" "module"]`},
		{"too long", strings.Repeat(" ", protocol.MaxLine+1), "1048577 bytes, want at most 1048576"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := protocol.ParseReply([]byte(tc.line))
			if tc.err == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, tc.err)
			}
		})
	}
	_, err := protocol.ParseReply([]byte(`{"type":"started","seq":1,"protocol":1,"name":"x","ops":["module"],"features":["ropes"]}`))
	require.ErrorContains(t, err, `features: "ropes", want some of ["grouped-heads" "masks" `)
}

// Every feature is one that some case needs, and can be offered; a child that offers all of them lacks nothing.
func TestFeatures(t *testing.T) {
	names, err := fixture.Names(fixtures.FS)
	require.NoError(t, err)
	needed := map[string]bool{}
	all := protocol.Started{Ops: []fixture.Op{fixture.SDPA, fixture.MultiHead, fixture.Module}}
	plain := all
	plain.Features = []string{}
	for _, name := range names {
		c, err := fixture.Read(fixtures.FS, name)
		require.NoError(t, err)
		features := protocol.Features(c)
		for _, f := range features {
			needed[f] = true
		}
		require.Empty(t, all.Lacks(c))
		require.Equal(t, len(features) == 0, plain.Lacks(c) == "", name)
	}
	require.Len(t, needed, len(protocol.AllFeatures()))
	for _, f := range protocol.AllFeatures() {
		require.True(t, needed[f], f)
	}
}

func FuzzParseReply(f *testing.F) {
	for _, line := range []string{`{"type":"ok","seq":1}`, `{"type":"error","seq":1,"message":"x"}`, `{"type":"started","seq":1,"protocol":1,"name":"x","ops":["module"]}`, `[{"a":1}]`, "\xff", "{}"} {
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

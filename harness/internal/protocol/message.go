package protocol

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/jsonread"
)

// ReplyFile holds a [Reply] from a process that serves a single case: why it skips the case, an
// error, or ok with the precision of the output. It need not exist.
const ReplyFile = "reply.json"

// MaxLine bounds a message of a child, in bytes.
const MaxLine = 1 << 20

// Type is the kind of a message.
type Type string

// The messages of the harness, and the answers of a child.
const (
	TypeStart Type = "start" // answered by started
	TypeRun   Type = "run"   // answered by ok, skipped or error
	TypeDone  Type = "done"  // answered by ok
	TypeStop  Type = "stop"  // not answered: the child ends

	TypeStarted Type = "started"
	TypeOK      Type = "ok"
	TypeSkipped Type = "skipped"
	TypeError   Type = "error"
)

// Start is the first message. It is answered by started.
type Start struct {
	Type     Type   `json:"type"`
	Seq      int    `json:"seq"`
	Protocol int    `json:"protocol"`
	Difftest string `json:"difftest"`
}

// Run asks for the output of a request. Dir is the absolute path of the folder with its files.
type Run struct {
	Type    Type    `json:"type"`
	Seq     int     `json:"seq"`
	Dir     string  `json:"dir"`
	Request Request `json:"request"`
}

// Done ends a case. Its folder is removed once the child has answered.
type Done struct {
	Type Type `json:"type"`
	Seq  int  `json:"seq"`
}

// Stop asks the child to end. It is not answered.
type Stop struct {
	Type Type `json:"type"`
	Seq  int  `json:"seq"`
}

// Reply is an answer of a child. Fields that do not belong to its type are empty.
type Reply struct {
	Type Type `json:"type"`
	Seq  int  `json:"seq"`

	Started // of started; Precision may also go with ok in a ReplyFile

	Reason    string `json:"reason"`    // of skipped
	Message   string `json:"message"`   // of error
	Traceback string `json:"traceback"` // of error
}

// Started describes a child and its offer. A nil Features offers every feature.
type Started struct {
	Protocol  int          `json:"protocol"`
	Name      string       `json:"name"`
	Version   string       `json:"version"`
	Language  string       `json:"language"`
	Precision string       `json:"precision"`
	Ops       []fixture.Op `json:"ops"`
	Features  []string     `json:"features"`
}

// Line writes a message as it is sent: one line of JSON.
func Line(message any) ([]byte, error) {
	text, err := json.Marshal(message, json.Deterministic(true))
	return append(text, '\n'), err
}

// ParseReply reads an answer, one line without its end. The answer must be one JSON object.
// ParseReply fails on a missing, unknown or repeated field, on a field of another type, and on an
// op or a feature that the protocol does not know.
func ParseReply(line []byte) (Reply, error) {
	var r Reply
	if len(line) > MaxLine {
		return r, fmt.Errorf("%d bytes, want at most %d", len(line), MaxLine)
	}
	if err := jsonread.Strict("", line, &r); err != nil {
		return Reply{}, err
	}
	if err := r.check(); err != nil {
		return Reply{}, err
	}
	return r, nil
}

// check reports every field that is missing or belongs to another type.
func (r Reply) check() error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	types := []Type{TypeStarted, TypeOK, TypeSkipped, TypeError}
	if !slices.Contains(types, r.Type) {
		return fmt.Errorf("type: %.200q, want one of %.200q", r.Type, types)
	}
	refuse(r.Type == TypeSkipped && r.Reason == "", "reason: empty")
	refuse(r.Type != TypeSkipped && r.Reason != "", "reason: goes with %s, not with %s", TypeSkipped, r.Type)
	refuse(r.Type == TypeError && r.Message == "", "message: empty")
	refuse(r.Type != TypeError && r.Message+r.Traceback != "",
		"message, traceback: go with %s, not with %s", TypeError, r.Type)
	about := r.Started
	switch r.Type {
	case TypeStarted:
		return errors.Join(append(errs, about.check())...)
	case TypeOK:
		about.Precision = ""
	}
	refuse(!about.empty(),
		"protocol, name, version, language, precision, ops, features: go with %s, not with %s", TypeStarted, r.Type)
	return errors.Join(errs...)
}

func (s Started) check() error {
	var errs []error
	if s.Protocol != Version {
		errs = append(errs, fmt.Errorf("protocol: %d, want %d", s.Protocol, Version))
	}
	if strings.TrimSpace(s.Name) == "" {
		errs = append(errs, errors.New("name: empty"))
	}
	if len(s.Ops) == 0 {
		errs = append(errs, fmt.Errorf("ops: empty, want some of %.200q", ops))
	}
	return errors.Join(append(errs, known("ops", s.Ops, ops), known("features", s.Features, features))...)
}

var ops = []fixture.Op{fixture.SDPA, fixture.MultiHead, fixture.Rotary, fixture.Module}

// known fails on an undefined word. A typing mistake must not skip cases.
func known[T ~string](field string, words, defined []T) error {
	for _, w := range words {
		if !slices.Contains(defined, w) {
			return fmt.Errorf("%s: %.200q, want some of %.200q", field, w, defined)
		}
	}
	return nil
}

func (s Started) empty() bool {
	return s.Protocol == 0 && s.Name+s.Version+s.Language+s.Precision == "" && len(s.Ops)+len(s.Features) == 0
}

// Lacks names an op or a feature that the case needs and the child does not offer. It is empty if
// the child offers the case.
func (s Started) Lacks(c *fixture.Case) string {
	if !slices.Contains(s.Ops, c.Op) {
		return string(c.Op)
	}
	for _, f := range Features(c) {
		if s.Features != nil && !slices.Contains(s.Features, f) {
			return f
		}
	}
	return ""
}

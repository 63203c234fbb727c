package blob

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/difftest/difftest/harness/internal/catalogue"
	"github.com/difftest/difftest/harness/internal/diagnose"
	"github.com/difftest/difftest/harness/internal/edits"
	"github.com/difftest/difftest/harness/internal/fit"
	"github.com/difftest/difftest/harness/internal/printable"
	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/shard"
)

// A blob is lines of JSON: the header, and then a line for each case in the order of the run.

// header is the first line.
type header struct {
	Version  int
	Layout   string // of the other lines and the rest of this one: see [layout]
	Run      Run
	Shard    shard.Shard
	Subject  string
	Failure  *report.Failure
	Took     time.Duration
	Declared string // precision of the subject
	Replies  []string
	Results  int // the number of further lines
	Broken   []report.Broken
	General  []report.Broken
}

// entry is the line of a case. Class and Proven are what the watchers of the run heard, before the
// subject ran again.
type entry struct {
	Result report.Result
	Class  diagnose.Class
	Proven []report.Proof
}

// layout is the sum of the names and types of all fields of a blob. Versions of difftest whose
// results differ have different sums.
var layout = sync.OnceValue(func() string {
	var text strings.Builder
	describe(&text, reflect.TypeFor[header](), map[reflect.Type]bool{})
	describe(&text, reflect.TypeFor[entry](), map[reflect.Type]bool{})
	sum := sha256.Sum256([]byte(text.String()))
	return hex.EncodeToString(sum[:8])
})

// describe writes the fields of a type, and of the types of its fields.
func describe(text *strings.Builder, t reflect.Type, seen map[reflect.Type]bool) {
	fmt.Fprintln(text, t)
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		describe(text, t.Elem(), seen)
	case reflect.Struct:
		if seen[t] || t == reflect.TypeFor[catalogue.Mistake]() || t == reflect.TypeFor[catalogue.Number]() {
			return
		}
		seen[t] = true
		for _, f := range reflect.VisibleFields(t) {
			if f.IsExported() {
				fmt.Fprint(text, f.Name, " ")
				describe(text, f.Type, seen)
			}
		}
	}
}

// reference is a mistake or a number of the catalogue. The title of one in a model may name a
// place.
type reference struct{ ID, Title string }

// called reports whether something of the catalogue may have a title. The title of one in a model
// may go on with a place, and parameters in a model have titles of their own.
func (r reference) called(title string) bool {
	return strings.HasPrefix(r.Title, title) || strings.HasPrefix(r.ID, "parameter")
}

// storedFit is a fit with the projections whose parameters it freed.
type storedFit struct {
	Fit         plainFit
	Projections []string
}

// plainFit has the fields of a fit that are stored as they are.
type plainFit fit.Fit

var writing = json.JoinOptions(
	json.FormatNilSliceAsNull(true), json.Deterministic(true), // an omitted -0 would come back as 0
	json.WithMarshalers(json.JoinMarshalers(
		json.MarshalToFunc(func(to *jsontext.Encoder, m catalogue.Mistake) error {
			return json.MarshalEncode(to, reference{m.ID, m.Title})
		}),
		json.MarshalToFunc(func(to *jsontext.Encoder, n catalogue.Number) error {
			return json.MarshalEncode(to, reference{n.ID, n.Title})
		}),
		json.MarshalToFunc(func(to *jsontext.Encoder, f fit.Fit) error {
			return json.MarshalEncode(to, storedFit{plainFit(f), f.Projections()})
		}),
		json.MarshalToFunc(func(to *jsontext.Encoder, v float64) error {
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				return errors.ErrUnsupported // written as any number
			}
			return to.WriteToken(jsontext.String(strconv.FormatFloat(v, 'g', -1, 64)))
		}),
		json.MarshalToFunc(func(to *jsontext.Encoder, values []float64) error {
			if values == nil {
				return to.WriteToken(jsontext.Null)
			}
			return to.WriteToken(jsontext.String(base64.StdEncoding.EncodeToString(packed(values))))
		}),
		json.MarshalToFunc(func(to *jsontext.Encoder, d time.Duration) error {
			return to.WriteToken(jsontext.Int(int64(d)))
		}),
	)),
)

var reading = json.JoinOptions(
	json.RejectUnknownMembers(true),
	json.WithUnmarshalers(json.JoinUnmarshalers(
		json.UnmarshalFromFunc(readMistake),
		json.UnmarshalFromFunc(readNumber),
		json.UnmarshalFromFunc(readFit),
		json.UnmarshalFromFunc(readFloat),
		json.UnmarshalFromFunc(readFloats),
		json.UnmarshalFromFunc(readText),
		json.UnmarshalFromFunc(func(from *jsontext.Decoder, d *time.Duration) error {
			var n int64
			err := json.UnmarshalDecode(from, &n)
			*d = time.Duration(max(0, n))
			return err
		}),
	)),
)

func readMistake(from *jsontext.Decoder, m *catalogue.Mistake) error {
	var r reference
	if err := json.UnmarshalDecode(from, &r); err != nil {
		return err
	}
	known, ok := catalogue.ByID(r.ID)
	if !ok {
		known, ok = edits.ByID(r.ID)
	}
	if !ok || !r.called(known.Title) {
		return fmt.Errorf("%.200q, titled %.200q, is no known mistake", r.ID, r.Title)
	}
	known.Title = r.Title
	*m = known
	return nil
}

func readNumber(from *jsontext.Decoder, n *catalogue.Number) error {
	var r reference
	if err := json.UnmarshalDecode(from, &r); err != nil {
		return err
	}
	known, ok := catalogue.NumberByID(r.ID)
	if inGraph, isEdit := edits.NumberByID(r.ID); !ok && isEdit {
		known, ok = inGraph.Number, true
	}
	if !ok || !r.called(known.Title) {
		return fmt.Errorf("%.200q, titled %.200q, is no known number", r.ID, r.Title)
	}
	known.Title = r.Title
	*n = known
	return nil
}

func readFit(from *jsontext.Decoder, f *fit.Fit) error {
	var stored storedFit
	if err := json.UnmarshalDecode(from, &stored); err != nil {
		return err
	}
	read, ok := fit.Fit(stored.Fit).WithProjections(stored.Projections)
	if !ok {
		return fmt.Errorf("%.200q are no projections", stored.Projections)
	}
	*f = read
	return nil
}

func readFloat(from *jsontext.Decoder, v *float64) error {
	if from.PeekKind() != '"' {
		return errors.ErrUnsupported // read as any number
	}
	token, err := from.ReadToken()
	if err != nil {
		return err
	}
	switch text := token.String(); text {
	case "NaN":
		*v = math.NaN()
	case "+Inf":
		*v = math.Inf(1)
	case "-Inf":
		*v = math.Inf(-1)
	default:
		return errors.New("a string, want a number")
	}
	return nil
}

func readFloats(from *jsontext.Decoder, values *[]float64) error {
	token, err := from.ReadToken()
	if err != nil {
		return err
	}
	if *values = nil; token.Kind() == 'n' {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(token.String())
	if err != nil || len(data)%8 != 0 {
		return errors.New("no array of float64 in base64")
	}
	*values = make([]float64, len(data)/8)
	for i := range *values {
		(*values)[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return nil
}

// packed returns the bytes of float64 numbers, little-endian.
func packed(values []float64) []byte {
	data := make([]byte, 0, 8*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
	}
	return data
}

// readText reads a string. Reports print it, so characters that move a cursor are replaced.
func readText(from *jsontext.Decoder, text *string) error {
	token, err := from.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != '"' {
		return errors.New("no string")
	}
	*text = printable.Marked(token.String())
	return nil
}

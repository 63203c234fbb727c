// Package jsonread reads JSON from files and from children that nobody vouches for. Its errors name
// the field in plain words, and are the same in every run: the texts of the JSON package are not.
package jsonread

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/difftest/difftest/harness/internal/printable"
)

// Strict reads one JSON value. It fails on unknown fields, repeated names, names in other letter
// case, values of another type, and invalid UTF-8. Errors begin with the path of the field below
// field, which is "" for a whole file.
func Strict(field string, data []byte, into any) error {
	return Plain(field, json.Unmarshal(data, into, json.RejectUnknownMembers(true)))
}

// Lenient is Strict for files of others: unknown fields are passed over.
func Lenient(field string, data []byte, into any) error {
	return Plain(field, json.Unmarshal(data, into))
}

// Plain rewords an error of the JSON package. A nil error stays nil.
func Plain(field string, err error) error {
	if err == nil {
		return nil
	}
	if syntax := (*jsontext.SyntacticError)(nil); errors.As(err, &syntax) {
		if errors.Is(syntax.Err, jsontext.ErrDuplicateName) {
			return fmt.Errorf("%s: twice", below(field, syntax.JSONPointer))
		}
		return at(field, fmt.Errorf("not JSON: %w after %d bytes", syntax.Err, syntax.ByteOffset))
	}
	meaning := (*json.SemanticError)(nil)
	if !errors.As(err, &meaning) {
		return at(field, fmt.Errorf("not JSON: %w", err))
	}
	field = below(field, meaning.JSONPointer)
	switch {
	case errors.Is(meaning.Err, json.ErrUnknownName):
		return at(field, errors.New("unknown field"))
	case meaning.GoType == nil || meaning.JSONKind == 0:
		return at(field, meaning.Err)
	}
	return at(field, fmt.Errorf("%s, want %s", found(meaning), wanted(meaning.GoType)))
}

// below returns the path of a value inside a field: names and indices with dots between them.
func below(field string, pointer jsontext.Pointer) string {
	var names []string
	if field != "" {
		names = append(names, field)
	}
	for token := range pointer.Tokens() {
		names = append(names, printable.Name(token))
	}
	return strings.Join(names, ".")
}

// at puts the path of a field before an error, unless the error is about a whole file.
func at(field string, err error) error {
	if field == "" {
		return err
	}
	return fmt.Errorf("%s: %w", field, err)
}

// found names the JSON value that did not fit.
func found(e *json.SemanticError) string {
	if errors.Is(e.Err, strconv.ErrRange) {
		return "out of range"
	}
	switch e.JSONKind {
	case 'n':
		return "null"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '[', ']':
		return "a list"
	case '{':
		return "an object"
	}
	return "true or false"
}

// wanted names the JSON value that a field takes.
func wanted(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "an integer"
	case reflect.Uint64:
		return "an integer, not negative"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Array:
		return fmt.Sprintf("a list of %d", t.Len())
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a string"
}

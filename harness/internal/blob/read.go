package blob

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/difftest/difftest/harness/internal/jsonread"
)

// The bounds of a blob.
const (
	maxFile    = 1 << 30 // bytes
	maxLine    = 1 << 27 // bytes
	maxObjects = 1 << 17 // in one line: a short object may fill much memory
)

// Read reads a blob and checks all that can be checked without the suite. The error says which line
// and field is wrong.
func Read(r io.Reader) (*Blob, error) {
	in := &lines{from: bufio.NewReader(io.LimitReader(r, maxFile))}
	var h header
	if err := in.readHeader(&h); err != nil {
		return nil, err
	}
	b := &Blob{Run: h.Run, Shard: h.Shard, Subject: h.Subject, Failure: h.Failure, Took: h.Took}
	if err := b.checkHeader(h); err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	saw := &b.Observed
	saw.Precision, saw.Replies, saw.Broken, saw.General = h.Declared, h.Replies, h.Broken, h.General
	for range h.Results {
		var e entry
		if err := in.read(&e); err != nil {
			return nil, err
		}
		judged := e.Result
		judged.Diagnosis.Class, judged.Proven, judged.Probes = e.Class, e.Proven, nil
		saw.Judged, saw.Probed = append(saw.Judged, judged), append(saw.Probed, e.Result)
	}
	if _, err := in.next(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line %d: more than the %d results that the first line announces", in.number, h.Results)
	}
	return b, nil
}

// lines reads one line after the other.
type lines struct {
	from   *bufio.Reader
	number int
}

// readHeader reads the first line. A blob of another version may have other fields, so the version
// is read first.
func (l *lines) readHeader(h *header) error {
	line, err := l.next()
	if err != nil {
		return fmt.Errorf("line 1: %w", unexpected(err))
	}
	var about struct {
		Version int
		Layout  string
	}
	if err := jsonread.Lenient("", line, &about); err != nil {
		return fmt.Errorf("line 1: %w", err)
	}
	if about.Version != Version {
		return fmt.Errorf("line 1: Version: %d, want %d", about.Version, Version)
	}
	if about.Layout != layout() {
		return fmt.Errorf("line 1: Layout: %.200q, want %.200q: another version of difftest wrote it", about.Layout, layout())
	}
	return l.decode(line, h)
}

// read reads the next line into a value.
func (l *lines) read(into any) error {
	line, err := l.next()
	if err != nil {
		return fmt.Errorf("line %d: %w", l.number, unexpected(err))
	}
	return l.decode(line, into)
}

// next returns the next line. The error is io.EOF behind the last one.
func (l *lines) next() ([]byte, error) {
	l.number++
	var line []byte
	for {
		part, err := l.from.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, fmt.Errorf("longer than %d bytes", maxLine)
		case err == nil:
			return line, nil
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, errors.New("cut off")
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("missing")
	}
	return err
}

func (l *lines) decode(line []byte, into any) error {
	err := countObjects(line)
	if err == nil {
		err = jsonread.Plain("", json.Unmarshal(line, into, reading))
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", l.number, err)
	}
	return nil
}

// countObjects refuses a line with many objects before memory is taken for them.
func countObjects(line []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(line))
	objects := 0
	for {
		token, err := d.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return jsonread.Plain("", err)
		case token.Kind() == '{':
			objects++
		}
		if objects > maxObjects {
			return fmt.Errorf("more than %d objects", maxObjects)
		}
	}
}

package checkpoint

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"
)

// Twins returns groups of names whose tensors have the same type, shape and bytes, sorted. One
// tensor may have been saved under several names, or loaded into several places. Tensors of one
// repeated number are left out.
func (f *File) Twins() ([][]string, error) {
	groups := map[string][][]*Tensor{}
	var order []string
	for _, t := range f.Tensors {
		if !t.Readable() {
			continue
		}
		if err := t.fingerprint(); err != nil {
			return nil, err
		}
		if t.print.repeats {
			continue
		}
		id := fmt.Sprintf("%s %v %x", t.DType, t.Shape, t.print.sum)
		if groups[id] == nil {
			order = append(order, id)
		}
		var err error
		if groups[id], err = joinTwin(groups[id], t); err != nil {
			return nil, err
		}
	}
	var twins [][]string
	for _, id := range order {
		for _, group := range groups[id] {
			if len(group) > 1 {
				twins = append(twins, namesOf(group))
			}
		}
	}
	slices.SortFunc(twins, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	return twins, nil
}

func namesOf(group []*Tensor) []string {
	var names []string
	for _, t := range group {
		names = append(names, t.Name)
	}
	return names
}

// joinTwin adds a tensor to the group with its bytes, or to a group of its own. Equal fingerprints
// alone prove nothing.
func joinTwin(groups [][]*Tensor, t *Tensor) ([][]*Tensor, error) {
	for i, group := range groups {
		same, err := sameBytes(group[0], t)
		if err != nil {
			return nil, err
		}
		if same {
			groups[i] = append(group, t)
			return groups, nil
		}
	}
	return append(groups, []*Tensor{t}), nil
}

// sameBytes compares two tensors of the same type and shape.
func sameBytes(a, b *Tensor) (bool, error) {
	first, err := a.Stream()
	if err != nil {
		return false, err
	}
	defer first.Close()
	second, err := b.Stream()
	if err != nil {
		return false, err
	}
	defer second.Close()
	for {
		x, err := first.Next()
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		y, err := second.Next()
		if err != nil || !bytes.Equal(x, y) {
			return false, err
		}
	}
}

// fingerprint identifies the bytes of a tensor, but for chance. The zero value means that nobody
// read the bytes.
type fingerprint struct {
	known, repeats bool // repeats is set if all elements have the same bytes
	sum            uint64
}

// fingerprint reads the tensor unless its fingerprint is known.
func (t *Tensor) fingerprint() error {
	if t.print.known {
		return nil
	}
	p := newPrinter(t)
	err := t.each(func(_ *Stream, block []byte) error {
		p.add(block)
		return nil
	})
	t.print = p.fingerprint()
	return err
}

// seed is the same for all tensors of a process.
var seed = maphash.MakeSeed()

// printer takes the fingerprint of a tensor that comes in blocks.
type printer struct {
	size   int // of an element
	hash   maphash.Hash
	first  []byte // the first element
	varied bool   // some element differs from the first
}

func newPrinter(t *Tensor) *printer {
	p := &printer{size: t.DType.Size()}
	p.hash.SetSeed(seed)
	return p
}

func (p *printer) add(block []byte) {
	_, _ = p.hash.Write(block) // never fails
	if p.first == nil {
		p.first = bytes.Clone(block[:p.size])
	}
	p.varied = p.varied || !bytes.HasPrefix(block, p.first) || !bytes.Equal(block[p.size:], block[:len(block)-p.size])
}

func (p *printer) fingerprint() fingerprint {
	return fingerprint{known: true, repeats: !p.varied, sum: p.hash.Sum64()}
}

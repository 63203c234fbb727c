package checkpoint

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"slices"
	"strings"
)

// Twins returns groups of names whose tensors have the same type, shape and bytes, sorted. One
// tensor may have been saved under several names, or loaded into several places. Tensors of one
// repeated number are left out.
func (f *File) Twins() ([][]string, error) {
	alike := map[string][]*Tensor{} // by type and shape
	for _, t := range f.Tensors {
		if t.Readable() {
			id := fmt.Sprintf("%s %v", t.DType, t.Shape)
			alike[id] = append(alike[id], t)
		}
	}
	var twins [][]string
	for _, id := range slices.Sorted(maps.Keys(alike)) {
		groups, err := groupTwins(alike[id])
		if err != nil {
			return nil, err
		}
		for _, group := range groups {
			if len(group) > 1 {
				twins = append(twins, namesOf(group))
			}
		}
	}
	slices.SortFunc(twins, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	return twins, nil
}

// groupTwins groups tensors of the same type and shape by their bytes. A tensor alone is not read.
func groupTwins(tensors []*Tensor) ([][]*Tensor, error) {
	if len(tensors) < 2 {
		return nil, nil
	}
	order := commonOrder(tensors)
	bySum := map[uint64][][]*Tensor{}
	for _, t := range tensors {
		if err := t.fingerprint(order); err != nil {
			return nil, err
		}
		if t.print.repeats {
			continue
		}
		var err error
		if bySum[t.print.sum], err = joinTwin(bySum[t.print.sum], t, order); err != nil {
			return nil, err
		}
	}
	return slices.Concat(slices.Collect(maps.Values(bySum))...), nil
}

// commonOrder returns the order in which all tensors of a shape are stored, and row-major order if
// there is none.
func commonOrder(tensors []*Tensor) []int {
	order := tensors[0].place.view.storageOrder()
	for _, t := range tensors {
		if !slices.Equal(t.place.view.storageOrder(), order) {
			return t.place.view.rowOrder()
		}
	}
	return order
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
func joinTwin(groups [][]*Tensor, t *Tensor, order []int) ([][]*Tensor, error) {
	for i, group := range groups {
		same, err := sameBytes(group[0].inOrder(order), t.inOrder(order))
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

// fingerprint identifies the bytes of a tensor in an order of its dimensions, but for chance. The
// zero value means that nobody read the bytes.
type fingerprint struct {
	known, repeats bool // repeats is set if all elements have the same bytes
	order          []int
	sum            uint64
}

// fingerprint reads the tensor unless its fingerprint in an order is known.
func (t *Tensor) fingerprint(order []int) error {
	if t.print.known && slices.Equal(t.print.order, order) {
		return nil
	}
	p := newPrinter(t, order)
	err := t.inOrder(order).each(func(_ *Stream, block []byte) error {
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
	order  []int
	hash   maphash.Hash
	first  []byte // the first element
	varied bool   // some element differs from the first
}

func newPrinter(t *Tensor, order []int) *printer {
	p := &printer{size: t.DType.Size(), order: order}
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
	return fingerprint{known: true, repeats: !p.varied, order: p.order, sum: p.hash.Sum64()}
}

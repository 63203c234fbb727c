package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
)

// magic is the number in the first pickle of a legacy file.
var magic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

// legacyProtocol is the number in the second pickle.
const legacyProtocol = 1001

// readLegacy reads the format of torch.save before PyTorch 1.6, and with
// _use_new_zipfile_serialization=False since. The file has five pickles: a magic number, a version,
// facts about the machine, the object, and the keys of its storages. The storages follow, each
// after its number of elements.
func readLegacy(r io.ReaderAt, size int64) (*File, error) {
	head, err := section(r, 0, min(size, maxPickle))
	if err != nil {
		return nil, err
	}
	storages := map[string]*storage{}
	u := &unpickler{data: head, classes: knownClass, persistent: legacyStorages(storages)}
	if err := checkLegacyHead(u); err != nil {
		return nil, err
	}
	value, err := u.load()
	if err != nil {
		return nil, err
	}
	keys, err := u.load()
	if err != nil {
		return nil, err
	}
	if err := placeStorages(r, int64(u.at), size, keys, storages); err != nil {
		return nil, err
	}
	return pytorchFile(Legacy, value)
}

// checkLegacyHead reads the first three pickles.
func checkLegacyHead(u *unpickler) error {
	number, err := u.load()
	if err != nil {
		return err
	}
	if n, ok := number.(*big.Int); !ok || n.Cmp(magic) != 0 {
		return errors.New("a pickle without PyTorch's magic number: torch.save did not write it")
	}
	version, err := u.load()
	if err != nil {
		return err
	}
	if version != any(legacyProtocol) {
		return fmt.Errorf("the version of the file is not %d", legacyProtocol)
	}
	facts, err := u.load()
	if err != nil {
		return err
	}
	if d, ok := facts.(*dict); !ok || d.get("little_endian") != any(true) {
		return errors.New("little_endian is not True: the file was written on a big-endian machine")
	}
	return nil
}

// legacyStorages makes storages. Their places in the file are found later.
func legacyStorages(storages map[string]*storage) func(tuple) (any, error) {
	return func(id tuple) (any, error) {
		key, s, err := describedStorage(id)
		if err != nil {
			return nil, err
		}
		old, known := storages[key]
		if !known {
			storages[key] = s
			return s, nil
		}
		if old.dtype != s.dtype || old.elements != s.elements {
			return nil, fmt.Errorf("storage %.100q has %d elements of %s, and also %d of %s",
				key, old.elements, old.dtype, s.elements, s.dtype)
		}
		return old, nil
	}
}

// placeStorages finds the storages after the pickles. Each must stand there once, with the length
// that the pickle claims.
func placeStorages(r io.ReaderAt, at, size int64, keys any, storages map[string]*storage) error {
	l, ok := keys.(*list)
	if !ok || len(l.items) != len(storages) {
		return fmt.Errorf("the list of storages does not have the %d of the pickle", len(storages))
	}
	for _, key := range l.items {
		name, _ := key.(string)
		s := storages[name]
		if s == nil || s.data != nil {
			return fmt.Errorf("storage %.100q is not in the pickle, or listed twice", name)
		}
		count, err := section(r, at, 8)
		if err != nil {
			return fmt.Errorf("storage %.100q: its length: %w", name, err)
		}
		at += 8
		bytes := int64(s.elements) * int64(sizeOf(s.dtype))
		if n := binary.LittleEndian.Uint64(count); n != uint64(s.elements) || bytes > size-at {
			return fmt.Errorf("storage %.100q: %d elements, the pickle claims %d of %s, and the file has %d bytes left",
				name, n, s.elements, s.dtype, size-at)
		}
		s.data = stretch{r, at, bytes}
		at += bytes
	}
	if at != size {
		return fmt.Errorf("%d bytes stand behind the last storage", size-at)
	}
	return nil
}

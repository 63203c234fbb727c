package checkpoint

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"strings"
)

// archive is a zip archive that has been checked.
type archive struct {
	members []*member // without folders
	size    int64
}

// readZip reads an archive of PyTorch or NumPy. PyTorch's has a data.pkl in its one folder.
func readZip(r io.ReaderAt, size int64) (*File, error) {
	z, err := openZip(r, size)
	if err != nil {
		return nil, err
	}
	var folders []string // of PyTorch
	for _, m := range z.members {
		if folder, ok := strings.CutSuffix(m.Name, "/data.pkl"); ok {
			folders = append(folders, folder+"/")
		}
	}
	switch len(folders) {
	case 0:
		return readNPZ(z)
	case 1:
		return readPyTorch(z, folders[0])
	}
	return nil, fmt.Errorf("%d archives of PyTorch in one file, in %.100q and %.100q: one would be ignored",
		len(folders), folders[0], folders[1])
}

// maxInflation bounds the bytes that deflate makes of one. The true limit is 1032.
const maxInflation = 1100

// openZip checks the claims of the members. Names must not repeat, and sizes must be possible.
func openZip(r io.ReaderAt, size int64) (*archive, error) {
	directory, err := zip.NewReader(r, size)
	if err != nil {
		return nil, err
	}
	z, last := &archive{size: size}, &lastRead{}
	names := map[string]bool{}
	left := uint64(size)
	var errs []error
	for _, m := range directory.File {
		if strings.HasSuffix(m.Name, "/") {
			continue
		}
		z.members = append(z.members, &member{File: m, archive: r, last: last})
		if names[m.Name] {
			errs = append(errs, fmt.Errorf("member %.200q stands twice", m.Name))
		}
		names[m.Name] = true
		errs = append(errs, checkMember(m, &left))
	}
	return z, errors.Join(errs...)
}

// checkMember refuses impossible sizes. left counts the bytes of the file that no earlier member
// has claimed, so that members cannot overlap.
func checkMember(m *zip.File, left *uint64) error {
	if m.CompressedSize64 > *left {
		return fmt.Errorf("member %.200q claims %d bytes of the file, which has %d left", m.Name, m.CompressedSize64, *left)
	}
	*left -= m.CompressedSize64
	const encrypted = 1
	switch {
	case m.Flags&encrypted != 0:
		return fmt.Errorf("member %.200q is encrypted", m.Name)
	case m.Method == zip.Store && m.UncompressedSize64 != m.CompressedSize64:
		return fmt.Errorf("member %.200q is stored in %d bytes and claims %d",
			m.Name, m.CompressedSize64, m.UncompressedSize64)
	case m.UncompressedSize64/maxInflation > m.CompressedSize64:
		return fmt.Errorf("member %.200q claims %d bytes, which %d compressed ones cannot give",
			m.Name, m.UncompressedSize64, m.CompressedSize64)
	}
	return nil
}

// readMember reads a whole member and checks its sum. It fails on a member longer than it claims.
func readMember(m *zip.File) ([]byte, error) {
	r, err := m.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data := make([]byte, m.UncompressedSize64)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("member %.200q: %w", m.Name, err)
	}
	if err := atEnd(r); err != nil {
		return nil, fmt.Errorf("member %.200q: its end: %w", m.Name, err)
	}
	return data, nil
}

// member finds a member by its name. It returns nil if there is none.
func (z *archive) member(name string) *member {
	for _, m := range z.members {
		if m.Name == name {
			return m
		}
	}
	return nil
}

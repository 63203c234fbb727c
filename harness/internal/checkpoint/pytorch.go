package checkpoint

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/difftest/difftest/harness/internal/npy"
	"github.com/difftest/difftest/harness/internal/printable"
)

// storage is the memory of one or more tensors.
type storage struct {
	dtype    npy.DType // uint8 if untyped
	untyped  bool
	elements int
	data     data // nil in a legacy file until all pickles are read
}

// tensor is a view of a storage. PyTorch negates the numbers of a storage lazily: negative has its
// negative bit, as the imaginary part of a conjugated tensor does.
type tensor struct {
	dtype    npy.DType
	storage  *storage
	view     view
	negative bool
}

// maxPickle bounds a pickle, in bytes. 100,000 tensors take less.
const maxPickle = 1 << 25

// readPyTorch reads the format of torch.save since PyTorch 1.6: a zip archive with a pickle,
// data.pkl, and a member data/KEY for each storage (torch/serialization.py of PyTorch 2.15.0).
func readPyTorch(z *archive, folder string) (*File, error) {
	if z.member(folder+"constants.pkl") != nil {
		return nil, errors.New("a TorchScript archive: save model.state_dict() with torch.save")
	}
	if err := errors.Join(checkVersion(z, folder), checkByteOrder(z, folder)); err != nil {
		return nil, err
	}
	pickle := z.member(folder + "data.pkl")
	if pickle.UncompressedSize64 > maxPickle {
		return nil, fmt.Errorf("data.pkl has %d bytes, want at most %d", pickle.UncompressedSize64, maxPickle)
	}
	data, err := readMember(pickle.File)
	if err != nil {
		return nil, err
	}
	u := &unpickler{data: data, classes: knownClass, persistent: zipStorages(z, folder)}
	value, err := u.load()
	if err != nil {
		return nil, fmt.Errorf("data.pkl: %w", err)
	}
	if u.at != len(data) {
		return nil, fmt.Errorf("data.pkl: %d bytes stand behind the pickle", len(data)-u.at)
	}
	return pytorchFile(PyTorch, value)
}

// checkVersion refuses an archive without a version, which torch.load refuses too, and members that
// lie outside the archive's folder, which it ignores.
func checkVersion(z *archive, folder string) error {
	if z.member(folder+"version") == nil && z.member(folder+".data/version") == nil {
		return fmt.Errorf("the archive has no %.200q: torch.save did not write it", folder+"version")
	}
	for _, m := range z.members {
		if !strings.HasPrefix(m.Name, folder) {
			return fmt.Errorf("%.200q lies outside the folder of the archive, %.200q", m.Name, folder)
		}
	}
	return nil
}

// checkByteOrder refuses a file from a big-endian machine.
func checkByteOrder(z *archive, folder string) error {
	m := z.member(folder + "byteorder")
	if m == nil {
		return nil // PyTorch before 2.1 wrote no byteorder
	}
	const little = "little"
	if m.UncompressedSize64 > uint64(len(little)) {
		return fmt.Errorf("byteorder has %d bytes, want %.200q", m.UncompressedSize64, little)
	}
	order, err := readMember(m.File)
	if err == nil && string(order) != little {
		err = fmt.Errorf("byteorder is %.200q, want %.200q", order, little)
	}
	return err
}

// zipStorages finds storages in the archive. It fails if a description and its member differ in
// size.
func zipStorages(z *archive, folder string) func(tuple) (any, error) {
	members := map[string]int{}
	for i, m := range z.members {
		members[m.Name] = i
	}
	known := map[string]*storage{}
	return func(id tuple) (any, error) {
		key, s, err := describedStorage(id)
		if err != nil {
			return nil, err
		}
		if old := known[key]; old != nil && old.like(s) {
			return old, nil
		}
		name := folder + "data/" + key
		i, found := members[name]
		if !found {
			return nil, fmt.Errorf("the archive has no %.200q", name)
		}
		m, size := z.members[i], uint64(sizeOf(s.dtype))
		if m.UncompressedSize64%size != 0 || m.UncompressedSize64/size != uint64(s.elements) {
			return nil, fmt.Errorf("%.200q has %d bytes, the pickle claims %d elements of %d",
				name, m.UncompressedSize64, s.elements, size)
		}
		if m.UncompressedSize64 > uint64(mostBytes(z.size)) {
			return nil, fmt.Errorf("%.200q claims %d bytes, too many for a file of %d", name, m.UncompressedSize64, z.size)
		}
		s.data = m
		known[key] = s
		return s, nil
	}
}

// like reports whether two descriptions of a storage agree.
func (s *storage) like(other *storage) bool {
	return s.dtype == other.dtype && s.untyped == other.untyped && s.elements == other.elements
}

// describedStorage reads the tuple ("storage", class, key, location, elements). A legacy file adds
// a view, which PyTorch has left empty since 0.4.
func describedStorage(id tuple) (key string, s *storage, err error) {
	if len(id) < 5 || len(id) > 6 || id[0] != "storage" {
		return "", nil, errors.New("a persistent object that is not a storage")
	}
	if len(id) == 6 && id[5] != nil {
		return "", nil, errors.New("a view of a storage, which PyTorch wrote before 0.4")
	}
	kind, ok := id[1].(storageClass)
	key, okKey := id[2].(string)
	elements, okElements := id[4].(int)
	if !ok || !okKey || !okElements || elements < 0 || elements > math.MaxInt/16 {
		return "", nil, fmt.Errorf("a storage: %w", errArguments)
	}
	return key, &storage{dtype: kind.dtype, untyped: kind.untyped, elements: elements}, nil
}

// storageClass is a class such as torch.FloatStorage.
type storageClass struct {
	dtype   npy.DType
	untyped bool
}

var storageClasses = map[string]storageClass{
	"torch.FloatStorage": {dtype: npy.Float32}, "torch.DoubleStorage": {dtype: npy.Float64},
	"torch.HalfStorage": {dtype: npy.Float16}, "torch.BFloat16Storage": {dtype: npy.BFloat16},
	"torch.LongStorage": {dtype: npy.Int64}, "torch.IntStorage": {dtype: npy.Int32},
	"torch.ShortStorage": {dtype: npy.Int16}, "torch.CharStorage": {dtype: npy.Int8},
	"torch.ByteStorage": {dtype: npy.Uint8}, "torch.BoolStorage": {dtype: npy.Bool},
	"torch.ComplexFloatStorage": {dtype: complex64}, "torch.ComplexDoubleStorage": {dtype: complex128},
	"torch.storage.UntypedStorage": {dtype: npy.Uint8, untyped: true},
	"torch.UntypedStorage":         {dtype: npy.Uint8, untyped: true},
}

// functions holds everything that a state dict calls.
var functions = map[string]callable{
	"collections.OrderedDict":                    newDict,
	"torch._utils._rebuild_tensor_v2":            rebuildTensor,
	"torch._utils._rebuild_tensor_v3":            rebuildTyped,
	"torch._utils._rebuild_parameter":            rebuildParameter,
	"torch._utils._rebuild_parameter_with_state": rebuildParameter,
	"torch.Size":   newSize,
	"torch.device": newDevice,
}

// knownClass returns the function, storage class or type of a name. It refuses every other name.
func knownClass(name string) (any, error) {
	if f, ok := functions[name]; ok {
		return f, nil
	}
	if s, ok := storageClasses[name]; ok {
		return s, nil
	}
	if t, ok := strings.CutPrefix(name, "torch."); ok && bitsOf(npy.DType(t)) >= 8 {
		return npy.DType(t), nil
	}
	return nil, fmt.Errorf("refused: %.200q has no place in a plain state dict"+
		" (save model.state_dict(), and nothing else, with torch.save)", name)
}

func newDict(args tuple) (any, error) {
	if len(args) > 0 {
		return nil, fmt.Errorf("OrderedDict: %w", errArguments)
	}
	return &dict{}, nil
}

func newSize(args tuple) (any, error) {
	if len(args) == 1 {
		if size, ok := args[0].(tuple); ok {
			return size, nil
		}
	}
	return nil, fmt.Errorf("torch.Size: %w", errArguments)
}

// newDevice drops the device.
func newDevice(tuple) (any, error) { return nil, nil }

// rebuildTensor takes (storage, offset, size, stride, requires_grad, hooks, metadata). Files before
// PyTorch 2.0 have no metadata.
func rebuildTensor(args tuple) (any, error) {
	if len(args) < 6 || len(args) > 7 {
		return nil, fmt.Errorf("_rebuild_tensor_v2: %w", errArguments)
	}
	return viewOf(args, "", args[6:])
}

// rebuildTyped takes (storage, offset, size, stride, requires_grad, hooks, dtype, metadata) of an
// untyped storage.
func rebuildTyped(args tuple) (any, error) {
	if len(args) < 7 || len(args) > 8 {
		return nil, fmt.Errorf("_rebuild_tensor_v3: %w", errArguments)
	}
	dtype, ok := args[6].(npy.DType)
	if !ok {
		return nil, fmt.Errorf("_rebuild_tensor_v3: %w", errArguments)
	}
	return viewOf(args, dtype, args[7:])
}

// rebuildParameter takes (tensor, requires_grad, hooks) and returns the tensor.
func rebuildParameter(args tuple) (any, error) {
	if len(args) > 0 {
		if t, ok := args[0].(*tensor); ok {
			return t, nil
		}
	}
	return nil, fmt.Errorf("_rebuild_parameter: %w", errArguments)
}

// viewOf makes a tensor of a storage, an offset, a shape and strides. It takes dtype if the storage
// is untyped, and no dtype if it is typed. metadata is empty or holds one value.
func viewOf(args tuple, dtype npy.DType, metadata []any) (any, error) {
	s, ok := args[0].(*storage)
	offset, okOffset := args[1].(int)
	shape, okShape := ints(args[2])
	strides, okStrides := ints(args[3])
	if !ok || !okOffset || !okShape || !okStrides || s.untyped != (dtype != "") {
		return nil, fmt.Errorf("a tensor: %w", errArguments)
	}
	t := &tensor{dtype: s.dtype, storage: s, view: view{offset, shape, strides}}
	elements := s.elements
	if s.untyped {
		t.dtype = dtype
		elements /= sizeOf(dtype)
	}
	return t, errors.Join(t.obey(metadata), t.view.check(elements))
}

// obey takes the negative and the conjugate bit, the only metadata that PyTorch writes. The
// conjugate bit matters to complex numbers alone, which are not read. Any other entry could change
// the numbers too, so it is refused.
func (t *tensor) obey(metadata []any) error {
	if len(metadata) == 0 || metadata[0] == nil {
		return nil
	}
	d, ok := metadata[0].(*dict)
	if !ok {
		return fmt.Errorf("the metadata of a tensor is %s, want a dict", kind(metadata[0]))
	}
	for i, key := range d.keys {
		set, isBool := d.values[i].(bool)
		switch {
		case key == any("neg") && isBool && (!set || readable(t.dtype) && t.dtype != npy.Bool):
			t.negative = set
		case key == any("neg") && isBool && !readable(t.dtype):
		case key == any("conj") && isBool && (!set || isComplex(t.dtype)):
		default:
			return fmt.Errorf("a tensor of %s has the metadata %s: %s, which PyTorch does not write",
				t.dtype, describeKey(key), describeKey(d.values[i]))
		}
	}
	return nil
}

// maxDimensions is NumPy's limit. No parameter has as many dimensions.
const maxDimensions = 64

func ints(value any) ([]int, bool) {
	t, ok := value.(tuple)
	if len(t) > maxDimensions {
		return nil, false
	}
	out := make([]int, len(t))
	for i, v := range t {
		n, isInt := v.(int)
		out[i], ok = n, ok && isInt
	}
	return out, ok
}

// nests lists the keys under which training scripts save a state dict.
var nests = []string{"state_dict", "model_state_dict", "model"}

// pytorchFile finds the state dict in a saved value, at the top or under a key in nests. It also
// accepts a single tensor.
func pytorchFile(format Format, value any) (*File, error) {
	f := &File{Format: format}
	switch v := value.(type) {
	case *tensor:
		f.Tensors = []*Tensor{v.named("")}
		return f, nil
	case *dict:
		return f, f.find(v)
	}
	return nil, fmt.Errorf("%s was saved, want a state dict", kind(value))
}

// find takes the dict under the one key in nests that holds tensors, or else the top dict.
func (f *File) find(top *dict) error {
	var found []string
	for _, key := range nests {
		if d, ok := top.get(key).(*dict); ok && d.holdsTensors() {
			found = append(found, key)
		}
	}
	switch {
	case len(found) > 1:
		return fmt.Errorf("ambiguous: %s each hold tensors", strings.Join(found, " and "))
	case len(found) == 1:
		f.Under = found[0]
		for i, key := range top.keys {
			if key != any(f.Under) {
				f.Other = append(f.Other, describeOther(key, top.values[i]))
			}
		}
		return f.fill(top.get(f.Under).(*dict))
	case !top.holdsTensors() && len(top.keys) > 0:
		return fmt.Errorf("no tensor stands at the top or under %s; the file has %s",
			strings.Join(nests, ", "), strings.Join(top.names(), ", "))
	}
	return f.fill(top)
}

// fill takes the tensors of a dict and names its other entries.
func (f *File) fill(d *dict) error {
	var errs []error
	for i, key := range d.keys {
		t, isTensor := d.values[i].(*tensor)
		name, isText := key.(string)
		switch {
		case isTensor && isText:
			f.Tensors = append(f.Tensors, t.named(name))
		case isTensor:
			errs = append(errs, fmt.Errorf("%s is the key of a tensor, want a text", kind(key)))
		default:
			f.Other = append(f.Other, describeOther(key, d.values[i]))
		}
	}
	return errors.Join(errs...)
}

func describeOther(key, value any) string {
	name, ok := key.(string)
	if !ok {
		name = kind(key)
	}
	if !printable.Is(name) {
		name = strconv.Quote(name)
	}
	return fmt.Sprintf("%.200s: %s", name, kind(value))
}

func (d *dict) holdsTensors() bool {
	return slices.ContainsFunc(d.values, func(v any) bool { _, ok := v.(*tensor); return ok })
}

// names returns the first keys, for an error.
func (d *dict) names() []string {
	const shown = 10
	var names []string
	for i, key := range d.keys {
		if i == shown {
			return append(names, "...")
		}
		names = append(names, describeKey(key))
	}
	return names
}

// named gives a tensor its name.
func (t *tensor) named(name string) *Tensor {
	return &Tensor{
		Name: name, DType: t.dtype, Shape: t.view.shape,
		place: place{data: t.storage.data, view: t.view, negative: t.negative},
	}
}

// negate replaces numbers by their negatives. The negative of an integer wraps, as in PyTorch.
func negate(dtype npy.DType, elements []byte) {
	size := dtype.Size()
	for element := range slices.Chunk(elements, size) {
		if dtype.IsFloat() {
			element[size-1] ^= 0x80 // the sign
			continue
		}
		carry := 1 // two's complement: invert every bit and add 1
		for i, b := range element {
			sum := int(^b) + carry
			element[i], carry = byte(sum), sum>>8
		}
	}
}

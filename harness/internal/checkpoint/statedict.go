package checkpoint

import (
	"errors"

	"github.com/difftest/difftest/attention"
)

// StateDict reads every floating-point tensor as float32. It returns the names of all others in
// left: integers and booleans are buffers such as num_batches_tracked, not parameters, and the
// values of some types cannot be read. It fails on a value that float32 cannot hold, and on a file
// that is cut off. The error names every tensor concerned.
func (f *File) StateDict() (dict attention.StateDict, left []string, err error) {
	dict = attention.StateDict{}
	var errs []error
	for _, t := range f.Tensors {
		if !t.DType.IsFloat() {
			left = append(left, t.Name)
			continue
		}
		value, err := t.Float32s()
		dict[t.Name] = value
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	return dict, left, nil
}

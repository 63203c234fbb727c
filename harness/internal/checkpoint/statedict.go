package checkpoint

import (
	"errors"

	"github.com/difftest/difftest/attention"
)

// StateDict reads every tensor of floating-point numbers, in float32. The names of the others are left,
// such as num_batches_tracked: integers and booleans are buffers, no parameters. It fails on values that
// float32 cannot hold and on a file that is cut off, and names every tensor that is at fault.
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

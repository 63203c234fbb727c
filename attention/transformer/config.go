package transformer

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/difftest/difftest/attention"
)

// Config is the configuration of a model: [LlamaConfig], [GemmaConfig], [GPT2Config], [BertConfig]
// or [MoeConfig]. Their fields have the names and the meanings of Hugging Face's configurations
// (transformers 5.24.0), and comments give the names there.
type Config interface {
	// Check returns every reason why New would refuse the configuration, each starting with
	// "config: ", or nil.
	Check() error

	build() *Model
}

// refusals collects the reasons why a configuration is refused.
type refusals []error

func (r *refusals) refuse(wrong bool, format string, args ...any) {
	if wrong {
		*r = append(*r, fmt.Errorf("config: "+format, args...))
	}
}

// err returns all reasons, nil if there are none.
func (r *refusals) err() error { return errors.Join(*r...) }

// maxWidth bounds every width and count, so that no product of three of them overflows int.
const maxWidth = 1 << 20

// width refuses a width or a count that is not from 1 to maxWidth.
func (r *refusals) width(name string, value int) {
	r.refuse(value < 1 || value > maxWidth, "%s %d, want at least 1 and at most %d", name, value, maxWidth)
}

// epsilon refuses a negative number and one that is not finite.
func (r *refusals) epsilon(name string, value float64) {
	r.refuse(!finite(value) || value < 0, "%s %v, want a finite number, 0 or more", name, value)
}

// activation refuses an unknown activation.
func (r *refusals) activation(a Activation) {
	_, known := activations[a]
	r.refuse(!known, "activation %q, want one of %q", a, slices.Sorted(maps.Keys(activations)))
}

// attention refuses what [attention.New] refuses.
func (r *refusals) attention(c attention.Config) {
	err := c.Check()
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		r.refuse(true, "attention: %s", strings.TrimPrefix(strings.TrimSpace(line), "config: "))
	}
}

// finite reports whether v is neither NaN nor infinite.
func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

package fresh

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/fixture"
)

// Config describes a case by numbers and words. The zero value of an option means that the case
// does not have it. The tags of [Config.Fields] are the flags of difftest new.
type Config struct {
	// Model is the name of the captured case whose module a case computes; "" for attention. Such a
	// case has a batch, Tokens, and maybe padding, and no other fields but the seed.
	Model  string
	Tokens int

	Layer bool // a layer with projections; false: scaled_dot_product_attention

	Batch   int
	Heads   int
	KVHeads int // 0: as many as Heads
	HeadDim int
	// ValueDim is the width of the values of a function; 0: HeadDim.
	ValueDim int
	Queries  int
	// Keys counts the keys of the past, too. In a self-attention layer it is Past + Queries.
	Keys int
	Past int

	Causal  string // "", "top-left", "lower-right"
	Window  int
	Mask    string // "", "bool", "additive", "padding"
	Scale   float64
	Softcap float64
	ALiBi   bool
	Sinks   bool

	// The fields from here to Cross are options of a layer.
	EmbedDim int    // 0: Heads * HeadDim
	RoPE     string // "", "half", "interleaved"
	RoPEDim  int    // 0: HeadDim
	QKNorm   bool
	Layout   string // of the parameters, "" for PyTorch's
	Order    string // of the input's dimensions, "" for batch first
	Cross    bool   // keys and values come from an input of their own

	Precision string // of a function, "" for float32
	// Scores is the standard deviation of the scores; 0: 1.
	Scores float64
	Seed   uint64
}

// Field is one field of a configuration with its flag.
type Field struct {
	Name, Usage string
	// Value points to an int, a float64, a string, a bool or a uint64.
	Value any
	// Words are the values of a string beside ""; nil for other types.
	Words []string
	// Option reports whether a case may lack the field: its zero value turns it off.
	Option bool
}

// Words of the fields.
var (
	causalities = []string{"top-left", "lower-right"}
	masks       = []string{"bool", "additive", "padding"}
	styles      = []string{"half", "interleaved"}
	layouts     = []string{"torch-separate", "llama", "gpt2", "neox", "fused"}
	orders      = []string{"sequence-first"}
	precisions  = []string{"float16", "bfloat16", "float64"}
)

// Fields returns the fields of a configuration in the order in which they are printed.
func (c *Config) Fields() []Field {
	if c.Model != "" {
		return []Field{
			{Name: "batch", Usage: "batch elements", Value: &c.Batch},
			{Name: "tokens", Usage: "tokens", Value: &c.Tokens},
			{Name: "mask", Usage: "padded tokens", Value: &c.Mask, Words: []string{"padding"}, Option: true},
			{Name: "seed", Usage: "seed of the numbers", Value: &c.Seed},
		}
	}
	return []Field{
		{Name: "layer", Usage: "a layer with projections, not the function", Value: &c.Layer, Option: true},
		{Name: "batch", Usage: "batch elements", Value: &c.Batch},
		{Name: "heads", Usage: "query heads", Value: &c.Heads},
		{Name: "kv-heads", Usage: "key and value heads; 0 is --heads", Value: &c.KVHeads, Option: true},
		{Name: "head-dim", Usage: "width of a head", Value: &c.HeadDim},
		{Name: "value-dim", Usage: "width of a value; 0 is --head-dim", Value: &c.ValueDim, Option: true},
		{Name: "queries", Usage: "query tokens", Value: &c.Queries},
		{Name: "keys", Usage: "keys, those of a cache included; 0 is --past and --queries", Value: &c.Keys},
		{Name: "past", Usage: "keys in a cache", Value: &c.Past, Option: true},
		{Name: "causal", Usage: "causal mask", Value: &c.Causal, Words: causalities, Option: true},
		{Name: "window", Usage: "hide keys at a distance of N or more", Value: &c.Window, Option: true},
		{Name: "mask", Usage: "another mask", Value: &c.Mask, Words: masks, Option: true},
		{Name: "scale", Usage: "factor of the scores; 0 is 1/sqrt(head-dim)", Value: &c.Scale, Option: true},
		{Name: "softcap", Usage: "limit of the scores", Value: &c.Softcap, Option: true},
		{Name: "alibi", Usage: "ALiBi", Value: &c.ALiBi, Option: true},
		{Name: "sinks", Usage: "a learned sink for each head", Value: &c.Sinks, Option: true},
		{Name: "embed-dim", Usage: "width of a layer; 0 is --heads times --head-dim", Value: &c.EmbedDim, Option: true},
		{Name: "rope", Usage: "rotary positions", Value: &c.RoPE, Words: styles, Option: true},
		{Name: "rope-dim", Usage: "features that RoPE turns; 0 is --head-dim", Value: &c.RoPEDim, Option: true},
		{Name: "qk-norm", Usage: "RMS norm of queries and keys", Value: &c.QKNorm, Option: true},
		{Name: "layout", Usage: "layout of the parameters", Value: &c.Layout, Words: layouts, Option: true},
		{Name: "order", Usage: "order of the dimensions", Value: &c.Order, Words: orders, Option: true},
		{Name: "cross", Usage: "keys and values from another input", Value: &c.Cross, Option: true},
		{Name: "precision", Usage: "type of inputs and output", Value: &c.Precision, Words: precisions, Option: true},
		{Name: "scores", Usage: "standard deviation of the scores; 0 is 1", Value: &c.Scores, Option: true},
		{Name: "seed", Usage: "seed of the numbers", Value: &c.Seed},
	}
}

// Default is the configuration of difftest new without flags.
func Default() Config {
	return Config{Batch: 3, Heads: 4, HeadDim: 10, Queries: 7, Seed: 1}
}

// Complete returns the configuration with every number that follows from others. Options of a layer
// make it a layer.
func (c Config) Complete() Config {
	if c.Model != "" {
		return c
	}
	if c.RoPE != "" || c.QKNorm || c.Layout != "" || c.Order != "" || c.Cross || c.EmbedDim != 0 {
		c.Layer = true
	}
	if c.Layer && !c.Cross && c.Keys > c.Queries && c.Past == 0 {
		c.Past = c.Keys - c.Queries
	}
	if c.Keys == 0 {
		c.Keys = c.Past + c.Queries
	}
	if c.KVHeads == c.Heads {
		c.KVHeads = 0
	}
	if c.ValueDim == c.HeadDim {
		c.ValueDim = 0
	}
	if c.Scores == 1 {
		c.Scores = 0
	}
	if c.RoPEDim == c.HeadDim {
		c.RoPEDim = 0
	}
	return c
}

// Args returns the flags of difftest new that give the configuration.
func (c Config) Args() []string {
	base := Default()
	if c.Model != "" {
		base = Config{Model: c.Model}
	}
	var args []string
	usual := base.Fields()
	for i, f := range c.Fields() {
		text := Text(f.Value)
		switch {
		case text == Text(usual[i].Value):
		case text == "true":
			args = append(args, "--"+f.Name)
		default:
			args = append(args, "--"+f.Name+"="+text)
		}
	}
	return args
}

// String returns the flags as one line.
func (c Config) String() string { return strings.Join(c.Args(), " ") }

// Parse reads the flags that [Config.Args] returns.
func Parse(args []string) (Config, error) { return Default().parse(args) }

// parse sets the fields of a configuration from flags.
func (c Config) parse(args []string) (Config, error) {
	fields := c.Fields()
	for _, arg := range args {
		name, value, given := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if !given {
			value = "true"
		}
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
		if i < 0 || !strings.HasPrefix(arg, "--") {
			return c, fmt.Errorf("%q: no field of a case", arg)
		}
		if err := set(fields[i].Value, value); err != nil {
			return c, fmt.Errorf("%q: %w", arg, err)
		}
	}
	return c.Complete(), c.Complete().Check()
}

// Text returns the value that a field points to.
func Text(value any) string {
	switch v := value.(type) {
	case *int:
		return strconv.Itoa(*v)
	case *uint64:
		return strconv.FormatUint(*v, 10)
	case *float64:
		return strconv.FormatFloat(*v, 'g', -1, 64)
	case *bool:
		return strconv.FormatBool(*v)
	}
	return *value.(*string)
}

func set(value any, text string) (err error) {
	switch v := value.(type) {
	case *int:
		*v, err = strconv.Atoi(text)
	case *uint64:
		*v, err = strconv.ParseUint(text, 10, 64)
	case *float64:
		*v, err = strconv.ParseFloat(text, 64)
	case *bool:
		*v, err = strconv.ParseBool(text)
	case *string:
		*v = text
	}
	return err
}

// maxNumber bounds every number of a configuration, and maxElements every tensor.
const (
	maxNumber   = 1 << 17
	maxElements = 1 << 25
)

// Check returns every reason why a complete configuration gives no case.
func (c Config) Check() error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for _, f := range c.Fields() {
		switch v := f.Value.(type) {
		case *int:
			least := 1
			if f.Option {
				least = 0
			}
			refuse(*v < least || *v > maxNumber, "--%s %d: want %d to %d", f.Name, *v, least, maxNumber)
		case *string:
			refuse(*v != "" && !slices.Contains(f.Words, *v), "--%s %q: want one of %q", f.Name, *v, f.Words)
		}
	}
	if len(errs) > 0 || c.Model != "" {
		return errors.Join(errs...)
	}
	c.checkTogether(refuse)
	size := c.Batch * c.Heads * max(c.Queries, c.Keys) * max(c.HeadDim, c.ValueDim, c.Keys)
	refuse(size > maxElements*16, "the case is too large")
	if len(errs) == 0 && c.Layer {
		errs = append(errs, c.layer().Check())
	}
	return errors.Join(errs...)
}

// checkTogether refuses fields that exclude each other.
func (c Config) checkTogether(refuse func(wrong bool, format string, args ...any)) {
	refuse(c.KVHeads > 0 && c.Heads%c.KVHeads != 0, "--kv-heads %d: does not divide --heads %d", c.KVHeads, c.Heads)
	refuse(c.Past >= c.Keys, "--past %d: want fewer than --keys %d", c.Past, c.Keys)
	if !c.Layer {
		refuse(c.Causal != "" && (c.Mask == "bool" || c.Mask == "additive"),
			"--mask %s: a function is causal or has a mask, as in PyTorch", c.Mask)
		return
	}
	refuse(c.Precision != "", "--precision: only of a function; a layer has float32 inputs")
	refuse(c.ValueDim != 0, "--value-dim: only of a function")
	refuse(c.Causal == "lower-right", "--causal lower-right: only of a function; the cache places a layer's queries")
	refuse(c.Cross && c.Past > 0, "--cross: keys of another input have no cache")
	refuse(!c.Cross && c.Keys != c.Past+c.Queries,
		"--keys %d: a layer without --cross has --past and --queries, %d", c.Keys, c.Past+c.Queries)
}

// layer returns the configuration of a layer.
func (c Config) layer() attention.Config {
	l := attention.Config{
		EmbedDim: cmp.Or(c.EmbedDim, c.Heads*c.HeadDim), NumHeads: c.Heads, NumKVHeads: c.KVHeads,
		Bidirectional: c.Causal == "", Scale: c.Scale, Softcap: c.Softcap, Window: c.Window, ALiBi: c.ALiBi,
		Sinks: c.Sinks, ParamLayout: paramLayouts[c.Layout],
	}
	if l.EmbedDim != c.Heads*c.HeadDim {
		l.HeadDim = c.HeadDim
	}
	if c.Layout == "" && (l.NumKVHeads > 0 || l.HeadDim > 0 || c.decoder()) {
		l.ParamLayout = attention.LlamaLayout
	}
	if c.Order == "sequence-first" {
		l.InputLayout = attention.SequenceFirst
	}
	if c.RoPE != "" {
		l.RoPE = &attention.RoPE{Style: attention.HalfSplit, Dim: c.RoPEDim, Base: 10000}
		if c.RoPE == "interleaved" {
			l.RoPE.Style = attention.Interleaved
		}
	}
	if c.QKNorm {
		l.QKNorm = &attention.QKNorm{Epsilon: 1e-6}
	}
	return l
}

// decoder reports whether PyTorch's own layer lacks an option of the configuration.
func (c Config) decoder() bool {
	return c.Scale != 0 || c.Softcap != 0 || c.Window != 0 || c.ALiBi || c.Sinks || c.RoPE != "" || c.QKNorm ||
		c.Past > 0
}

var paramLayouts = map[string]attention.ParamLayout{
	"torch-separate": attention.TorchSeparateLayout, "llama": attention.LlamaLayout, "gpt2": attention.GPT2Layout,
	"neox": attention.NeoXLayout, "fused": attention.FusedLayout,
}

// precision returns the type of the inputs.
func (c Config) precision() fixture.DType {
	return fixture.DType(cmp.Or(c.Precision, string(fixture.Float32)))
}

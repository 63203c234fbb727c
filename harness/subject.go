package harness

import (
	"context"
	"time"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/harness/internal/child"
	"github.com/difftest/difftest/harness/internal/subject"
)

// Subject is a Go implementation under test. The cases of an operation whose field is nil are
// skipped and counted.
//
// A function that does not support a case returns an error that wraps [errors.ErrUnsupported]. The
// case is then skipped, and the report shows the error as the reason. Any other error fails the
// case.
type Subject struct {
	Name string

	// SDPA is torch.nn.functional.scaled_dot_product_attention. Query is (..., H, L, E), key is
	// (..., Hk, S, E), value is (..., Hk, S, Ev), and the output is (..., H, L, Ev).
	SDPA func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error)

	// MHA makes a layer as torch.nn.MultiheadAttention does. Every case gets a fresh one.
	MHA func(attention.Config) (Module, error)

	// RoPE is torch.onnx.ops.rotary_embedding, which rotates features by given tables.
	RoPE func(attention.RotaryInputs, attention.RotaryOptions) (*attention.Tensor, error)

	// Model makes a captured module of PyTorch, such as a whole transformer. Every case gets a
	// fresh one.
	Model func(Description) (Model, error)

	// Precision is the arithmetic of the implementation; the zero value is float32.
	Precision Precision
}

// Module is a multi-head attention layer under test. *attention.MultiHead is one.
type Module interface {
	// LoadStateDict copies parameters into the layer. With attention.Strict it returns an error for
	// every missing or unexpected key and every shape that does not fit.
	LoadStateDict(attention.StateDict, attention.Strictness) (attention.IncompatibleKeys, error)

	// Forward computes the output, and the attention weights if the configuration needs them. It
	// must not change its inputs, and must give the same bits for the same inputs.
	Forward(attention.Inputs) (attention.Outputs, error)
}

// Description describes a captured module of PyTorch: its class, the lines that PyTorch prints of
// it, its configuration as JSON, and the keys of its state dict.
type Description = subject.Description

// Model is a captured module under test.
type Model interface {
	// LoadStateDict copies parameters into the module, as [Module]'s does.
	LoadStateDict(attention.StateDict, attention.Strictness) (attention.IncompatibleKeys, error)

	// Forward computes the output. It must not change its arguments, and must give the same bits
	// for the same arguments.
	Forward(Arguments) (*attention.Tensor, error)
}

// Arguments are the arguments of a captured module's forward by their names, each in the map of its
// type.
type Arguments = subject.Arguments

// Integers is a dense array of integers in row-major order, such as token ids (B, T).
type Integers = subject.Integers

// Tracer is an optional interface of a [Model]. Trace returns the outputs of modules inside the
// model in its last Forward, by their paths in PyTorch: "model.layers.2.mlp". It may give any of
// them. The report then names the first wrong module.
type Tracer interface {
	Trace() map[string]*attention.Tensor
}

// StateDicter is an optional interface of a [Module] and of a [Model]: StateDict returns the
// parameters that the module holds, under the names and in the shapes in which it loads them, as
// torch.nn.Module.state_dict does. Every load of a StateDicter is read back.
type StateDicter interface {
	StateDict() attention.StateDict
}

// Precision is the arithmetic that an implementation declares to compute in. It is no tolerance:
// the noise of a case becomes the noise that this arithmetic gives. The zero value is float32.
type Precision string

// The precisions that can be declared.
const (
	Float16  Precision = "float16"
	BFloat16 Precision = "bfloat16"
	TF32     Precision = "tf32"

	// Float32 with keys and values kept in a KV cache of 8 bits, in the cases that have a cache.
	Int8Cache Precision = "int8-cache"
	E4M3Cache Precision = "fp8-e4m3-cache"
	E5M2Cache Precision = "fp8-e5m2-cache"
)

// Runner is an implementation under test, wherever it runs: a [Subject] in this process, or a
// [Command] in processes of its own.
type Runner interface {
	// start returns the running implementation, and a function that ends it.
	start(context.Context) (subject.Runner, func() error, error)
}

// Command is an implementation in a program of any language. The program reads requests as JSON
// lines and answers them, as PROTOCOL.md describes.
type Command struct {
	// Args are the program and its arguments.
	Args []string

	// Once starts a process for every case instead, with the folder of the case's files as the last
	// argument, or in place of an argument "{dir}".
	Once bool

	// Jobs is how many processes run cases at once; 0 is one.
	Jobs int

	// Env names variables of the environment that the program gets beside the usual ones, which
	// PROTOCOL.md lists.
	Env []string

	// Timeout is how long the program may take to start, and for each answer; 0 is a minute.
	Timeout time.Duration

	// Precision is the arithmetic of a program that does not declare its own; the zero value is
	// float32.
	Precision Precision
}

func (s Subject) start(context.Context) (subject.Runner, func() error, error) {
	own := subject.Subject{Name: s.Name, SDPA: s.SDPA, RoPE: s.RoPE, Precision: subject.Precision(s.Precision)}
	if s.MHA != nil {
		own.MHA = func(c attention.Config) (subject.Module, error) {
			m, err := s.MHA(c)
			if err != nil {
				return nil, err
			}
			return m, nil
		}
	}
	if s.Model != nil {
		own.Model = func(d Description) (subject.Model, error) {
			m, err := s.Model(d)
			if err != nil {
				return nil, err
			}
			return m, nil
		}
	}
	return own, func() error { return nil }, nil
}

func (c Command) start(ctx context.Context) (subject.Runner, func() error, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	s, err := child.New(ctx, child.Command{
		Args: c.Args, Once: c.Once, Jobs: c.Jobs, Env: c.Env, Timeout: timeout, Precision: subject.Precision(c.Precision),
	})
	if err != nil {
		return nil, nil, err
	}
	return s, s.Close, nil
}

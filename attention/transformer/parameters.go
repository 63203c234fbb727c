package transformer

import "github.com/difftest/difftest/attention"

// state holds the parameters of a model in PyTorch's order.
type state struct {
	class  string // in errors
	params []attention.Parameter
	layers []*selfAttention // keep their own copies of parameters
}

// StateDict returns copies of all parameters, as torch.nn.Module.state_dict does.
func (s *state) StateDict() attention.StateDict {
	dict := make(attention.StateDict, len(s.params))
	for _, p := range s.params {
		dict[p.Name] = p.Value.Clone()
	}
	return dict
}

// LoadStateDict copies the values of dict into the parameters, as torch.nn.Module.load_state_dict
// does (PyTorch 2.15.0). A tied head has its weight under both names, as in PyTorch. The errors
// have the form of [attention.LoadError]. A load that returns an error changes nothing.
func (s *state) LoadStateDict(
	dict attention.StateDict, strictness attention.Strictness,
) (attention.IncompatibleKeys, error) {
	keys, err := attention.LoadParameters(s.class, s.params, dict, strictness)
	if err == nil {
		for _, layer := range s.layers {
			layer.arrange()
		}
	}
	return keys, err
}

// scope adds parameters to a state under names that begin with a prefix.
type scope struct {
	state  *state
	prefix string
}

// in returns the scope of a module inside this one.
func (s scope) in(module string) scope {
	return scope{state: s.state, prefix: s.prefix + module + "."}
}

// add adds a parameter of zeros.
func (s scope) add(name string, shape ...int) *attention.Tensor {
	return s.share(name, attention.NewTensor(shape...))
}

// share adds another name for a tensor.
func (s scope) share(name string, t *attention.Tensor) *attention.Tensor {
	s.state.params = append(s.state.params, attention.Parameter{Name: s.prefix + name, Value: t})
	return t
}

// rmsNorm adds the weight of an RMSNorm.
func (s scope) rmsNorm(width int, eps, offset float64) *norm {
	return &norm{weight: s.add("weight", width), eps: eps, offset: offset}
}

// layerNorm adds the weight and the bias of a LayerNorm.
func (s scope) layerNorm(width int, eps float64) *norm {
	return &norm{centered: true, weight: s.add("weight", width), bias: s.add("bias", width), eps: eps}
}

// linear adds the weight (out, in) and perhaps the bias (out) of a torch.nn.Linear.
func (s scope) linear(in, out int, bias biases) *linear {
	l := &linear{weight: s.add("weight", out, in)}
	if bias == withBias {
		l.bias = s.add("bias", out)
	}
	return l
}

// conv1D adds the weight (in, out) and the bias (out) of GPT-2's Conv1D.
func (s scope) conv1D(in, out int) *linear {
	return &linear{weight: s.add("weight", in, out), bias: s.add("bias", out), inOut: true}
}

// biases selects whether a linear layer has a bias.
type biases bool

const (
	withoutBias biases = false
	withBias    biases = true
)

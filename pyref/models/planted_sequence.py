"""Mistakes in recurrent layers and in the state space."""

from pyref.build.pinned_torch import torch
from pyref.models import sequence
from pyref.models.planted import Plant, each, parameters

nn, functional = torch.nn, torch.nn.functional

Tensor = torch.Tensor


def recurrent(model: nn.Module) -> list[nn.RNNBase]:
    """Return the recurrent layers."""
    return [m for m in model.modules() if isinstance(m, nn.RNNBase)]


@torch.no_grad()
def regate(module: nn.RNNBase, blocks: list[int]) -> None:
    """Put the gates of every parameter in another order."""
    for parameter in module.parameters():
        parts = parameter.clone().chunk(len(blocks))
        parameter.copy_(torch.cat([parts[i] for i in blocks]))


def read(kind: type, order: str, standard: str) -> Plant:
    """Read the blocks of the weights as gates in another order."""
    return lambda model: [
        regate(m, [order.index(gate) for gate in standard]) for m in recurrent(model) if isinstance(m, kind)
    ]


def biases(change: object) -> Plant:
    """Change the two biases of every direction."""

    @torch.no_grad()
    def plant(model: nn.Module) -> None:
        for module in recurrent(model):
            for name, bias in list(module.named_parameters()):
                if name.startswith("bias_ih"):
                    other = module.get_parameter(name.replace("ih", "hh"))
                    first, second = change(bias.clone(), other.clone())
                    bias.copy_(first)
                    other.copy_(second)

    return plant


@torch.no_grad()
def forget(model: sequence.Recurrent) -> None:
    """Add one to the bias of the forget gate."""
    for name, bias in model.lstm.named_parameters():
        if name.startswith("bias_ih"):
            bias[bias.shape[0] // 4 : bias.shape[0] // 2] += 1


def reset_first(gru: nn.GRU, x: Tensor) -> tuple[Tensor, None]:
    """Return a GRU whose reset gate scales the state before the product."""
    size = gru.hidden_size
    w, u, b, c = gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0
    h, states = x.new_zeros(x.shape[0], size), []
    for t in range(x.shape[1]):
        given = functional.linear(x[:, t], w, b)
        kept = functional.linear(h, u[: 2 * size], c[: 2 * size])
        r = torch.sigmoid(given[:, :size] + kept[:, :size])
        z = torch.sigmoid(given[:, size : 2 * size] + kept[:, size:])
        n = torch.tanh(given[:, 2 * size :] + functional.linear(r * h, u[2 * size :], c[2 * size :]))
        h = n + z * (h - n)
        states.append(h)
    return torch.stack(states, 1), None


def forgetful(module: nn.RNNBase) -> object:
    """Return a forward that gives each step to the layer alone."""
    once = module.forward

    def forward(x: Tensor, state: object = None) -> tuple[Tensor, None]:
        return torch.cat([once(x[:, t : t + 1])[0] for t in range(x.shape[1])], 1), None

    return forward


def turned(module: nn.RNNBase) -> object:
    """Return a forward that takes batch elements for steps."""
    once = module.forward
    return lambda x, state=None: (once(x.transpose(0, 1))[0].transpose(0, 1), None)


def forwards(make: object) -> Plant:
    """Replace the forward of every recurrent layer."""
    return lambda model: [setattr(m, "forward", make(m)) for m in recurrent(model)]


def join(change: object) -> Plant:
    """Join the directions of the LSTM in another way."""

    def plant(model: sequence.Recurrent) -> None:
        once = model.lstm.forward

        def forward(x: Tensor, states: object) -> tuple[Tensor, None]:
            there, back = once(x, states)[0].chunk(2, dim=-1)
            return change(there, back), None

        model.lstm.forward = forward

    return plant


def states_exchanged(model: sequence.Recurrent) -> None:
    """Give the cell for the hidden state, and the reverse."""
    once = model.lstm.forward
    model.lstm.forward = lambda x, states: once(x, states[::-1])


def relu(model: sequence.Recurrent) -> None:
    """Use ReLU in the plain layer."""
    other = nn.RNN(6, 4, batch_first=True, nonlinearity="relu")
    other.load_state_dict(model.rnn.state_dict())
    model.rnn = other


RECURRENT: dict[str, Plant] = {
    "lstm-gates-onnx": read(nn.LSTM, "iofg", "ifgo"),
    "lstm-gates-tensorflow": read(nn.LSTM, "igfo", "ifgo"),
    "lstm-gates-coreml": read(nn.LSTM, "ifog", "ifgo"),
    "gru-gates-keras": read(nn.GRU, "zrn", "rzn"),
    "gru-reset-before": lambda model: setattr(model.gru, "forward", lambda x: reset_first(model.gru, x)),
    "recurrent-input-bias-missing": biases(lambda b, c: (0 * b, c)),
    "recurrent-state-bias-missing": biases(lambda b, c: (b, 0 * c)),
    "recurrent-biases-exchanged": biases(lambda b, c: (c, b)),
    "recurrent-biases-twice": biases(lambda b, c: (b + c, b + c)),
    "lstm-forget-bias-added": forget,
    "recurrent-state-not-carried": forwards(forgetful),
    "lstm-states-exchanged": states_exchanged,
    "recurrent-reverse-not-flipped": join(lambda there, back: torch.cat([there, back.flip(1)], -1)),
    "recurrent-directions-exchanged": join(lambda there, back: torch.cat([back, there], -1)),
    "recurrent-batch-as-time": forwards(turned),
    "rnn-relu": relu,
}


def each_mixer(name: str, change: object) -> Plant:
    """Replace a method of every mixer."""
    return each(sequence.Mixer, name, change)


def centred(left: int) -> Plant:
    """Cut the padded convolution at another place."""
    return each_mixer("convolve", lambda m, x: m.conv1d(x)[..., left : left + x.shape[-1]])


STATE_SPACE: dict[str, Plant] = {
    "conv-centred": centred(1),
    "conv-anticausal": centred(3),
    "conv-flipped": parameters(
        lambda model: (layer.conv1d for layer in model.layers),
        lambda conv: conv.weight.copy_(conv.weight.flip(2).clone()),
    ),
    "ssm-dt-bias-missing": each_mixer("raw_step", lambda m, dt: dt @ m.dt_proj.weight.T),
    "ssm-dt-bias-twice": each_mixer("raw_step", lambda m, dt: m.dt_proj(dt) + m.dt_proj.bias),
    "ssm-softplus-missing": each_mixer("step", lambda m, dt: dt),
    "ssm-softplus-exp": each_mixer("step", lambda m, dt: dt.exp()),
    "ssm-softplus-twice": each_mixer("step", lambda m, dt: functional.softplus(functional.softplus(dt))),
    "ssm-decay-grows": each_mixer("decay_rate", lambda m: m.A_log.exp()),
    "ssm-decay-log": each_mixer("decay_rate", lambda m: -m.A_log),
    "ssm-decay-raw": each_mixer("decay_rate", lambda m: m.A_log),
    "ssm-b-c-exchanged": each_mixer(
        "split", lambda m, x: (x[..., :2], x[..., 2 + m.states :], x[..., 2 : 2 + m.states])
    ),
    "ssm-x-z-exchanged": each_mixer("halves", lambda m, x: x.chunk(2, dim=-1)[::-1]),
    "ssm-dt-on-input-missing": each_mixer("drive", lambda m, dt, b: b[:, :, None]),
    "ssm-euler": each_mixer("decay", lambda m, exponent: 1 + exponent),
    "ssm-decay-missing": each_mixer("update", lambda m, decay, state, added: state + added),
    "ssm-read-before-update": each_mixer("read", lambda m, before, after: before),
    "ssm-skip-missing": each_mixer("skip", lambda m, out, x: out),
    "ssm-gate-missing": each_mixer("open", lambda m, gate: 1.0),
    "ssm-gate-sigmoid": each_mixer("open", lambda m, gate: torch.sigmoid(gate)),
    "norm-groups-ignored": each_mixer(
        "norm", lambda m, x, gate: type(m).grouped(m, x * m.open(gate), 1) * m.norm_weight
    ),
}

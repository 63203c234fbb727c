"""Known mistakes in the small models, made in eager PyTorch: in parameters, or in other forwards.

A mistake changes a model. It has the id that difftest gives it, and a model's names it applies to.
"""

import copy
from collections.abc import Callable, Iterator

from pyref.build.pinned_torch import torch
from pyref.models import decoder

nn, functional = torch.nn, torch.nn.functional

Tensor = torch.Tensor
Plant = Callable[[nn.Module], None]


def norms(model: nn.Module) -> Iterator[nn.Module]:
    """Yield every norm."""
    return (m for m in model.modules() if isinstance(m, nn.LayerNorm | decoder.RMSNorm))


def each(kind: type | tuple[type, ...], name: str, forward: Callable) -> Plant:
    """Replace a method of every module of a class by a function of the module and its arguments."""

    def plant(model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, kind):
                setattr(module, name, forward.__get__(module))

    return plant


def parameters(of: Callable[[nn.Module], Iterator[nn.Module]], change: Callable[[nn.Module], None]) -> Plant:
    """Change the parameters of some modules."""

    @torch.no_grad()
    def plant(model: nn.Module) -> None:
        for module in list(of(model)):
            change(module)

    return plant


def activation(function: Callable[[Tensor], Tensor]) -> Plant:
    """Replace every activation."""
    return each((nn.SiLU, nn.GELU), "forward", lambda _, x: function(x))


def linears(model: nn.Module, *words: str) -> list[nn.Linear]:
    """Return the linear layers whose names hold one of some words."""
    named = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    return [m for name, m in named if not words or any(word in name for word in words)]


def zero_biases(*words: str) -> Plant:
    """Set the biases of some linear layers to zero."""
    return parameters(lambda model: linears(model, *words), lambda layer: layer.bias.zero_())


def layer_norm_by_hand(module: nn.LayerNorm, x: Tensor, eps_outside: bool, spare: int) -> Tensor:
    """Return a LayerNorm with another divisor."""
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred * centred).sum(-1, keepdim=True) / (x.shape[-1] - spare)
    divisor = variance.sqrt() + module.eps if eps_outside else (variance + module.eps).sqrt()
    return centred / divisor * module.weight + module.bias


def reorder(order: Callable[[int, int], int]) -> Plant:
    """Give layer i the parameters of another layer."""

    def plant(model: nn.Module) -> None:
        states = [copy.deepcopy(layer.state_dict()) for layer in model.layers]
        for i, layer in enumerate(model.layers):
            layer.load_state_dict(states[order(i, len(states))])

    return plant


def transpose_square(layer: nn.Linear) -> None:
    """Transpose a weight, if it is square."""
    if layer.weight.shape[0] == layer.weight.shape[1]:
        layer.weight.copy_(layer.weight.T.clone())


def exchange(layer: nn.Module, first: str, second: str) -> None:
    """Exchange two modules of a layer."""
    a, b = getattr(layer, first), getattr(layer, second)
    setattr(layer, first, b)
    setattr(layer, second, a)


def move_positions(by: int) -> Plant:
    """Use the embedding of another position."""

    def plant(model: nn.Module) -> None:
        table = model.embeddings
        table.add_position = lambda x, positions: x + table.position(positions + by)

    return plant


def rms(module: decoder.RMSNorm, x: Tensor, divisor: Tensor) -> Tensor:
    """Return x over a divisor, times the weight of a norm."""
    return x / divisor * (module.weight + module.offset)


def through(dtype: torch.dtype, *kinds: type) -> Plant:
    """Round the parameters of modules of some classes, or of all, to another type."""

    @torch.no_grad()
    def plant(model: nn.Module) -> None:
        for module in model.modules():
            if not kinds or isinstance(module, kinds):
                for parameter in module.parameters(recurse=False):
                    parameter.copy_(parameter.to(dtype))

    return plant


DECODER: dict[str, Plant] = {
    "parameters-bfloat16": through(torch.bfloat16),
    "parameters-float16": through(torch.float16),
    "linear-parameters-bfloat16": through(torch.bfloat16, nn.Linear),
    "linear-parameters-float16": through(torch.float16, nn.Linear),
    "norm-skipped": each(decoder.RMSNorm, "forward", lambda _, x: x),
    "norm-final-missing": lambda model: setattr(model, "norm", nn.Identity()),
    "norm-twice": lambda model: [twice(norm) for norm in list(norms(model))],
    "norm-weight-missing": each(
        decoder.RMSNorm, "forward", lambda m, x: x * torch.rsqrt((x * x).mean(-1, keepdim=True) + m.eps)
    ),
    "norm-mean-subtracted": each(
        decoder.RMSNorm,
        "forward",
        lambda m, x: functional.layer_norm(x, x.shape[-1:], m.weight + m.offset, None, m.eps),
    ),
    "norm-eps-outside-root": each(
        decoder.RMSNorm,
        "forward",
        lambda m, x: rms(m, x, (x * x).mean(-1, keepdim=True).sqrt() + m.eps),
    ),
    "norms-exchanged": lambda model: [
        exchange(layer, "input_layernorm", "post_attention_layernorm") for layer in model.layers
    ],
    "activation-relu": activation(functional.relu),
    "activation-missing": activation(lambda x: x),
    "gelu-erf": activation(functional.gelu),
    "gelu-quick": activation(lambda x: x * torch.sigmoid(1.702 * x)),
    "gate-up-exchanged": lambda model: [
        exchange(layer.mlp, "gate_proj", "up_proj") for layer in model.layers
    ],
    "gate-not-activated": each(
        decoder.MLP, "forward", lambda m, x: m.down_proj(m.gate_proj(x) * m.up_proj(x))
    ),
    "gate-activated-last": each(
        decoder.MLP, "forward", lambda m, x: m.down_proj(m.act(m.gate_proj(x) * m.up_proj(x)))
    ),
    "gate-and-up-activated": each(
        decoder.MLP, "forward", lambda m, x: m.down_proj(m.act(m.gate_proj(x)) * m.act(m.up_proj(x)))
    ),
    "gate-added": each(
        decoder.MLP, "forward", lambda m, x: m.down_proj(m.act(m.gate_proj(x)) + m.up_proj(x))
    ),
    "gate-missing": each(decoder.MLP, "forward", lambda m, x: m.down_proj(m.act(m.gate_proj(x)))),
    "residual-missing": lambda model: [
        each(decoder.Layer, name, lambda _, x, branch: branch)(model) for name in ("add", "add_mlp")
    ],
    "residual-attention-missing": each(decoder.Layer, "add", lambda _, x, branch: branch),
    "residual-mlp-missing": each(decoder.Layer, "add_mlp", lambda _, x, branch: branch),
    "attention-skipped": each(decoder.Layer, "add", lambda _, x, branch: x),
    "mlp-skipped": each(decoder.Layer, "add_mlp", lambda _, x, branch: x),
    "residual-twice": lambda model: [
        each(decoder.Layer, name, lambda _, x, branch: x + x + branch)(model) for name in ("add", "add_mlp")
    ],
    "head-tied": lambda model: setattr(model.lm_head, "weight", model.embed_tokens.weight),
    "linear-transposed": parameters(linears, transpose_square),
    "layers-reversed": reorder(lambda i, count: count - 1 - i),
    "layers-all-first": reorder(lambda i, count: 0),
    "layers-all-last": reorder(lambda i, count: count - 1),
    "model-scale-missing": lambda model: [setattr(layer.self_attn, "scale", 1.0) for layer in model.layers],
    "model-causal-missing": lambda model: setattr(
        model, "seen", lambda mask: mask.bool()[:, None, None].expand(-1, 1, mask.shape[1], -1)
    ),
    "model-padding-ignored": lambda model: setattr(
        model, "seen", lambda mask: model.causal(mask.shape[1]).expand(len(mask), 1, -1, -1)
    ),
    "model-query-key-exchanged": each(
        decoder.Attention, "forward", lambda m, *a: exchanged(m, "query-key", *a)
    ),
    "model-key-value-exchanged": each(
        decoder.Attention, "forward", lambda m, *a: exchanged(m, "key-value", *a)
    ),
    "model-kv-heads-tiled": each(
        decoder.Attention, "repeat", lambda m, x: x.repeat(1, m.settings.heads // x.shape[1], 1, 1)
    ),
    "model-heads-not-merged": each(
        decoder.Attention, "merge", lambda _, context, shape: context.reshape(shape)
    ),
    "model-rotary-missing": lambda model: [
        each(decoder.Attention, name, lambda _, x, tables: x)(model) for name in ("turn_query", "turn_key")
    ],
    "model-rotary-reversed": each(
        decoder.Attention, "forward", lambda m, x, t, seen: type(m).forward(m, x, (t[0], -t[1]), seen)
    ),
    "model-rotary-query-alone": each(decoder.Attention, "turn_key", lambda _, x, tables: x),
    "model-rotary-key-alone": each(decoder.Attention, "turn_query", lambda _, x, tables: x),
    "model-rotary-interleaved": lambda model: [
        each(decoder.Attention, name, lambda _, x, tables: neighbours(x, *tables))(model)
        for name in ("turn_query", "turn_key")
    ],
    "embedding-scale-added": lambda model: setattr(
        model, "embed", lambda ids: model.embed_tokens(ids) * ids_factor(model)
    ),
    "norm-offset-added": parameters(norms, lambda norm: norm.weight.add_(1)),
}

GEMMA: dict[str, Plant] = {
    "norm-offset-missing": parameters(norms, lambda norm: norm.weight.sub_(1)),
    "norm-offset-twice": parameters(norms, lambda norm: norm.weight.add_(1)),
    "activation-silu": activation(functional.silu),
    "embedding-scale-missing": lambda model: setattr(model, "embed", model.embed_tokens.forward),
    "logits-softcap-missing": lambda model: setattr(model, "cap", lambda logits: logits),
    "model-softcap-missing": each(decoder.Attention, "forward", lambda m, *a: exchanged(m, "uncapped", *a)),
    "model-window-missing": lambda model: setattr(
        model, "causal", lambda tokens: torch.ones(tokens, tokens, dtype=torch.bool).tril()
    ),
}

ENCODER: dict[str, Plant] = {
    "norm-bias-missing": parameters(norms, lambda norm: norm.bias.zero_()),
    "norm-mean-kept": each(
        nn.LayerNorm,
        "forward",
        lambda m, x: x * torch.rsqrt((x * x).mean(-1, keepdim=True) + m.eps) * m.weight + m.bias,
    ),
    "norm-eps-outside-root": each(nn.LayerNorm, "forward", lambda m, x: layer_norm_by_hand(m, x, True, 0)),
    "norm-variance-unbiased": each(nn.LayerNorm, "forward", lambda m, x: layer_norm_by_hand(m, x, False, 1)),
    "gelu-tanh": activation(lambda x: functional.gelu(x, approximate="tanh")),
    "positions-missing": lambda model: setattr(model.embeddings, "add_position", lambda x, positions: x),
    "positions-plus-one": move_positions(1),
    "positions-plus-two": move_positions(2),
    "positions-all-zero": lambda model: setattr(
        model.embeddings, "add_position", lambda x, positions: x + model.embeddings.position.weight[0]
    ),
    "token-types-missing": lambda model: setattr(model.embeddings, "add_type", lambda x, types: x),
    "linear-bias-missing": zero_biases(),
    "mlp-bias-missing": zero_biases("up", "down"),
    "attention-bias-missing": zero_biases("attention"),
    "head-bias-missing": zero_biases("head"),
    "model-scale-missing": lambda model: [setattr(layer.attention, "scale", 1.0) for layer in model.layers],
    "model-scale-by-size": lambda model: [setattr(layer.attention, "scale", 1 / 6) for layer in model.layers],
    "norms-exchanged": lambda model: [
        exchange(layer, "attention_norm", "output_norm") for layer in model.layers
    ],
}


def twice(norm: nn.Module) -> None:
    """Apply a norm to its own output."""
    once = norm.forward
    norm.forward = lambda x: once(once(x))


def ids_factor(model: nn.Module) -> float:
    """Return sqrt(width)."""
    return model.settings.width**0.5


def neighbours(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs of neighbouring features."""
    half = x.shape[-1] // 2
    even, odd, cos, sin = x[..., ::2], x[..., 1::2], cos[..., :half], sin[..., :half]
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2)


def exchanged(
    m: decoder.Attention, how: str, x: Tensor, tables: tuple[Tensor, Tensor], seen: Tensor
) -> Tensor:
    """Compute attention with two of its tensors exchanged, or without its softcap."""
    batch, tokens, _ = x.shape
    split = (batch, tokens, -1, m.settings.head_size)
    query = decoder.rotate(m.q_proj(x).view(split).transpose(1, 2), *tables)
    key = m.repeat(decoder.rotate(m.k_proj(x).view(split).transpose(1, 2), *tables))
    value = m.repeat(m.v_proj(x).view(split).transpose(1, 2))
    if how == "query-key":
        query, key = key, query
    if how == "key-value":
        key, value = value, key
    context = functional.scaled_dot_product_attention(query, key, value, seen, scale=m.scale)
    return m.o_proj(context.transpose(1, 2).reshape(batch, tokens, -1))

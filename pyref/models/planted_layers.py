"""Mistakes in the decoders and the encoder with norms, residual sums, layers and gates."""

from pyref.build.pinned_torch import torch
from pyref.models import decoder, encoder, gpt
from pyref.models.planted import Plant, activation, each, norms, parameters, reorder

nn, functional = torch.nn, torch.nn.functional

Tensor = torch.Tensor


def square_of_relu(x: Tensor) -> Tensor:
    """Return relu(x) squared."""
    return functional.relu(x) ** 2


def skip_layer(index: int) -> Plant:
    """Leave out a layer."""

    def plant(model: nn.Module) -> None:
        layers = model.h if hasattr(model, "h") else model.layers
        layers[index].forward = lambda x, *_: x

    return plant


def first_norm(first: str, second: str) -> Plant:
    """Use the first norm of each layer for both."""

    def plant(model: nn.Module) -> None:
        for layer in model.h if hasattr(model, "h") else model.layers:
            setattr(layer, second, getattr(layer, first))

    return plant


def zero(*names: str) -> Plant:
    """Set the biases of the modules with some names to zero."""
    return parameters(
        lambda model: (m for name, m in model.named_modules() if name.endswith(names)),
        lambda module: module.bias.zero_(),
    )


def double(*names: str) -> Plant:
    """Double the biases of the modules with some names."""
    return parameters(
        lambda model: (m for name, m in model.named_modules() if name.endswith(names)),
        lambda module: module.bias.mul_(2),
    )


def llama_post_norm(m: decoder.Layer, x: Tensor, tables: tuple, seen: Tensor) -> Tensor:
    """Return a layer with its norms behind the sums."""
    x = m.input_layernorm(x + m.self_attn(x, tables, seen))
    return m.post_attention_layernorm(x + m.mlp(x))


def llama_residual_from_norm(m: decoder.Layer, x: Tensor, tables: tuple, seen: Tensor) -> Tensor:
    """Return a layer whose sums take the normalised input."""
    x = m.input_layernorm(x)
    x = m.post_attention_layernorm(x + m.self_attn(x, tables, seen))
    return x + m.mlp(x)


def llama_parallel(m: decoder.Layer, x: Tensor, tables: tuple, seen: Tensor) -> Tensor:
    """Return a layer with attention and MLP side by side."""
    attended = m.self_attn(m.input_layernorm(x), tables, seen)
    return x + attended + m.mlp(m.post_attention_layernorm(x))


def bert_pre_norm(m: encoder.Layer, x: Tensor, seen: Tensor) -> Tensor:
    """Return a layer with its norms before attention and MLP."""
    x = m.attention(m.attention_norm(x), seen) + x
    return m.down(m.act(m.up(m.output_norm(x)))) + x


def bert_causal(m: encoder.Layer, x: Tensor, seen: Tensor) -> Tensor:
    """Return a layer whose tokens see no later ones."""
    tokens = x.shape[1]
    return type(m).forward(m, x, seen & torch.ones(tokens, tokens, dtype=torch.bool).tril())


def bert_inner_norm(m: encoder.Layer, x: Tensor, seen: Tensor) -> Tensor:
    """Return a layer whose norms see the branches alone."""
    x = m.attention_norm(m.attention(x, seen)) + x
    return m.output_norm(m.down(m.act(m.up(x)))) + x


def gpt_post_norm(m: gpt.Layer, x: Tensor, seen: Tensor) -> Tensor:
    """Return a layer with its norms behind the sums."""
    x = m.ln_1(x + m.attn(x, seen))
    return m.ln_2(x + m.mlp(x))


def neox_without(part: str) -> Plant:
    """Leave out attention or the MLP of layers that have both side by side."""

    def forward(m: gpt.Layer, x: Tensor, seen: Tensor) -> Tensor:
        return x + (m.mlp(m.ln_2(x)) if part == "attention" else m.attn(m.ln_1(x), seen))

    return each(gpt.Layer, "forward", forward)


def parallel(value: bool) -> Plant:
    """Set whether attention and MLP take the same input."""
    return lambda model: [setattr(layer, "parallel", value) for layer in model.h]


def repeated(model: gpt.GPT) -> None:
    """Count positions along every row."""
    model.positions = lambda mask: torch.arange(mask.shape[1]).expand(mask.shape)


DECODER: dict[str, Plant] = {
    "norm-after-residual": each(decoder.Layer, "forward", llama_post_norm),
    "norm-weight-twice": parameters(norms, lambda norm: norm.weight.square_()),
    "norm-first-for-both": first_norm("input_layernorm", "post_attention_layernorm"),
    "activation-relu-squared": activation(square_of_relu),
    "residual-from-norm": each(decoder.Layer, "forward", llama_residual_from_norm),
    "residual-parallel": each(decoder.Layer, "forward", llama_parallel),
    "layers-one-early": reorder(lambda i, count: min(i + 1, count - 1)),
    "layers-one-late": reorder(lambda i, count: max(i - 1, 0)),
    "layer-last-missing": skip_layer(-1),
    "layer-first-missing": skip_layer(0),
}

ENCODER: dict[str, Plant] = {
    "norm-before-branch": each(encoder.Layer, "forward", bert_pre_norm),
    "norm-inside-residual": each(encoder.Layer, "forward", bert_inner_norm),
    "model-causal-added": each(encoder.Layer, "forward", bert_causal),
    "norm-embedding-missing": lambda model: setattr(model.embeddings, "norm", nn.Identity()),
    "mlp-up-bias-missing": zero("up"),
    "mlp-down-bias-missing": zero("down"),
    "branch-bias-twice": double("attention.output", "down"),
    "head-bias-twice": double("head"),
}

GPT: dict[str, Plant] = {
    "norm-after-residual": each(gpt.Layer, "forward", gpt_post_norm),
    "norm-first-for-both": first_norm("ln_1", "ln_2"),
    "residual-parallel": parallel(True),
    "activation-relu-squared": activation(square_of_relu),
    "mlp-up-bias-missing": zero("mlp.c_fc"),
    "mlp-down-bias-missing": zero("mlp.c_proj"),
    "branch-bias-twice": double("c_proj"),
    "positions-count-padding": repeated,
    "layer-last-missing": skip_layer(-1),
    "layer-first-missing": skip_layer(0),
    "scale-of-first-layer": lambda model: [setattr(x.attn, "scale", model.h[0].attn.scale) for x in model.h],
}

NEOX: dict[str, Plant] = {
    "residual-sequential": parallel(False),
    "attention-skipped": neox_without("attention"),
    "mlp-skipped": neox_without("mlp"),
    "branch-bias-twice": double("c_proj"),
    "norm-first-for-both": first_norm("ln_1", "ln_2"),
    "head-bias-twice": double("lm_head"),
    "head-bias-missing": zero("lm_head"),
    "gelu-erf": activation(functional.gelu),
}

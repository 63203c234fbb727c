"""Mistakes in the deep encoder, in the decoder of fused experts and in the upscaler."""

import math

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.models import deep, fused
from pyref.models.planted import Plant, each, parameters

nn, functional = torch.nn, torch.nn.functional

Tensor = torch.Tensor


def earlier(by: int) -> Plant:
    """Start the positions earlier."""
    return lambda model: setattr(model, "positions", lambda tokens: torch.arange(2 - by, tokens + 2 - by))


def sort_layers(model: deep.Sentences) -> None:
    """Run the layers in the order of their numbers as words."""
    order = sorted(range(len(model.layers)), key=str)
    model.layers = nn.ModuleList([model.layers[i] for i in order])


DEEP: dict[str, Plant] = {
    "positions-minus-one": earlier(1),
    "positions-minus-two": earlier(2),
    "layers-sorted-as-words": sort_layers,
    "pool-first-token": lambda model: setattr(model, "pool", lambda x, kept: x[:, 0]),
    "pool-mean-with-padding": lambda model: setattr(model, "pool", lambda x, kept: x.mean(1)),
    "mlp-multiplier-missing": each(deep.Layer, "scale", lambda m, x: x),
}


def head_by_head(m: fused.Attention, norm: nn.Module, x: Tensor) -> Tensor:
    """Return a norm that sees one head at a time."""
    heads = [part * torch.rsqrt((part**2).mean(-1, keepdim=True) + norm.eps) for part in x.chunk(2, dim=-1)]
    return torch.cat(heads, dim=-1) * norm.weight


def attend_everywhere(m: fused.Attention, x: Tensor, seen: Tensor) -> Tensor:
    """Return attention over all keys."""
    return type(m).forward(m, x, torch.ones_like(seen))


@torch.no_grad()
def transpose_experts(model: fused.Fused) -> None:
    """Read the square weights of experts the other way round."""
    for layer in model.layers:
        layer.mlp.gate_up_proj.copy_(layer.mlp.gate_up_proj.transpose(1, 2).clone())


FUSED: dict[str, Plant] = {
    "qk-norm-per-head": each(fused.Attention, "normed", head_by_head),
    "model-scale-by-root": lambda model: [setattr(layer.self_attn, "scale", 0.5) for layer in model.layers],
    "model-mask-missing": each(fused.Attention, "forward", attend_everywhere),
    "gate-up-interleaved": each(fused.Experts, "parts", lambda m, x: (x[..., 0::2], x[..., 1::2])),
    "router-renormalisation-added": each(
        fused.Experts, "weigh", lambda m, weights: functional.normalize(weights, p=1, dim=-1)
    ),
    "experts-transposed": transpose_experts,
}


def resize(size: int, larger: int) -> Tensor:
    """Return the weights (larger, size) of linear interpolation between equal borders."""
    weights = np.zeros((larger, size), np.float32)
    for i in range(larger):
        at = min(max((i + 0.5) * size / larger - 0.5, 0), size - 1)
        low = min(math.floor(at), size - 2)
        weights[i, low : low + 2] = low + 1 - at, at - low
    return torch.from_numpy(weights)


def by_size(x: Tensor) -> Tensor:
    """Return x enlarged by the ratio of the sizes."""
    rows, columns = (resize(size, int(size * 1.6)) for size in x.shape[2:])
    return torch.einsum("ih,jw,bchw->bcij", rows, columns, x)


UPSCALER: dict[str, Plant] = {
    "norm-before-gate": lambda model: setattr(
        model, "gated_inside", lambda x, gate: model.inner_norm(x) * gate
    ),
    "norm-after-gate": lambda model: setattr(
        model, "gated_outside", lambda x, gate: model.outer_norm(x * gate)
    ),
    "sinusoid-halves-exchanged": parameters(
        lambda model: [model.time],
        lambda layer: layer.weight.copy_(torch.roll(layer.weight.clone(), 4, dims=1)),
    ),
    "pad-sides-exchanged": lambda model: setattr(model, "pad", lambda x: functional.pad(x, (0, 1, 0, 1))),
    "upsample-scale-from-sizes": lambda model: setattr(model, "enlarge", by_size),
}

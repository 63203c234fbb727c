"""Known mistakes of attention in the modules of attention.py, made in eager PyTorch.

A mistake changes a module. It has the id that difftest gives it.
"""

import copy
import math
from collections.abc import Callable

from pyref.build.pinned_torch import torch
from pyref.models.attention import Attention, rms, tables

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor
Plant = Callable[[Attention], None]


def other(name: str, method: Callable) -> Plant:
    """Replace a method by a function of the module and its arguments."""
    return lambda module: setattr(module, name, method.__get__(module))


def scaled(by: Callable[[Attention], float]) -> Plant:
    """Use another scale."""
    return lambda m: setattr(m, "settings", changed(m.settings, scale=by(m)))


def changed(settings: object, **values: object) -> object:
    """Return settings with other values."""
    new = copy.copy(settings)
    for name, value in values.items():
        object.__setattr__(new, name, value)
    return new


def projected(change: Callable[[Tensor, Tensor, Tensor], tuple]) -> Plant:
    """Change queries, keys and values (B, H, T, E)."""
    return other("project", lambda m, x, memory: change(*type(m).project(m, x, memory)))


def weighed(weights: Callable[[Tensor, Tensor], Tensor]) -> Plant:
    """Compute the weights from the scores (B, H, L, S) and the keys that are seen."""

    def attend(m: Attention, query: Tensor, key: Tensor, value: Tensor, seen: Tensor, bias: Tensor) -> Tensor:
        scores = query @ key.transpose(2, 3) * m.settings.scale
        return torch.nan_to_num(weights(scores if bias is None else scores + bias, seen)) @ value

    return other("attend", attend)


def hidden(scores: Tensor, seen: Tensor) -> Tensor:
    """Return the scores with -inf where a key is hidden."""
    return scores.masked_fill(~seen, float("-inf"))


def mask(change: Callable[[Attention, Tensor, Tensor], Tensor]) -> Plant:
    """Compute the mask from distances (L, S), query minus key, and the keys that are not padded."""

    def seen(m: Attention, queries: int, padding: Tensor) -> Tensor:
        distance = torch.arange(queries)[:, None] - torch.arange(padding.shape[1])
        return change(m, distance, ~padding[:, None, None, :]).expand(len(padding), 1, -1, -1)

    return other("seen", seen)


def near(m: Attention, distance: Tensor, valid: Tensor) -> Tensor:
    """Return the keys that the window leaves."""
    return (
        valid & (distance < m.settings.window) if m.settings.window else valid.expand(-1, 1, *distance.shape)
    )


@torch.no_grad()
def zero(module: Attention, *names: str) -> None:
    """Set parameters to zero."""
    for name in names:
        module.get_parameter(name).zero_()


def untransposed(m: Attention, x: Tensor) -> tuple[int, ...]:
    """Return the shape (B, H, T, E) of (B, T, H*E)."""
    return len(x), -1, x.shape[1], m.settings.size


def strided(m: Attention, x: Tensor) -> Tensor:
    """Split the features of (B, T, E*H) with the heads innermost."""
    return x.view(*x.shape[:2], m.settings.size, -1).permute(0, 3, 1, 2)


def neighbours(m: Attention, x: Tensor) -> Tensor:
    """Rotate pairs of neighbouring features."""
    size = m.settings.rotated
    cos, sin = (table[:, : size // 2] for table in tables(x.shape[2], size, x.dtype))
    even, odd = x[..., 0:size:2], x[..., 1:size:2]
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2)
    return torch.cat([turned, x[..., size:]], dim=-1)


def backwards(m: Attention, x: Tensor) -> Tensor:
    """Rotate by negative positions."""
    size = m.settings.rotated
    cos, sin = tables(x.shape[2], size, x.dtype)
    first, half = x[..., :size], size // 2
    turned = first * cos + torch.cat([first[..., half:], -first[..., :half]], dim=-1) * sin
    return torch.cat([turned, x[..., size:]], dim=-1)


def normed_over_heads(m: Attention, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Take the mean square over all heads of a position."""
    root = [torch.rsqrt(x.pow(2).mean((1, 3), keepdim=True) + 1e-6) for x in (query, key)]
    return query * root[0] * m.q_norm, key * root[1] * m.k_norm


EVERYWHERE: dict[str, Plant] = {
    "scale-missing": scaled(lambda m: 1.0),
    "scale-of-model": scaled(lambda m: m.settings.width**-0.5),
    "scale-inverted": scaled(lambda m: 1 / m.settings.scale),
    "heads-split-strided": other("split", strided),
    "heads-split-untransposed": other(
        "split", lambda m, x: x.reshape(len(x), -1, x.shape[1], m.settings.size)
    ),
    "heads-merge-untransposed": other("merge", lambda m, c: c.reshape(len(c), c.shape[2], -1)),
    "heads-merge-strided": other("merge", lambda m, c: c.permute(0, 2, 3, 1).reshape(len(c), c.shape[2], -1)),
    "heads-merge-reversed": other("merge", lambda m, c: type(m).merge(m, c.flip(1))),
    "heads-averaged": other("merge", lambda m, c: type(m).merge(m, c.mean(1, keepdim=True).expand_as(c))),
    "key-value-swapped": projected(lambda q, k, v: (q, v, k)),
    "value-aliased-to-key": projected(lambda q, k, v: (q, k, k)),
    "keys-of-first-batch-element": projected(lambda q, k, v: (q, k[:1].expand_as(k), v[:1].expand_as(v))),
    "softmax-missing": weighed(lambda s, seen: s * seen),
    "softmax-over-queries": weighed(lambda s, seen: hidden(s, seen).softmax(-2)),
    "softmax-over-heads": weighed(lambda s, seen: hidden(s, seen).softmax(1)),
    "softmax-base-two": weighed(lambda s, seen: hidden(math.log(2) * s, seen).softmax(-1)),
    "softmax-not-normalised": weighed(lambda s, seen: hidden(s, seen).exp()),
    "weights-uniform": weighed(lambda s, seen: seen / seen.sum(-1, keepdim=True) + 0 * s),
    "mask-after-softmax": weighed(lambda s, seen: s.softmax(-1) * seen),
    "mask-multiplied": weighed(lambda s, seen: (s * seen).softmax(-1)),
    "mask-minus-ten": weighed(lambda s, seen: (s - 10 * ~seen).softmax(-1)),
}

OWN: dict[str, dict[str, Plant]] = {
    "separate": {
        "query-bias-missing": lambda m: zero(m, "q_proj.bias"),
        "output-bias-missing": lambda m: zero(m, "o_proj.bias"),
        "kv-heads-tiled": other("repeat", lambda m, x: x.repeat(1, m.settings.heads // x.shape[1], 1, 1)),
        "kv-head-zero-for-all": other("repeat", lambda m, x: x[:, :1].expand(-1, m.settings.heads, -1, -1)),
        "rope-missing": other("turn", lambda m, x: x),
        "rope-other-style": other("turn", neighbours),
        "rope-backwards": other("turn", backwards),
        "causal-missing": mask(lambda m, d, valid: near(m, d, valid)),
        "causal-next-seen": mask(lambda m, d, valid: valid & (d >= -1)),
        "causal-self-hidden": mask(lambda m, d, valid: valid & (d > 0)),
        "padding-ignored": mask(lambda m, d, valid: (d >= 0)[None, None]),
    },
    "fused": {
        "query-key-swapped": projected(lambda q, k, v: (k, q, v)),
        "projections-rotated": projected(lambda q, k, v: (k, v, q)),
        "causal-transposed": mask(lambda m, d, valid: valid & (d <= 0)),
        "padding-inverted": mask(lambda m, d, valid: ~valid & (d >= 0)),
    },
    "per-head": {
        "rope-missing": other("turn", lambda m, x: x),
        "rope-query-only": other("place", lambda m, q, k, v: (m.turn(q), k, v)),
        "rope-on-values": other("place", lambda m, q, k, v: (m.turn(q), m.turn(k), m.turn(v))),
    },
    "normed": {
        "qk-norm-missing": other("norm", lambda m, q, k: (q, k)),
        "qk-norm-weights-one": other("norm", lambda m, q, k: (rms(q), rms(k))),
        "qk-norm-one-plus-weight": other(
            "norm", lambda m, q, k: (rms(q) * (1 + m.q_norm), rms(k) * (1 + m.k_norm))
        ),
        "qk-norm-over-heads": other("norm", normed_over_heads),
        "window-missing": mask(lambda m, d, valid: valid & (d >= 0)),
        "window-one-wide": mask(lambda m, d, valid: valid & (d >= 0) & (d <= m.settings.window)),
    },
    "relative": {
        "relative-missing": other("bias", lambda m, queries, keys: None),
        "relative-transposed": other("bias", lambda m, *sizes: type(m).bias(m, *sizes).transpose(2, 3)),
        "scale-default": scaled(lambda m: m.settings.size**-0.5),
        "padding-ignored": mask(lambda m, d, valid: torch.ones_like(d, dtype=torch.bool)[None, None]),
        "causal-added": mask(lambda m, d, valid: valid & (d >= 0)),
    },
    "cross": {
        "padding-ignored": mask(lambda m, d, valid: torch.ones_like(d, dtype=torch.bool)[None, None]),
    },
}

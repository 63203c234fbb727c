"""Mistakes in the decoder of several kinds of layers: schedules, experts, limits, multipliers."""

from dataclasses import replace

from pyref.build.pinned_torch import torch
from pyref.models import mixed
from pyref.models.planted import Plant, each

nn = torch.nn

Tensor = torch.Tensor


def others(flags: tuple[int, ...]) -> tuple[int, ...]:
    """Return flags exchanged."""
    return tuple(1 - flag for flag in flags)


def windows(change: object) -> Plant:
    """Give the layers other windows."""
    return lambda model: setattr(model, "windows", lambda: change(model.settings.local))


def bases(change: object) -> Plant:
    """Give the layers other rotary bases."""
    return lambda model: setattr(model, "bases", lambda: change(model.settings.local))


def rotate(change: object) -> Plant:
    """Choose other layers to rotate."""

    def plant(model: nn.Module) -> None:
        for layer, rotated in zip(model.layers, change(model.settings.rotated), strict=True):
            layer.self_attn.rotated = rotated

    return plant


def over_heads(norm: nn.Module, x: Tensor) -> Tensor:
    """Return a norm over the heads of a token together."""
    return x * torch.rsqrt((x * x).mean((-2, -1), keepdim=True) + norm.eps) * norm.weight


def swiglu(limit_gate: bool, limit_up: bool, one: float) -> Plant:
    """Combine gate and up with other limits or another offset."""

    def combine(m: mixed.Experts, gate: Tensor, up: Tensor) -> Tensor:
        gate = torch.minimum(gate, torch.tensor(m.limit)) if limit_gate else gate
        up = torch.clip(up, -m.limit, m.limit) if limit_up else up
        return gate * torch.sigmoid(gate * 1.702) * (up + one)

    return each(mixed.Experts, "combine", combine)


def weigh_inputs(m: mixed.Experts, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of the experts of weighted inputs."""
    total = torch.zeros_like(x)
    for place in range(chosen.shape[1]):
        scaled = x * weights[:, place, None]
        fused = torch.einsum("ti,tij->tj", scaled, m.gate_up_proj[chosen[:, place]])
        total += torch.einsum("ti,tij->tj", m.combine(*m.parts(fused)), m.down_proj[chosen[:, place]])
    return total


def sort_experts(model: nn.Module) -> None:
    """Load the experts in the order of their numbers as words."""
    for experts in (layer.mlp.experts for layer in model.layers):
        order = [int(word) for word in sorted(map(str, range(len(experts.down_proj))))]
        experts.gate_up_proj = nn.Parameter(experts.gate_up_proj[order])
        experts.down_proj = nn.Parameter(experts.down_proj[order])


def drop_last(m: mixed.Router, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Choose one expert fewer: the last has no weight."""
    weights, chosen = scores.topk(m.settings.chosen, dim=-1)
    return weights * (torch.arange(m.settings.chosen) < m.settings.chosen - 1), chosen


def one_more(model: torch.nn.Module) -> None:
    """Choose one expert more."""
    for module in model.modules():
        if isinstance(module, mixed.Router):
            module.settings = replace(module.settings, chosen=module.settings.chosen + 1)


def average(m: mixed.Router, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Give the chosen experts equal weights."""
    chosen = scores.topk(m.settings.chosen, dim=-1)[1]
    return torch.full(chosen.shape, 1 / m.settings.chosen, dtype=scores.dtype), chosen


COMMON: dict[str, Plant] = {
    "windows-exchanged": windows(others),
    "windows-one-early": windows(lambda local: local[1:] + local[:1]),
    "windows-one-late": windows(lambda local: local[-1:] + local[:-1]),
    "windows-of-first-layer": windows(lambda local: (1,) * len(local)),
    "windows-never-of-first-layer": windows(lambda local: (0,) * len(local)),
    "rotary-tables-exchanged": bases(others),
    "rotary-tables-of-first-layer": bases(lambda local: (1,) * len(local)),
    "rotary-tables-never-of-first-layer": bases(lambda local: (0,) * len(local)),
    "model-qk-norm-over-heads": lambda model: [
        each(mixed.Attention, "norm_query", lambda m, x: over_heads(m.q_norm, x))(model),
        each(mixed.Attention, "norm_key", lambda m, x: x if x.shape[2] > 1 else m.k_norm(x))(model),
    ],
    "norm-of-branch-missing": each(mixed.Layer, "add", lambda m, x, branch, norm: x + m.multiplier * branch),
    "residual-multiplier-missing": each(mixed.Layer, "add", lambda m, x, branch, norm: x + norm(branch)),
    "residual-multiplier-on-stream": each(
        mixed.Layer, "add", lambda m, x, branch, norm: m.multiplier * x + norm(branch)
    ),
    "head-input-scale-missing": lambda model: setattr(model, "before_head", lambda x: x),
    "logits-scale-missing": lambda model: setattr(model, "logits", lambda x: x),
    "logits-scale-inverted": lambda model: setattr(model, "logits", lambda x: x * 3.0),
    "gate-limits-missing": swiglu(False, False, 1.0),
    "gate-limit-missing": swiglu(False, True, 1.0),
    "up-limit-missing": swiglu(True, False, 1.0),
    "up-offset-missing": swiglu(True, True, 0.0),
    "gate-up-in-halves": each(mixed.Experts, "parts", lambda m, fused: fused.chunk(2, dim=-1)),
    "router-renormalisation-missing": each(mixed.Router, "normalise", lambda m, weights: weights),
    "router-input-not-normed": each(
        mixed.Mixture, "routed", lambda m, flat, raw: raw.reshape(-1, raw.shape[-1])
    ),
    "expert-weight-on-input": each(mixed.Experts, "forward", weigh_inputs),
    "experts-sorted-as-words": sort_experts,
    "shared-expert-missing": each(mixed.Mixture, "add", lambda m, routed, shared: routed),
}

SOFTMAX: dict[str, Plant] = COMMON | {
    "rotary-everywhere": rotate(lambda rotated: (1,) * len(rotated)),
    "rotary-layers-exchanged": rotate(others),
    "router-softmax-missing": each(mixed.Router, "scores", lambda m, logits: logits),
    "router-sigmoid": each(mixed.Router, "scores", lambda m, logits: torch.sigmoid(logits)),
    "router-over-tokens": each(mixed.Router, "scores", lambda m, logits: torch.softmax(logits, dim=0)),
    "router-one-fewer": each(mixed.Router, "settings_topk", drop_last),
    "router-one-more": one_more,
    "router-weights-equal": each(mixed.Router, "settings_topk", average),
    "shared-gate-missing": each(mixed.Mixture, "gate", lambda m, x: 1.0),
    "shared-gate-linear": each(mixed.Mixture, "gate", lambda m, x: m.shared_gate(x)),
}

GROUPED: dict[str, Plant] = {
    "norm-around-residual": each(mixed.Layer, "add", lambda m, x, branch, norm: norm(x + branch)),
    "router-softmax": each(mixed.Router, "scores", lambda m, logits: torch.softmax(logits, dim=-1)),
    "router-bias-in-weights": each(mixed.Router, "source", lambda m, scores, choice: choice),
    "router-bias-missing": each(mixed.Router, "biased", lambda m, scores: scores),
    "router-factor-missing": each(mixed.Router, "scale", lambda m, weights: weights),
    "router-factor-twice": each(mixed.Router, "scale", lambda m, weights: weights * m.settings.factor**2),
    "router-groups-ignored": each(mixed.Router, "masked", lambda m, choice: choice),
    "router-group-by-best": each(mixed.Router, "group_scores", lambda m, groups: groups.amax(dim=-1)),
    "router-renormalisation-missing": each(mixed.Router, "normalise", lambda m, weights: weights),
    "shared-expert-missing": each(mixed.Mixture, "add", lambda m, routed, shared: routed),
}

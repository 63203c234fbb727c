"""Mistakes with the norm of queries and keys. Cached keys are normed already and stay unchanged."""

from collections.abc import Callable
from dataclasses import replace

from pyref.build.pinned_torch import torch
from pyref.planted.plain_attention import PlainAttention, Wrong

Tensor = torch.Tensor


def qk_norm_missing(plain: PlainAttention) -> Wrong:
    """Do not norm."""
    return replace(plain, norm_weights={}) if plain.norm_weights else None


def reweighted(plain: PlainAttention, change: Callable[[Tensor], Tensor]) -> Wrong:
    """Multiply the normed vectors by other weights."""
    if not plain.norm_weights:
        return None
    return replace(plain, norm_weights={role: change(w) for role, w in plain.norm_weights.items()})


def qk_norm_weights_one(plain: PlainAttention) -> Wrong:
    """Leave the weights at one."""
    return reweighted(plain, torch.ones_like)


def qk_norm_one_plus_weight(plain: PlainAttention) -> Wrong:
    """Add one to the weights, as if the file held them minus one."""
    return reweighted(plain, lambda weight: 1 + weight)


def qk_norm_over_heads(plain: PlainAttention) -> Wrong:
    """Divide by the root mean square of all heads together."""

    class NormOverHeads(PlainAttention):
        def rms_norm(self, x: Tensor, role: str) -> Tensor:
            mean_square = x.square().mean((1, 3), keepdim=True)
            return x / torch.sqrt(mean_square + self.norm_eps) * self.norm_weights[role]

    return plain.using(NormOverHeads) if plain.norm_weights else None


def qk_norm_after_rope(plain: PlainAttention) -> Wrong:
    """Rotate, then norm."""
    if not plain.norm_weights or plain.rope is None:
        return None

    class NormAfterRope(PlainAttention):
        def norm_and_rotate(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
            q, k = self.rotate(q, "query"), self.rotate(k, "key")
            return self.rms_norm(q, "query"), self.rms_norm(k, "key"), v

    return plain.using(NormAfterRope)


def qk_norm_centered(plain: PlainAttention) -> Wrong:
    """Subtract the mean, as a layer norm does."""

    class LayerNorm(PlainAttention):
        def rms_norm(self, x: Tensor, role: str) -> Tensor:
            weight = self.norm_weights[role]
            return torch.nn.functional.layer_norm(x, (self.head_dim,), weight, eps=self.norm_eps)

    return plain.using(LayerNorm) if plain.norm_weights else None


def qk_norm_on_values(plain: PlainAttention) -> Wrong:
    """Norm keys and values instead of queries and keys."""
    if not plain.norm_weights:
        return None

    class NormOnValues(PlainAttention):
        def norm_and_rotate(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
            k, v = self.rms_norm(k, "key"), self.rms_norm(v, "key")
            return self.rotate(q, "query"), self.rotate(k, "key"), v

    return plain.using(NormOnValues)


MISTAKES = {
    "qk-norm-missing": qk_norm_missing,
    "qk-norm-weights-one": qk_norm_weights_one,
    "qk-norm-one-plus-weight": qk_norm_one_plus_weight,
    "qk-norm-over-heads": qk_norm_over_heads,
    "qk-norm-after-rope": qk_norm_after_rope,
    "qk-norm-centered": qk_norm_centered,
    "qk-norm-on-values": qk_norm_on_values,
}

"""Mistakes with the norm of queries and keys. Keys in a cache are normed already and stay as they are."""

from collections.abc import Callable

from pyref.pinned import torch
from pyref.planted.plain import PlainAttention

Wrong = PlainAttention | None
Tensor = torch.Tensor


def qk_norm_missing(plain: PlainAttention) -> Wrong:
    """Do not norm."""
    return plain.changed(norms={}) if plain.norms else None


def reweighted(plain: PlainAttention, weight: Callable[[Tensor], Tensor]) -> Wrong:
    """Multiply by other weights."""
    return plain.changed(norms={role: weight(w) for role, w in plain.norms.items()}) if plain.norms else None


def qk_norm_weights_one(plain: PlainAttention) -> Wrong:
    """Leave the weights at one."""
    return reweighted(plain, torch.ones_like)


def qk_norm_one_plus_weight(plain: PlainAttention) -> Wrong:
    """Take the weights for what they are above one."""
    return reweighted(plain, lambda weight: 1 + weight)


def qk_norm_over_heads(plain: PlainAttention) -> Wrong:
    """Divide by the root mean square of all heads."""

    def norm(self: PlainAttention, x: Tensor, role: str) -> Tensor:
        return x / torch.sqrt(x.square().mean((1, 3), keepdim=True) + self.eps) * self.norms[role]

    return plain.changed(norm=norm) if plain.norms else None


def qk_norm_after_rope(plain: PlainAttention) -> Wrong:
    """Rotate, then norm."""
    if not plain.norms or plain.rope is None:
        return None

    def prepare(self: PlainAttention, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        q, k = self.rotate(q, "query"), self.rotate(k, "key")
        return self.norm(q, "query"), self.norm(k, "key"), v

    return plain.changed(prepare=prepare)


def qk_norm_centered(plain: PlainAttention) -> Wrong:
    """Take the mean away, as a layer norm does."""

    def norm(self: PlainAttention, x: Tensor, role: str) -> Tensor:
        return torch.nn.functional.layer_norm(x, (self.E,), self.norms[role], eps=self.eps)

    return plain.changed(norm=norm) if plain.norms else None


def qk_norm_on_values(plain: PlainAttention) -> Wrong:
    """Norm keys and values, and no queries."""
    if not plain.norms:
        return None

    def prepare(self: PlainAttention, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        k, v = self.norm(k, "key"), self.norm(v, "key")
        return self.rotate(q, "query"), self.rotate(k, "key"), v

    return plain.changed(prepare=prepare)


MISTAKES = {
    "qk-norm-missing": qk_norm_missing,
    "qk-norm-weights-one": qk_norm_weights_one,
    "qk-norm-one-plus-weight": qk_norm_one_plus_weight,
    "qk-norm-over-heads": qk_norm_over_heads,
    "qk-norm-after-rope": qk_norm_after_rope,
    "qk-norm-centered": qk_norm_centered,
    "qk-norm-on-values": qk_norm_on_values,
}

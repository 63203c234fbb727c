"""Mistakes with the scale of the scores."""

from dataclasses import replace

from pyref.build.pinned_torch import torch
from pyref.planted.plain_attention import PlainAttention, Wrong

Tensor = torch.Tensor


def scaled_by(plain: PlainAttention, scale: float) -> Wrong:
    """Replace the scale; None if it stays the same."""
    return None if abs(scale - plain.scale) < 1e-9 else replace(plain, scale=scale)


def scale_missing(plain: PlainAttention) -> Wrong:
    """Do not scale."""
    return scaled_by(plain, 1.0)


def scale_of_model(plain: PlainAttention) -> Wrong:
    """Scale by the width of the model."""
    return scaled_by(plain, plain.query.shape[-1] ** -0.5) if plain.is_layer else None


def scale_twice(plain: PlainAttention) -> Wrong:
    """Scale both the queries and the scores."""
    return scaled_by(plain, plain.scale**2)


def scale_inverted(plain: PlainAttention) -> Wrong:
    """Divide by the scale."""
    return scaled_by(plain, 1 / plain.scale)


def scale_of_heads(plain: PlainAttention) -> Wrong:
    """Scale by the number of heads."""
    return scaled_by(plain, plain.num_heads**-0.5)


def scale_hard_coded(plain: PlainAttention) -> Wrong:
    """Scale as for heads of 64 features."""
    return scaled_by(plain, 1 / 8)


def scale_of_model_per_head(plain: PlainAttention) -> Wrong:
    """Use the model's width over the heads, or the width of a value, as the width of a head."""
    width = plain.query.shape[-1] / plain.num_heads if plain.is_layer else plain.value.shape[-1]
    return None if width == plain.head_dim else scaled_by(plain, width**-0.5)


def scale_default(plain: PlainAttention) -> Wrong:
    """Scale by the width of a head although the case has a scale of its own."""
    return scaled_by(plain, plain.head_dim**-0.5)


def scale_by_position(plain: PlainAttention) -> Wrong:
    """Multiply the scores of a query by the logarithm of the number of positions up to it."""

    class Hotter(PlainAttention):
        def scores(self, q: Tensor, k: Tensor) -> Tensor:
            positions = self.first_position + torch.arange(1, self.seq_q + 1, dtype=self.dtype)[:, None]
            return super().scores(positions.log() * q, k)

    return plain.using(Hotter)


MISTAKES = {
    "scale-missing": scale_missing,
    "scale-of-model": scale_of_model,
    "scale-twice": scale_twice,
    "scale-inverted": scale_inverted,
    "scale-of-heads": scale_of_heads,
    "scale-hard-coded": scale_hard_coded,
    "scale-of-model-per-head": scale_of_model_per_head,
    "scale-default": scale_default,
    "scale-by-position": scale_by_position,
}

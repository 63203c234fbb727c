"""Mistakes with a learned bias by distance."""

from collections.abc import Callable
from dataclasses import replace

from pyref.build.pinned_torch import torch
from pyref.planted.plain_attention import PlainAttention, Wrong

Tensor = torch.Tensor


def bucketed(plain: PlainAttention, bucket: Callable[[PlainAttention, int], Tensor]) -> Wrong:
    """Read other rows of the table; `bucket` gets the attention and the farthest distance."""
    if plain.relative_bias is None:
        return None

    class OtherBuckets(PlainAttention):
        def relative_bucket(self) -> Tensor:
            return bucket(self, len(self.relative_bias) // 2)

    return plain.using(OtherBuckets)


def relative_missing(plain: PlainAttention) -> Wrong:
    """Add no bias by distance."""
    return None if plain.relative_bias is None else replace(plain, relative_bias=None)


def relative_transposed(plain: PlainAttention) -> Wrong:
    """Negate the distance."""
    return bucketed(plain, lambda self, far: (-self.distance()).clamp(-far, far) + far)


def relative_past_ignored(plain: PlainAttention) -> Wrong:
    """Count queries from 0, whatever comes before them."""
    if not plain.shifted_alike:
        return None
    return bucketed(plain, lambda self, far: self.distance_without_past().clamp(-far, far) + far)


def relative_clipped_early(plain: PlainAttention) -> Wrong:
    """Clip distances one step too early."""
    return bucketed(plain, lambda self, far: self.distance().clamp(1 - far, far - 1) + far)


MISTAKES = {
    "relative-missing": relative_missing,
    "relative-transposed": relative_transposed,
    "relative-past-ignored": relative_past_ignored,
    "relative-clipped-early": relative_clipped_early,
}

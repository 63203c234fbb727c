"""Mistakes with a learned bias by distance."""

from collections.abc import Callable

from pyref.pinned import torch
from pyref.planted.plain import PlainAttention

Wrong = PlainAttention | None
Tensor = torch.Tensor


def indexed(plain: PlainAttention, index: Callable[[PlainAttention, int], Tensor]) -> Wrong:
    """Read other rows of the table, which reaches so far."""
    if plain.relative is None:
        return None
    return plain.changed(relative_index=lambda self: index(self, len(self.relative) // 2))


def relative_missing(plain: PlainAttention) -> Wrong:
    """Add nothing by distance."""
    return None if plain.relative is None else plain.changed(relative=None)


def relative_transposed(plain: PlainAttention) -> Wrong:
    """Take the way back for the way there."""
    return indexed(plain, lambda self, reach: (-self.distance()).clamp(-reach, reach) + reach)


def relative_past_ignored(plain: PlainAttention) -> Wrong:
    """Count queries from 0, whatever comes before them."""
    if plain.offset == 0:
        return None
    return indexed(plain, lambda self, reach: self.local_distance().clamp(-reach, reach) + reach)


def relative_clipped_early(plain: PlainAttention) -> Wrong:
    """Let the last distance but one stand for all that is farther."""
    return indexed(plain, lambda self, reach: self.distance().clamp(1 - reach, reach - 1) + reach)


MISTAKES = {
    "relative-missing": relative_missing,
    "relative-transposed": relative_transposed,
    "relative-past-ignored": relative_past_ignored,
    "relative-clipped-early": relative_clipped_early,
}

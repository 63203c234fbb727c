"""Mistakes with ALiBi."""

import math
from dataclasses import replace

from pyref.build.pinned_torch import torch
from pyref.planted.plain_attention import PlainAttention, Wrong

Tensor = torch.Tensor


def with_slopes(plain: PlainAttention, slopes: Tensor) -> PlainAttention:
    """Replace the slopes (H)."""

    class OtherSlopes(PlainAttention):
        def alibi_slopes(self) -> Tensor:
            return slopes

    return plain.using(OtherSlopes)


def alibi_missing(plain: PlainAttention) -> Wrong:
    """Add no bias by distance."""
    return replace(plain, alibi=False) if plain.alibi else None


def alibi_inverted(plain: PlainAttention) -> Wrong:
    """Favour distant keys."""
    return with_slopes(plain, -plain.alibi_slopes()) if plain.alibi else None


def alibi_slopes_not_power_of_two(plain: PlainAttention) -> Wrong:
    """Use the formula for powers of two with another number of heads."""
    if not plain.alibi or math.log2(plain.num_heads).is_integer():
        return None
    steps = torch.arange(1, plain.num_heads + 1, dtype=plain.dtype)
    return with_slopes(plain, 2 ** (-8 * steps / plain.num_heads))


def alibi_slopes_off_by_one(plain: PlainAttention) -> Wrong:
    """Count the heads from 0 in the exponent."""
    if not plain.alibi:
        return None
    n = 2 ** int(math.log2(plain.num_heads))
    ratios = [2 ** (8 / n)] * n + [2 ** (8 / (2 * n))] * (plain.num_heads - n)
    return with_slopes(plain, plain.alibi_slopes() * torch.tensor(ratios, dtype=plain.dtype))


def alibi_past_ignored(plain: PlainAttention) -> Wrong:
    """Count queries from 0, whatever comes before them."""
    if not plain.alibi or not plain.shifted_alike:
        return None

    class PastIgnored(PlainAttention):
        def alibi_distance(self) -> Tensor:
            return self.distance_without_past()

    return plain.using(PastIgnored)


def alibi_missing_at_decode(plain: PlainAttention) -> Wrong:
    """Add no bias to a single query."""
    return replace(plain, alibi=False) if plain.alibi and plain.seq_q == 1 else None


def alibi_slopes_reversed(plain: PlainAttention) -> Wrong:
    """Give the first head the slope of the last."""
    return with_slopes(plain, plain.alibi_slopes().flip(0)) if plain.alibi else None


MISTAKES = {
    "alibi-missing": alibi_missing,
    "alibi-inverted": alibi_inverted,
    "alibi-slopes-not-power-of-two": alibi_slopes_not_power_of_two,
    "alibi-slopes-off-by-one": alibi_slopes_off_by_one,
    "alibi-past-ignored": alibi_past_ignored,
    "alibi-missing-at-decode": alibi_missing_at_decode,
    "alibi-slopes-reversed": alibi_slopes_reversed,
}

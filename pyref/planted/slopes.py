"""Mistakes with ALiBi."""

import math

from pyref.pinned import torch
from pyref.planted.plain import PlainAttention

Wrong = PlainAttention | None
Tensor = torch.Tensor


def sloped(plain: PlainAttention, slopes: Tensor) -> Wrong:
    """Use other slopes (H)."""
    return plain.changed(slopes=lambda self: slopes)


def alibi_missing(plain: PlainAttention) -> Wrong:
    """Add nothing by distance."""
    return plain.changed(alibi=False) if plain.alibi else None


def alibi_inverted(plain: PlainAttention) -> Wrong:
    """Favour distant keys."""
    return sloped(plain, -plain.slopes()) if plain.alibi else None


def alibi_slopes_not_power_of_two(plain: PlainAttention) -> Wrong:
    """Use the formula for powers of two for a number of heads that is none."""
    if not plain.alibi or math.log2(plain.H).is_integer():
        return None
    return sloped(plain, 2 ** (-8 * torch.arange(1, plain.H + 1, dtype=plain.dtype) / plain.H))


def alibi_slopes_off_by_one(plain: PlainAttention) -> Wrong:
    """Count the heads from 0 in the exponent."""
    if not plain.alibi:
        return None
    n = 2 ** int(math.log2(plain.H))
    ratios = [2 ** (8 / n)] * n + [2 ** (8 / (2 * n))] * (plain.H - n)
    return sloped(plain, plain.slopes() * torch.tensor(ratios, dtype=plain.dtype))


def alibi_past_ignored(plain: PlainAttention) -> Wrong:
    """Count queries from 0, whatever comes before them."""
    if not plain.alibi or plain.offset == 0:
        return None
    return plain.changed(alibi_distance=lambda self: self.local_distance())


def alibi_missing_at_decode(plain: PlainAttention) -> Wrong:
    """Add nothing for a single query."""
    return plain.changed(alibi=False) if plain.alibi and plain.L == 1 else None


def alibi_slopes_reversed(plain: PlainAttention) -> Wrong:
    """Give the first head the slope of the last."""
    return sloped(plain, plain.slopes().flip(0)) if plain.alibi else None


MISTAKES = {
    "alibi-missing": alibi_missing,
    "alibi-inverted": alibi_inverted,
    "alibi-slopes-not-power-of-two": alibi_slopes_not_power_of_two,
    "alibi-slopes-off-by-one": alibi_slopes_off_by_one,
    "alibi-past-ignored": alibi_past_ignored,
    "alibi-missing-at-decode": alibi_missing_at_decode,
    "alibi-slopes-reversed": alibi_slopes_reversed,
}

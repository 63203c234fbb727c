"""Mistakes with softcap and sinks."""

from dataclasses import replace

from pyref.build.pinned_torch import torch
from pyref.planted.plain_attention import PlainAttention, Wrong

Tensor = torch.Tensor


def softcap_missing(plain: PlainAttention) -> Wrong:
    """Do not cap the scores."""
    return None if plain.softcap is None else replace(plain, softcap=None)


def softcap_after_mask(plain: PlainAttention) -> Wrong:
    """Cap after masking: a hidden key's -inf becomes -softcap, the lowest possible score."""
    if plain.softcap is None or not plain.masks_keys:
        return None

    class CapAfterMask(PlainAttention):
        def mask_scores(self, scores: Tensor, visible: Tensor) -> Tensor:
            return scores.masked_fill(~visible, -self.softcap)

    return plain.using(CapAfterMask)


def softcap_times_score(plain: PlainAttention) -> Wrong:
    """Multiply the tanh by the score instead of the cap."""
    if plain.softcap is None:
        return None

    class TimesScore(PlainAttention):
        def cap(self, scores: Tensor) -> Tensor:
            return scores * torch.tanh(scores / self.softcap)

    return plain.using(TimesScore)


def softcap_before_scale(plain: PlainAttention) -> Wrong:
    """Cap, then scale."""
    if plain.softcap is None or plain.scale == 1:
        return None

    class CapBeforeScale(PlainAttention):
        def scale_and_cap(self, products: Tensor) -> Tensor:
            return self.cap(products) * self.scale

    return plain.using(CapBeforeScale)


def sinks_missing(plain: PlainAttention) -> Wrong:
    """Leave the sinks out."""
    return None if plain.sinks is None else replace(plain, sinks=None)


def sinks_scaled(plain: PlainAttention) -> Wrong:
    """Scale the sinks like the scores."""
    return None if plain.sinks is None else replace(plain, sinks=plain.sinks * plain.scale)


def sinks_of_first_head(plain: PlainAttention) -> Wrong:
    """Give every head the first head's sink."""
    if plain.sinks is None or plain.num_heads == 1:
        return None
    return replace(plain, sinks=plain.sinks[:1].expand(plain.num_heads))


MISTAKES = {
    "softcap-missing": softcap_missing,
    "softcap-after-mask": softcap_after_mask,
    "softcap-times-score": softcap_times_score,
    "softcap-before-scale": softcap_before_scale,
    "sinks-missing": sinks_missing,
    "sinks-scaled": sinks_scaled,
    "sinks-of-first-head": sinks_of_first_head,
}

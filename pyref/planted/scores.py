"""Mistakes in bending the scores, and with sinks."""

from pyref.pinned import torch
from pyref.planted.plain import PlainAttention

Wrong = PlainAttention | None
Tensor = torch.Tensor


def softcap_missing(plain: PlainAttention) -> Wrong:
    """Leave the scores unbent."""
    return None if plain.softcap is None else plain.changed(softcap=None)


def softcap_after_mask(plain: PlainAttention) -> Wrong:
    """Cap what the mask has made -inf, so that hidden keys get the lowest score."""
    if plain.softcap is None or not plain.hides:
        return None
    return plain.changed(hide=lambda self, scores, seen: scores.masked_fill(~seen, -self.softcap))


def softcap_times_score(plain: PlainAttention) -> Wrong:
    """Multiply the tangent by the score instead of the cap."""
    if plain.softcap is None:
        return None
    return plain.changed(cap=lambda self, scores: scores * torch.tanh(scores / self.softcap))


def softcap_before_scale(plain: PlainAttention) -> Wrong:
    """Cap, then scale."""
    if plain.softcap is None or plain.scale == 1:
        return None
    return plain.changed(scaled=lambda self, products: self.cap(products) * self.scale)


def sinks_missing(plain: PlainAttention) -> Wrong:
    """Leave the sinks out."""
    return None if plain.sinks is None else plain.changed(sinks=None)


def sinks_scaled(plain: PlainAttention) -> Wrong:
    """Scale the sinks like the scores."""
    return None if plain.sinks is None else plain.changed(sinks=plain.sinks * plain.scale)


def sinks_of_first_head(plain: PlainAttention) -> Wrong:
    """Give every head the first one's sink."""
    if plain.sinks is None or plain.H == 1:
        return None
    return plain.changed(sinks=plain.sinks[:1].expand(plain.H))


MISTAKES = {
    "softcap-missing": softcap_missing,
    "softcap-after-mask": softcap_after_mask,
    "softcap-times-score": softcap_times_score,
    "softcap-before-scale": softcap_before_scale,
    "sinks-missing": sinks_missing,
    "sinks-scaled": sinks_scaled,
    "sinks-of-first-head": sinks_of_first_head,
}

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


def softcap_after_bias(plain: PlainAttention) -> Wrong:
    """Add the float mask or the bias by distance first, and cap the sum."""
    biased = plain.bias is not None or plain.alibi or plain.relative_bias is not None
    if plain.softcap is None or not biased:
        return None

    class CapAfterBias(PlainAttention):
        def scores(self, q: Tensor, k: Tensor) -> Tensor:
            bias = self.score_bias()
            products = self.scale * (q @ k.mT)
            extra = products.shape[-1] - bias.shape[-1]
            return self.cap(products + torch.nn.functional.pad(bias, (0, extra)))

    return plain.using(CapAfterBias)


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


def head_constants_from(plain: PlainAttention, heads: Tensor) -> Wrong:
    """Give head h of batch element b the slope, bias and sink of head heads[b, h]."""
    if plain.bias is not None or plain.batch == 1 or plain.num_heads == 1:
        return None
    if not plain.alibi and plain.relative_bias is None and plain.sinks is None:
        return None

    class OtherConstants(PlainAttention):
        def score_bias(self) -> Tensor:
            bias = super().score_bias().expand(self.batch, self.num_heads, -1, -1)
            return bias[torch.arange(self.batch)[:, None], heads]

        def append_sink(self, scores: Tensor) -> Tensor:
            if self.sinks is None:
                return scores
            sinks = self.sinks[heads][:, :, None, None]
            return torch.cat([scores, sinks.expand(*scores.shape[:-1], 1)], dim=-1)

    return plain.using(OtherConstants)


def head_constants_by_batch(plain: PlainAttention) -> Wrong:
    """Index the constants of heads by the batch element."""
    elements = torch.arange(plain.batch)[:, None] % plain.num_heads
    return head_constants_from(plain, elements.expand(-1, plain.num_heads))


def head_constants_by_batch_interleaved(plain: PlainAttention) -> Wrong:
    """Repeat each head's constants for the batch, and view them as (B, H)."""
    heads = torch.arange(plain.num_heads).repeat_interleave(plain.batch)
    return head_constants_from(plain, heads.view(plain.batch, plain.num_heads))


MISTAKES = {
    "softcap-missing": softcap_missing,
    "softcap-after-mask": softcap_after_mask,
    "softcap-after-bias": softcap_after_bias,
    "softcap-times-score": softcap_times_score,
    "softcap-before-scale": softcap_before_scale,
    "sinks-missing": sinks_missing,
    "sinks-scaled": sinks_scaled,
    "sinks-of-first-head": sinks_of_first_head,
    "head-constants-by-batch": head_constants_by_batch,
}

VARIANTS = {"head-constants-by-batch-interleaved": head_constants_by_batch_interleaved}

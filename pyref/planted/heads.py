"""Mistakes in cutting vectors into heads, putting them together again, and in which head takes which."""

import math

from pyref.pinned import torch
from pyref.planted.plain import PlainAttention

Wrong = PlainAttention | None
Tensor = torch.Tensor


def has_heads(plain: PlainAttention) -> bool:
    """Report whether a layer has heads that can be confused."""
    return plain.is_layer and plain.H > 1


def split_untransposed(self: PlainAttention, x: Tensor, H: int) -> Tensor:
    """View (B, T, H*E) as (B, H, T, E)."""
    B, T, width = x.shape
    return x.contiguous().view(B, H, T, width // H)


def merge_untransposed(self: PlainAttention, context: Tensor) -> Tensor:
    """View (B, H, L, E) as (B, L, H*E)."""
    B, H, L, E = context.shape
    return context.contiguous().view(B, L, H * E)


def split_strided(self: PlainAttention, x: Tensor, H: int) -> Tensor:
    """Give head h the features h, h + H, h + 2H and so on."""
    return x.unflatten(-1, (-1, H)).permute(0, 3, 1, 2)


def merge_strided(self: PlainAttention, context: Tensor) -> Tensor:
    """Put the first features of all heads first, then the second ones."""
    return context.permute(0, 2, 3, 1).flatten(-2)


def merge_reversed(self: PlainAttention, context: Tensor) -> Tensor:
    """Put the last head first."""
    return PlainAttention.merge(self, context.flip(1))


def heads_split_untransposed(plain: PlainAttention) -> Wrong:
    """Split the heads with view alone."""
    return plain.changed(split=split_untransposed) if has_heads(plain) else None


def heads_merge_untransposed(plain: PlainAttention) -> Wrong:
    """Merge the heads with view alone."""
    return plain.changed(merge=merge_untransposed) if has_heads(plain) else None


def heads_untransposed(plain: PlainAttention) -> Wrong:
    """Split and merge the heads with view alone."""
    if not has_heads(plain):
        return None
    return plain.changed(split=split_untransposed, merge=merge_untransposed)


def heads_split_strided(plain: PlainAttention) -> Wrong:
    """Split the heads feature by feature."""
    return plain.changed(split=split_strided) if has_heads(plain) else None


def heads_merge_strided(plain: PlainAttention) -> Wrong:
    """Merge the heads feature by feature."""
    return plain.changed(merge=merge_strided) if has_heads(plain) else None


def heads_strided(plain: PlainAttention) -> Wrong:
    """Split and merge the heads feature by feature."""
    return plain.changed(split=split_strided, merge=merge_strided) if has_heads(plain) else None


def heads_merge_reversed(plain: PlainAttention) -> Wrong:
    """Merge the heads in reversed order."""
    return plain.changed(merge=merge_reversed) if has_heads(plain) else None


def recounted(plain: PlainAttention, H: int, Hk: int) -> Wrong:
    """Cut the same vectors into another number of heads, scaled by their own width unless a scale is given.

    None where something else has the number or the width of the heads.
    """
    masks = [mask for mask in (plain.allow, plain.bias) if mask is not None]
    own = (plain.sinks, plain.relative, plain.past_key, plain.rope)
    if any(part is not None for part in own) or plain.norms or plain.alibi:
        return None
    if any(mask.shape[1] != 1 for mask in masks):
        return None
    given = not math.isclose(plain.scale, plain.E**-0.5, rel_tol=1e-12)
    return plain.changed(H=H, Hk=Hk, scale=plain.scale if given else (plain.H * plain.E / H) ** -0.5)


def heads_halved(plain: PlainAttention) -> Wrong:
    """Cut into half as many heads."""
    if not has_heads(plain) or plain.H % 2 or plain.Hk % 2:
        return None
    return recounted(plain, plain.H // 2, plain.Hk // 2)


def heads_doubled(plain: PlainAttention) -> Wrong:
    """Cut into twice as many heads."""
    if not plain.is_layer or plain.E % 2:
        return None
    return recounted(plain, plain.H * 2, plain.Hk * 2)


def heads_one(plain: PlainAttention) -> Wrong:
    """Do not cut into heads at all."""
    if not has_heads(plain) or plain.Hk != plain.H:
        return None
    return recounted(plain, 1, 1)


def heads_averaged(plain: PlainAttention) -> Wrong:
    """Give every head the mean of all heads' contexts."""
    if not has_heads(plain):
        return None

    def mix(self: PlainAttention, weights: Tensor, v: Tensor) -> Tensor:
        context = weights @ v
        return context.mean(1, keepdim=True).expand_as(context)

    return plain.changed(mix=mix)


def attention_over_batch(plain: PlainAttention) -> Wrong:
    """Attend over the batch instead of the sequence."""
    masks = (plain.padding, plain.allow, plain.bias, plain.window, plain.past_key)
    if not plain.is_self_attention or plain.B == 1 or any(mask is not None for mask in masks):
        return None
    x = plain.query.transpose(0, 1)
    return plain.changed(query=x, key=x, value=x, finish=lambda self, result: result.transpose(0, 1))


def keys_of_first_batch_element(plain: PlainAttention) -> Wrong:
    """Give every batch element the keys and values of the first."""
    if plain.B == 1:
        return None

    def remember(self: PlainAttention, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        k, v = PlainAttention.remember(self, k, v)
        return k[:1].expand_as(k), v[:1].expand_as(v)

    return plain.changed(remember=remember)


def grouped(plain: PlainAttention) -> bool:
    """Report whether several query heads share one of several key heads."""
    return 1 < plain.Hk < plain.H


def kv_heads_tiled(plain: PlainAttention) -> Wrong:
    """Give query head h the key head h mod Hk."""
    if not grouped(plain):
        return None
    return plain.changed(share=lambda self, x: x.repeat(1, self.H // self.Hk, 1, 1))


def kv_head_zero_for_all(plain: PlainAttention) -> Wrong:
    """Give every query head the first key head."""
    if not grouped(plain):
        return None
    return plain.changed(share=lambda self, x: x[:, :1].expand(-1, self.H, -1, -1))


def kv_heads_averaged(plain: PlainAttention) -> Wrong:
    """Give every query head the mean of the key heads."""
    if not grouped(plain):
        return None
    return plain.changed(share=lambda self, x: x.mean(1, keepdim=True).expand(-1, self.H, -1, -1))


MISTAKES = {
    "heads-split-untransposed": heads_split_untransposed,
    "heads-merge-untransposed": heads_merge_untransposed,
    "heads-untransposed": heads_untransposed,
    "heads-split-strided": heads_split_strided,
    "heads-merge-strided": heads_merge_strided,
    "heads-strided": heads_strided,
    "heads-merge-reversed": heads_merge_reversed,
    "heads-halved": heads_halved,
    "heads-doubled": heads_doubled,
    "heads-one": heads_one,
    "heads-averaged": heads_averaged,
    "attention-over-batch": attention_over_batch,
    "keys-of-first-batch-element": keys_of_first_batch_element,
    "kv-heads-tiled": kv_heads_tiled,
    "kv-head-zero-for-all": kv_head_zero_for_all,
    "kv-heads-averaged": kv_heads_averaged,
}

"""Mistakes with heads: how vectors are cut and merged, and which key head serves a query head."""

import math
from dataclasses import replace
from functools import partial

from pyref.build.pinned_torch import torch
from pyref.planted.plain_attention import PlainAttention, Wrong

Tensor = torch.Tensor


class SplitUntransposed(PlainAttention):
    """Views (B, T, H*E) as (B, H, T, E)."""

    def split_heads(self, x: Tensor, num_heads: int) -> Tensor:
        """Split with view alone."""
        B, T, width = x.shape
        return x.contiguous().view(B, num_heads, T, width // num_heads)


class MergeUntransposed(PlainAttention):
    """Views (B, H, L, E) as (B, L, H*E)."""

    def merge_heads(self, context: Tensor) -> Tensor:
        """Merge with view alone."""
        B, H, L, E = context.shape
        return context.contiguous().view(B, L, H * E)


class Untransposed(SplitUntransposed, MergeUntransposed):
    """Splits and merges with view alone."""


class SplitStrided(PlainAttention):
    """Gives head h the features h, h + H, h + 2H and so on."""

    def split_heads(self, x: Tensor, num_heads: int) -> Tensor:
        """Split feature by feature."""
        return x.unflatten(-1, (-1, num_heads)).permute(0, 3, 1, 2)


class MergeStrided(PlainAttention):
    """Puts the first features of all heads first, then the second features."""

    def merge_heads(self, context: Tensor) -> Tensor:
        """Merge feature by feature."""
        return context.permute(0, 2, 3, 1).flatten(-2)


class Strided(SplitStrided, MergeStrided):
    """Splits and merges feature by feature."""


def has_heads(plain: PlainAttention) -> bool:
    """Report whether a layer has several heads."""
    return plain.is_layer and plain.num_heads > 1


def heads_split_untransposed(plain: PlainAttention) -> Wrong:
    """Split the heads with view alone."""
    return plain.using(SplitUntransposed) if has_heads(plain) else None


def heads_merge_untransposed(plain: PlainAttention) -> Wrong:
    """Merge the heads with view alone."""
    return plain.using(MergeUntransposed) if has_heads(plain) else None


def heads_untransposed(plain: PlainAttention) -> Wrong:
    """Split and merge the heads with view alone."""
    return plain.using(Untransposed) if has_heads(plain) else None


def heads_split_strided(plain: PlainAttention) -> Wrong:
    """Split the heads feature by feature."""
    return plain.using(SplitStrided) if has_heads(plain) else None


def heads_merge_strided(plain: PlainAttention) -> Wrong:
    """Merge the heads feature by feature."""
    return plain.using(MergeStrided) if has_heads(plain) else None


def heads_strided(plain: PlainAttention) -> Wrong:
    """Split and merge the heads feature by feature."""
    return plain.using(Strided) if has_heads(plain) else None


def heads_merge_reversed(plain: PlainAttention) -> Wrong:
    """Merge the heads in reversed order."""
    if not has_heads(plain):
        return None

    class MergeReversed(PlainAttention):
        def merge_heads(self, context: Tensor) -> Tensor:
            return super().merge_heads(context.flip(1))

    return plain.using(MergeReversed)


def recounted(plain: PlainAttention, num_heads: int, num_kv_heads: int) -> Wrong:
    """Cut the same vectors into another number of heads.

    The scale is 1/sqrt of the new width unless the case has a scale of its own. None if other
    tensors depend on the number or the width of the heads.
    """
    masks = [mask for mask in (plain.allow, plain.bias) if mask is not None]
    per_head = (plain.sinks, plain.relative_bias, plain.past_key, plain.rope)
    if any(part is not None for part in per_head) or plain.norm_weights or plain.alibi:
        return None
    if any(mask.shape[1] != 1 for mask in masks):
        return None
    scale = plain.scale
    if math.isclose(scale, plain.head_dim**-0.5, rel_tol=1e-12):
        scale = (plain.num_heads * plain.head_dim / num_heads) ** -0.5
    return replace(plain, num_heads=num_heads, num_kv_heads=num_kv_heads, scale=scale)


def heads_halved(plain: PlainAttention) -> Wrong:
    """Cut into half as many heads."""
    if not has_heads(plain) or plain.num_heads % 2 or plain.num_kv_heads % 2:
        return None
    return recounted(plain, plain.num_heads // 2, plain.num_kv_heads // 2)


def heads_doubled(plain: PlainAttention) -> Wrong:
    """Cut into twice as many heads."""
    if not plain.is_layer or plain.head_dim % 2:
        return None
    return recounted(plain, plain.num_heads * 2, plain.num_kv_heads * 2)


def heads_one(plain: PlainAttention) -> Wrong:
    """Do not cut into heads."""
    if not has_heads(plain) or plain.num_kv_heads != plain.num_heads:
        return None
    return recounted(plain, 1, 1)


def heads_averaged(plain: PlainAttention) -> Wrong:
    """Give every head the mean of all heads' contexts."""
    if not has_heads(plain):
        return None

    class Averaged(PlainAttention):
        def context(self, attn: Tensor, v: Tensor) -> Tensor:
            context = super().context(attn, v)
            return context.mean(1, keepdim=True).expand_as(context)

    return plain.using(Averaged)


def attention_over_batch(plain: PlainAttention) -> Wrong:
    """Attend over the batch instead of the sequence."""
    masks = (plain.padding, plain.allow, plain.bias, plain.window, plain.past_key)
    if not plain.is_self_attention or plain.batch == 1 or any(mask is not None for mask in masks):
        return None

    class OverBatch(PlainAttention):
        def write_output(self, output: Tensor) -> Tensor:
            return output.transpose(0, 1)

    x = plain.query.transpose(0, 1)
    return replace(plain, query=x, key=x, value=x).using(OverBatch)


def keys_of_first_batch_element(plain: PlainAttention) -> Wrong:
    """Give every batch element the keys and values of the first."""
    if plain.batch == 1:
        return None

    class KeysOfFirst(PlainAttention):
        def concat_past(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            k, v = super().concat_past(k, v)
            return k[:1].expand_as(k), v[:1].expand_as(v)

    return plain.using(KeysOfFirst)


def grouped(plain: PlainAttention) -> bool:
    """Report whether several key heads each serve several query heads."""
    return 1 < plain.num_kv_heads < plain.num_heads


def kv_heads_tiled(plain: PlainAttention) -> Wrong:
    """Give query head h the key head h mod Hk."""
    if not grouped(plain):
        return None

    class Tiled(PlainAttention):
        def repeat_kv(self, x: Tensor) -> Tensor:
            return x.repeat(1, self.num_heads // self.num_kv_heads, 1, 1)

    return plain.using(Tiled)


def kv_head_zero_for_all(plain: PlainAttention) -> Wrong:
    """Give every query head the first key head."""
    if not grouped(plain):
        return None

    class FirstHead(PlainAttention):
        def repeat_kv(self, x: Tensor) -> Tensor:
            return x[:, :1].expand(-1, self.num_heads, -1, -1)

    return plain.using(FirstHead)


def kv_heads_averaged(plain: PlainAttention) -> Wrong:
    """Give every query head the mean of the key heads."""
    if not grouped(plain):
        return None

    class MeanHead(PlainAttention):
        def repeat_kv(self, x: Tensor) -> Tensor:
            return x.mean(1, keepdim=True).expand(-1, self.num_heads, -1, -1)

    return plain.using(MeanHead)


def fewer_features(plain: PlainAttention, keep: slice, parts: str) -> Wrong:
    """Leave out features of each head, in the scores and, if parts says so, in the values."""
    if plain.head_dim == 1:
        return None

    def kept(x: Tensor) -> Tensor:
        few = torch.zeros_like(x)
        few[..., keep] = x[..., keep]
        return few

    class FewerFeatures(PlainAttention):
        def scores(self, q: Tensor, k: Tensor) -> Tensor:
            return super().scores(kept(q), kept(k))

    class FewerFeaturesOfAll(FewerFeatures):
        def context(self, attn: Tensor, v: Tensor) -> Tensor:
            return super().context(attn, kept(v))

    return plain.using(FewerFeaturesOfAll if parts == "all" else FewerFeatures)


def head_features_first_half(plain: PlainAttention, parts: str = "all") -> Wrong:
    """Loop over the first half of the features."""
    return fewer_features(plain, slice(0, plain.head_dim // 2), parts)


def head_features_every_second(plain: PlainAttention, parts: str = "scores") -> Wrong:
    """Step over every second feature."""
    return fewer_features(plain, slice(0, None, 2), parts)


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
    "head-features-first-half": head_features_first_half,
    "head-features-every-second": head_features_every_second,
}

VARIANTS = {
    "head-features-first-half-in-scores": partial(head_features_first_half, parts="scores"),
    "head-features-every-second-and-values": partial(head_features_every_second, parts="all"),
}

"""Mistakes with the softmax."""

import math
from dataclasses import replace
from functools import partial

from pyref.build.pinned_torch import torch
from pyref.planted.plain_attention import PlainAttention, Wrong

Tensor = torch.Tensor


def normalised_over(plain: PlainAttention, *axes: int) -> PlainAttention:
    """Normalise over other axes of (B, H, L, S) than the keys; hidden keys weigh nothing."""

    class OtherAxes(PlainAttention):
        def softmax(self, scores: Tensor) -> Tensor:
            logits = self.append_sink(scores)
            exps = (logits - logits.amax(axes, keepdim=True)).exp()
            return (exps / exps.sum(axes, keepdim=True)).nan_to_num()[..., : scores.shape[-1]]

    return plain.using(OtherAxes)


def softmax_over_queries(plain: PlainAttention) -> Wrong:
    """Normalise over the queries."""
    return normalised_over(plain, -2)


def softmax_over_heads(plain: PlainAttention) -> Wrong:
    """Normalise over the heads."""
    return normalised_over(plain, 1) if plain.num_heads > 1 else None


def softmax_over_heads_and_keys(plain: PlainAttention) -> Wrong:
    """Normalise over the keys of all heads together."""
    return normalised_over(plain, 1, -1) if plain.num_heads > 1 else None


def softmax_over_batch(plain: PlainAttention) -> Wrong:
    """Normalise over the batch."""
    return normalised_over(plain, 0) if plain.batch > 1 else None


def softmax_missing(plain: PlainAttention) -> Wrong:
    """Use the scores as weights, zero for hidden keys."""

    class NoSoftmax(PlainAttention):
        def softmax(self, scores: Tensor) -> Tensor:
            return scores.masked_fill(scores == -math.inf, 0)

    return plain.using(NoSoftmax)


def softmax_not_normalised(plain: PlainAttention) -> Wrong:
    """Do not divide by the sum."""

    class NotNormalised(PlainAttention):
        def softmax(self, scores: Tensor) -> Tensor:
            return scores.exp()

    return plain.using(NotNormalised)


def softmax_base_two(plain: PlainAttention) -> Wrong:
    """Raise 2 instead of e to the scores and sinks."""

    class BaseTwo(PlainAttention):
        def softmax(self, scores: Tensor) -> Tensor:
            return super().softmax(scores * math.log(2))

    wrong = plain.using(BaseTwo)
    return wrong if plain.sinks is None else replace(wrong, sinks=plain.sinks * math.log(2))


def weights_uniform(plain: PlainAttention) -> Wrong:
    """Give every visible key the same weight."""

    class Uniform(PlainAttention):
        def attention_weights(self, scores: Tensor, visible: Tensor) -> Tensor:
            attn = visible.to(self.dtype) / visible.sum(-1, keepdim=True)
            return attn.nan_to_num() if self.empty_row == "zero" else attn

    return plain.using(Uniform)


def weights_identity(plain: PlainAttention) -> Wrong:
    """Give each query the value at its own position, visible or not."""
    alike = not isinstance(plain.first_position, torch.Tensor)
    ends_together = alike and plain.first_position + plain.seq_q == plain.seq_kv
    if not ends_together or (plain.is_layer and not plain.is_self_attention):
        return None

    class Identity(PlainAttention):
        def attention_weights(self, scores: Tensor, visible: Tensor) -> Tensor:
            own = torch.eye(self.seq_q, scores.shape[-1], dtype=self.dtype)
            return own.roll(self.first_position, dims=1).expand_as(scores)

    return plain.using(Identity)


def with_zero_keys(plain: PlainAttention, count: int) -> Wrong:
    """Let every row that sees a key also see some keys and values of zeros."""

    class ZeroKeys(PlainAttention):
        def softmax(self, scores: Tensor) -> Tensor:
            longer = torch.nn.functional.pad(scores, (0, count))
            fully_masked = (scores == -math.inf).all(-1, keepdim=True)
            attn = super().softmax(longer.masked_fill(fully_masked, -math.inf))
            return attn[..., : scores.shape[-1]]

    return plain.using(ZeroKeys) if count else None


def tail_keys_of_zero(plain: PlainAttention, tile: int = 8) -> Wrong:
    """Let the zeros that fill the last tile take part."""
    return with_zero_keys(plain, -(plain.seq_kv + plain.extra_keys) % tile)


def keys_gathered(plain: PlainAttention, index: Tensor) -> PlainAttention:
    """Let a kernel see the keys of some indices, some of them more than once."""

    class Gathered(PlainAttention):
        def softmax(self, scores: Tensor) -> Tensor:
            attn = super().softmax(scores[..., index])
            return torch.zeros_like(scores).index_add(-1, index, attn)

    return plain.using(Gathered)


def tail_keys_repeated(plain: PlainAttention, tile: int = 8) -> Wrong:
    """Clamp the indices of the last tile to the last key."""
    keys = plain.seq_kv + plain.extra_keys
    tiles = math.ceil(keys / tile)
    return keys_gathered(plain, torch.arange(tiles * tile).clamp(max=keys - 1)) if keys % tile else None


def last_tile_overlaps(plain: PlainAttention, tile: int = 4) -> Wrong:
    """Clamp the start of the last tile, so that it ends with the last key."""
    keys = plain.seq_kv + plain.extra_keys
    if keys <= tile or keys % tile == 0:
        return None
    starts = [min(start, keys - tile) for start in range(0, keys, tile)]
    return keys_gathered(plain, torch.cat([torch.arange(start, start + tile) for start in starts]))


def zero_key_added(plain: PlainAttention) -> Wrong:
    """Add one to the denominator."""
    return with_zero_keys(plain, 1)


def online_softmax_not_rescaled(plain: PlainAttention, tile: int = 4) -> Wrong:
    """Do not rescale the results of earlier tiles when a later tile raises the maximum."""

    class NotRescaled(PlainAttention):
        def softmax(self, scores: Tensor) -> Tensor:
            highest = torch.full_like(scores[..., :1], -math.inf)
            total = torch.zeros_like(highest)
            accumulated = []
            for part in scores.split(tile, dim=-1):
                raised = torch.maximum(highest, part.amax(-1, keepdim=True))
                finite = raised.masked_fill(raised == -math.inf, 0)
                accumulated.append((part - finite).exp())
                total = total * (highest - finite).exp() + accumulated[-1].sum(-1, keepdim=True)
                highest = raised
            if self.sinks is not None:
                total = total + (self.sinks[:, None, None] - finite).exp()
            attn = torch.cat(accumulated, dim=-1) / total
            return attn.nan_to_num() if self.empty_row == "zero" else attn

    return plain.using(NotRescaled) if plain.seq_kv + plain.extra_keys > tile else None


MISTAKES = {
    "softmax-over-queries": softmax_over_queries,
    "softmax-over-heads": softmax_over_heads,
    "softmax-over-heads-and-keys": softmax_over_heads_and_keys,
    "softmax-over-batch": softmax_over_batch,
    "softmax-missing": softmax_missing,
    "softmax-not-normalised": softmax_not_normalised,
    "softmax-base-two": softmax_base_two,
    "weights-uniform": weights_uniform,
    "weights-identity": weights_identity,
    "tail-keys-of-zero": tail_keys_of_zero,
    "tail-keys-repeated": tail_keys_repeated,
    "last-tile-overlaps": last_tile_overlaps,
    "online-softmax-not-rescaled": online_softmax_not_rescaled,
    "zero-key-added": zero_key_added,
}

VARIANTS = {
    f"{name}-{tile}": partial(MISTAKES[name], tile=tile)
    for name, usual in {
        "tail-keys-of-zero": 8,
        "tail-keys-repeated": 8,
        "last-tile-overlaps": 4,
        "online-softmax-not-rescaled": 4,
    }.items()
    for tile in (4, 8, 16, 32, 64, 128)
    if tile != usual
}

"""Mistakes with the softmax."""

import math
from dataclasses import replace

from pyref.build.pinned_torch import torch
from pyref.planted.plain_attention import PlainAttention, Wrong

Tensor = torch.Tensor

TILE = 4  # keys per tile of an online softmax
TAIL = 8  # a kernel fills its last tile up to a multiple of this many keys


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


def tail_keys_of_zero(plain: PlainAttention) -> Wrong:
    """Let the zeros that fill the last tile take part."""
    return with_zero_keys(plain, -(plain.seq_kv + plain.extra_keys) % TAIL)


def zero_key_added(plain: PlainAttention) -> Wrong:
    """Add one to the denominator."""
    return with_zero_keys(plain, 1)


def online_softmax_not_rescaled(plain: PlainAttention) -> Wrong:
    """Do not rescale the results of earlier tiles when a later tile raises the maximum."""

    class NotRescaled(PlainAttention):
        def softmax(self, scores: Tensor) -> Tensor:
            visible = scores > -math.inf
            tile = (visible.cumsum(-1) - 1) // TILE
            largest = scores.max(-1, keepdim=True).values
            denominator = (self.append_sink(scores) - largest).exp().sum(-1, keepdim=True)
            attn = torch.zeros_like(scores)
            for last in range(int(tile.max()) + 1):
                running = scores.masked_fill(tile > last, -math.inf).max(-1, keepdim=True).values
                attn = torch.where(tile == last, (scores - running).exp() / denominator, attn)
            attn = attn.masked_fill(~visible, 0)
            fully_masked = ~visible.any(-1, keepdim=True)
            return attn if self.empty_row == "zero" else attn.masked_fill(fully_masked, math.nan)

    return plain.using(NotRescaled) if plain.seq_kv + plain.extra_keys > TILE else None


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
    "online-softmax-not-rescaled": online_softmax_not_rescaled,
    "zero-key-added": zero_key_added,
}

"""Mistakes in making weights of the scores."""

import math

from pyref.pinned import torch
from pyref.planted.plain import PlainAttention

Wrong = PlainAttention | None
Tensor = torch.Tensor

TILE = 4  # keys that an online softmax takes at a time
TAIL = 8  # keys that a kernel's last tile is filled up to


def normalised_over(plain: PlainAttention, *axes: int) -> Wrong:
    """Normalise over other axes of (B, H, L, S) than the keys; what is hidden weighs nothing anywhere."""

    def softmax(self: PlainAttention, scores: Tensor) -> Tensor:
        logits = self.with_sink(scores)
        parts = (logits - logits.amax(axes, keepdim=True)).exp()
        return (parts / parts.sum(axes, keepdim=True)).nan_to_num()[..., : scores.shape[-1]]

    return plain.changed(softmax=softmax)


def softmax_over_queries(plain: PlainAttention) -> Wrong:
    """Normalise over the queries."""
    return normalised_over(plain, -2)


def softmax_over_heads(plain: PlainAttention) -> Wrong:
    """Normalise over the heads."""
    return normalised_over(plain, 1) if plain.H > 1 else None


def softmax_over_heads_and_keys(plain: PlainAttention) -> Wrong:
    """Normalise over all heads' keys."""
    return normalised_over(plain, 1, -1) if plain.H > 1 else None


def softmax_over_batch(plain: PlainAttention) -> Wrong:
    """Normalise over the batch."""
    return normalised_over(plain, 0) if plain.B > 1 else None


def softmax_missing(plain: PlainAttention) -> Wrong:
    """Take the scores for weights."""
    return plain.changed(softmax=lambda self, scores: scores.masked_fill(scores == -math.inf, 0))


def softmax_not_normalised(plain: PlainAttention) -> Wrong:
    """Do not divide by the sum."""
    return plain.changed(softmax=lambda self, scores: scores.exp())


def softmax_base_two(plain: PlainAttention) -> Wrong:
    """Raise two to the scores, and to the sinks."""
    wrong = plain.changed(
        softmax=lambda self, scores: PlainAttention.softmax(self, scores * math.log(2)),
    )
    return wrong if plain.sinks is None else wrong.changed(sinks=plain.sinks * math.log(2))


def weights_uniform(plain: PlainAttention) -> Wrong:
    """Weigh every key that is seen the same."""

    def attend(self: PlainAttention, scores: Tensor, seen: Tensor) -> Tensor:
        weights = seen.to(self.dtype) / seen.sum(-1, keepdim=True)
        return weights.nan_to_num() if self.empty_row == "zero" else weights

    return plain.changed(attend=attend)


def weights_identity(plain: PlainAttention) -> Wrong:
    """Give each query the value at its own position, whatever it sees."""
    if plain.offset + plain.L != plain.S or (plain.is_layer and not plain.is_self_attention):
        return None

    def attend(self: PlainAttention, scores: Tensor, seen: Tensor) -> Tensor:
        own = torch.eye(self.L, scores.shape[-1], dtype=self.dtype).roll(self.offset, dims=1)
        return own.expand_as(scores)

    return plain.changed(attend=attend)


def with_zero_keys(plain: PlainAttention, count: int) -> Wrong:
    """Let every row that sees a key see some keys and values of zeros, too."""

    def softmax(self: PlainAttention, scores: Tensor) -> Tensor:
        longer = torch.nn.functional.pad(scores, (0, count))
        blank = (scores == -math.inf).all(-1, keepdim=True)
        weights = PlainAttention.softmax(self, longer.masked_fill(blank, -math.inf))
        return weights[..., : scores.shape[-1]]

    return plain.changed(softmax=softmax) if count else None


def tail_keys_of_zero(plain: PlainAttention) -> Wrong:
    """Let the zeros that fill up the last tile take part."""
    return with_zero_keys(plain, -(plain.S + plain.extras) % TAIL)


def zero_key_added(plain: PlainAttention) -> Wrong:
    """Add one to the denominator."""
    return with_zero_keys(plain, 1)


def online_softmax_not_rescaled(plain: PlainAttention) -> Wrong:
    """Leave what earlier tiles gave as it was when a later tile raises the maximum."""

    def softmax(self: PlainAttention, scores: Tensor) -> Tensor:
        visible = scores > -math.inf
        tile = (visible.cumsum(-1) - 1) // TILE
        largest = scores.max(-1, keepdim=True).values
        denominator = (self.with_sink(scores) - largest).exp().sum(-1, keepdim=True)
        weights = torch.zeros_like(scores)
        for last in range(int(tile.max()) + 1):
            running = scores.masked_fill(tile > last, -math.inf).max(-1, keepdim=True).values
            weights = torch.where(tile == last, (scores - running).exp() / denominator, weights)
        weights = weights.masked_fill(~visible, 0)
        blank = ~visible.any(-1, keepdim=True)
        return weights if self.empty_row == "zero" else weights.masked_fill(blank, math.nan)

    return plain.changed(softmax=softmax) if plain.S + plain.extras > TILE else None


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

"""Mistakes with masks: which keys a query sees, and how the others are hidden."""

from collections.abc import Callable
from dataclasses import replace

from pyref.build.pinned_torch import torch
from pyref.planted.plain_attention import PlainAttention, Wrong

Tensor = torch.Tensor


def causal_as(plain: PlainAttention, sees: Callable[[Tensor], Tensor]) -> Wrong:
    """Replace the causal rule; `sees` gets the position of the key minus the query's (L, S)."""

    class OtherRule(PlainAttention):
        def causal_visible(self) -> Tensor:
            return sees(self.distance())

    return plain.using(OtherRule) if plain.causal else None


def causal_missing(plain: PlainAttention) -> Wrong:
    """See the keys after the query."""
    return replace(plain, causal=False) if plain.causal else None


def causal_inverted(plain: PlainAttention) -> Wrong:
    """See only the keys after the query."""
    return causal_as(plain, lambda ahead: ahead > 0)


def causal_transposed(plain: PlainAttention) -> Wrong:
    """Keep the upper triangle instead of the lower one."""
    return causal_as(plain, lambda ahead: ahead >= 0)


def causal_self_hidden(plain: PlainAttention) -> Wrong:
    """Hide the query's own key."""
    return causal_as(plain, lambda ahead: ahead < 0)


def causal_next_seen(plain: PlainAttention) -> Wrong:
    """See the next key."""
    return causal_as(plain, lambda ahead: ahead <= 1)


class TopLeft(PlainAttention):
    """Counts queries from 0 in the causal mask, whatever comes before them."""

    def causal_visible(self) -> Tensor:
        """Return the lower triangle, aligned top-left."""
        return self.distance_without_past() <= 0


def causal_offset_of_first_batch_element(plain: PlainAttention) -> Wrong:
    """Let the queries of every batch element start at the first key of element 0's queries."""

    class FirstOffset(PlainAttention):
        def causal_visible(self) -> Tensor:
            return self.distance()[:1] <= 0

    if not plain.causal or not isinstance(plain.first_position, Tensor):
        return None
    return plain.using(FirstOffset)


def causal_added(plain: PlainAttention) -> Wrong:
    """Add a causal mask, aligned top-left, to a case without one."""
    return None if plain.causal else replace(plain, causal=True).using(TopLeft)


def causal_added_lower_right(plain: PlainAttention) -> Wrong:
    """Add a causal mask, aligned lower-right, to a case without one."""
    if plain.causal or plain.seq_q == plain.seq_kv:
        return None

    class LowerRight(PlainAttention):
        def causal_visible(self) -> Tensor:
            ones = torch.ones(self.seq_q, self.seq_kv, dtype=torch.bool)
            return ones.tril(self.seq_kv - self.seq_q)

    return replace(plain, causal=True).using(LowerRight)


def causal_top_left(plain: PlainAttention) -> Wrong:
    """Count queries from 0 in the causal mask, whatever comes before them."""
    return plain.using(TopLeft) if plain.causal and plain.shifted else None


def causal_lower_right(plain: PlainAttention) -> Wrong:
    """Let the last query end at the last key although the first one begins at the first key."""
    if isinstance(plain.first_position, Tensor):
        return None
    later = plain.seq_kv - plain.seq_q - plain.first_position
    if not plain.causal or later == 0:
        return None

    class EndsTogether(PlainAttention):
        def causal_visible(self) -> Tensor:
            return torch.ones(self.seq_q, self.seq_kv, dtype=torch.bool).tril(self.seq_kv - self.seq_q)

        def window_visible(self) -> Tensor:
            return (self.distance() - later).abs() < self.window

    return plain.using(EndsTogether)


def mask_taken_for_causal(plain: PlainAttention) -> Wrong:
    """Put a causal mask, aligned lower-right, in the place of a bool mask."""
    if plain.allow is None or plain.causal:
        return None

    class LowerRight(PlainAttention):
        def causal_visible(self) -> Tensor:
            return torch.ones(self.seq_q, self.seq_kv, dtype=torch.bool).tril(self.seq_kv - self.seq_q)

    return replace(plain, allow=None, causal=True).using(LowerRight)


def mask_taken_for_causal_top_left(plain: PlainAttention) -> Wrong:
    """Put a causal mask, aligned top-left, in the place of a bool mask."""
    if plain.allow is None or plain.causal or plain.seq_q == plain.seq_kv:
        return None
    return replace(plain, allow=None, causal=True).using(TopLeft)


def padding_ignored(plain: PlainAttention) -> Wrong:
    """See filler."""
    return None if plain.padding is None else replace(plain, padding=None)


def padding_as(plain: PlainAttention, padding: Callable[[Tensor], Tensor]) -> Wrong:
    """Take other keys (B, S) for filler."""
    return None if plain.padding is None else replace(plain, padding=padding(plain.padding))


def padding_inverted(plain: PlainAttention) -> Wrong:
    """See only filler."""
    return padding_as(plain, lambda padding: ~padding)


def filler_as(plain: PlainAttention, filler: Callable[[Tensor], Tensor]) -> PlainAttention:
    """Hide filler by another rule; `filler` turns the padding (B, S) into bool (B, H, L, S)."""

    class OtherFiller(PlainAttention):
        def padding_visible(self) -> Tensor:
            return ~filler(self.padding)

    return plain.using(OtherFiller)


def padding_tiled_over_heads(plain: PlainAttention) -> Wrong:
    """Repeat the whole padding per head (H, B) but index it as (B, H)."""
    if plain.padding is None or plain.num_heads == 1 or plain.batch == 1:
        return None
    H, B = plain.num_heads, plain.batch
    return filler_as(plain, lambda padding: padding.repeat(H, 1).view(B, H, 1, -1))


def padding_by_head(plain: PlainAttention) -> Wrong:
    """Broadcast the padding (B, S) along the batch, as if its first dimension were the heads."""
    if plain.padding is None or plain.num_heads == 1 or plain.batch == 1:
        return None
    elements = torch.arange(plain.num_heads) % plain.batch
    return filler_as(plain, lambda padding: padding[elements][None, :, None, :])


def could_pad_queries(plain: PlainAttention) -> bool:
    """Report whether the padding of the keys has the shape of the queries' padding."""
    return plain.padding is not None and plain.is_self_attention and plain.past_len == 0


def padding_on_queries(plain: PlainAttention) -> Wrong:
    """Hide every key from filler queries, and filler from no query."""
    if not could_pad_queries(plain):
        return None
    return filler_as(plain, lambda padding: padding[:, None, :, None])


def padding_on_queries_too(plain: PlainAttention) -> Wrong:
    """Hide every key from filler queries, too."""
    if not could_pad_queries(plain):
        return None
    return filler_as(plain, lambda padding: padding[:, None, :, None] | padding[:, None, None, :])


def padding_sees_padding(plain: PlainAttention) -> Wrong:
    """Let filler see filler, and real tokens see real tokens."""
    if not could_pad_queries(plain):
        return None
    return filler_as(plain, lambda padding: padding[:, None, :, None] != padding[:, None, None, :])


def padded_left(padding: Tensor) -> bool:
    """Report whether filler comes before the real keys."""
    return bool(padding[:, 0].any())


def padding_of(valid: Tensor, seq_kv: int, left: bool) -> Tensor:
    """Return the padding (B, S) for numbers of real keys (B)."""
    position = torch.arange(seq_kv)
    return position < seq_kv - valid[:, None] if left else position >= valid[:, None]


def padding_one_longer(plain: PlainAttention) -> Wrong:
    """Count one real key too few."""

    def longer(padding: Tensor) -> Tensor:
        valid = ((~padding).sum(1) - 1).clamp(min=1)
        return padding_of(valid, padding.shape[1], padded_left(padding))

    return padding_as(plain, longer)


def padding_other_side(plain: PlainAttention) -> Wrong:
    """Put the filler on the other side."""

    def other_side(padding: Tensor) -> Tensor:
        return padding_of((~padding).sum(1), padding.shape[1], not padded_left(padding))

    return padding_as(plain, other_side)


def mask_ignored(plain: PlainAttention) -> Wrong:
    """See the keys that the bool mask hides."""
    return None if plain.allow is None else replace(plain, allow=None)


def mask_inverted(plain: PlainAttention) -> Wrong:
    """See only the keys that the bool mask hides."""
    return None if plain.allow is None else replace(plain, allow=~plain.allow)


def masked_as(plain: PlainAttention, mask: Callable[[Tensor, Tensor], Tensor]) -> Wrong:
    """Hide keys by another rule; `mask` gets scores and visible keys. None if no key is hidden."""
    if not plain.masks_keys:
        return None

    class OtherMasking(PlainAttention):
        def mask_scores(self, scores: Tensor, visible: Tensor) -> Tensor:
            return mask(scores, visible)

    return plain.using(OtherMasking)


def mask_value_near_zero(plain: PlainAttention) -> Wrong:
    """Hide with -1e-9 where -1e9 is meant."""
    return masked_as(plain, lambda scores, visible: torch.where(visible, scores, -1e-9))


def mask_multiplied(plain: PlainAttention) -> Wrong:
    """Multiply the scores by the mask."""
    return masked_as(plain, lambda scores, visible: scores * visible)


def mask_added_as_one(plain: PlainAttention) -> Wrong:
    """Add the mask, one for a visible key."""
    return masked_as(plain, lambda scores, visible: scores + visible.to(scores.dtype))


def mask_added_as_one_inverted(plain: PlainAttention) -> Wrong:
    """Add the mask, one for a hidden key."""
    return masked_as(plain, lambda scores, visible: scores + (~visible).to(scores.dtype))


def mask_minus_ten(plain: PlainAttention) -> Wrong:
    """Hide by subtracting ten."""
    return masked_as(plain, lambda scores, visible: scores - 10 * (~visible).to(scores.dtype))


def mask_finite(plain: PlainAttention) -> Wrong:
    """Hide with a finite number, which cannot empty a fully masked row."""
    if not plain.has_fully_masked_rows:
        return None
    return masked_as(plain, lambda scores, visible: scores.masked_fill(~visible, -1e9))


def mask_after_softmax(plain: PlainAttention) -> Wrong:
    """Zero the weights of hidden keys after the softmax without normalising again."""
    if not plain.masks_keys:
        return None

    class MaskedWeights(PlainAttention):
        def attention_weights(self, scores: Tensor, visible: Tensor) -> Tensor:
            return self.softmax(scores) * visible

    return plain.using(MaskedWeights)


def mask_empty_row_nan(plain: PlainAttention) -> Wrong:
    """Let a fully masked row be NaN where zero is expected."""
    if not plain.has_fully_masked_rows or plain.empty_row == "nan" or plain.sinks is not None:
        return None
    return replace(plain, empty_row="nan")


def mask_empty_row_zero(plain: PlainAttention) -> Wrong:
    """Let a fully masked row be zero where NaN is expected."""
    if not plain.has_fully_masked_rows or plain.empty_row == "zero":
        return None
    return replace(plain, empty_row="zero")


def bias_ignored(plain: PlainAttention) -> Wrong:
    """Do not add the float mask."""
    return None if plain.bias is None else replace(plain, bias=None)


def bias_times(plain: PlainAttention, factor: float) -> Wrong:
    """Add a multiple of the float mask."""
    if plain.bias is None:
        return None

    class ScaledMask(PlainAttention):
        def float_mask(self) -> Tensor:
            return factor * super().float_mask()

    return plain.using(ScaledMask)


def bias_scaled(plain: PlainAttention) -> Wrong:
    """Scale the float mask like the scores."""
    return bias_times(plain, plain.scale)


def bias_twice(plain: PlainAttention) -> Wrong:
    """Add the float mask twice."""
    return bias_times(plain, 2.0)


def window_one_wide(plain: PlainAttention) -> Wrong:
    """Let the window reach one key too far."""
    return None if plain.window is None else replace(plain, window=plain.window + 1)


def window_one_narrow(plain: PlainAttention) -> Wrong:
    """Let the window end one key too early."""
    return replace(plain, window=plain.window - 1) if plain.window and plain.window > 1 else None


def window_missing(plain: PlainAttention) -> Wrong:
    """See the keys outside the window."""
    return None if plain.window is None else replace(plain, window=None)


def window_two_sided(plain: PlainAttention) -> Wrong:
    """Apply the window without the causal mask."""
    return replace(plain, causal=False) if plain.window and plain.causal else None


def window_top_left(plain: PlainAttention) -> Wrong:
    """Count queries from 0 in the window, whatever comes before them."""
    if plain.window is None or not plain.shifted:
        return None

    class TopLeftWindow(PlainAttention):
        def window_visible(self) -> Tensor:
            return self.distance_without_past().abs() < self.window

    return plain.using(TopLeftWindow)


def hiding(plain: PlainAttention, keys: int | slice) -> PlainAttention:
    """Hide some keys from every query."""

    class FewerKeys(PlainAttention):
        def visible(self) -> Tensor:
            visible = super().visible().clone()
            visible[..., keys] = False
            return visible

    return plain.using(FewerKeys)


def first_key_dropped(plain: PlainAttention) -> Wrong:
    """Begin with the second key."""
    return hiding(plain, 0) if plain.seq_kv > 1 else None


MISTAKES = {
    "causal-missing": causal_missing,
    "causal-inverted": causal_inverted,
    "causal-transposed": causal_transposed,
    "causal-self-hidden": causal_self_hidden,
    "causal-next-seen": causal_next_seen,
    "causal-offset-of-first-batch-element": causal_offset_of_first_batch_element,
    "causal-lower-right": causal_lower_right,
    "causal-added": causal_added,
    "causal-added-lower-right": causal_added_lower_right,
    "causal-top-left": causal_top_left,
    "padding-ignored": padding_ignored,
    "padding-inverted": padding_inverted,
    "padding-tiled-over-heads": padding_tiled_over_heads,
    "padding-by-head": padding_by_head,
    "padding-on-queries": padding_on_queries,
    "padding-on-queries-too": padding_on_queries_too,
    "padding-sees-padding": padding_sees_padding,
    "padding-one-longer": padding_one_longer,
    "padding-other-side": padding_other_side,
    "mask-ignored": mask_ignored,
    "mask-inverted": mask_inverted,
    "mask-taken-for-causal": mask_taken_for_causal,
    "mask-value-near-zero": mask_value_near_zero,
    "mask-multiplied": mask_multiplied,
    "mask-after-softmax": mask_after_softmax,
    "mask-added-as-one": mask_added_as_one,
    "mask-added-as-one-inverted": mask_added_as_one_inverted,
    "mask-minus-ten": mask_minus_ten,
    "mask-finite": mask_finite,
    "mask-empty-row-nan": mask_empty_row_nan,
    "mask-empty-row-zero": mask_empty_row_zero,
    "bias-ignored": bias_ignored,
    "bias-scaled": bias_scaled,
    "bias-twice": bias_twice,
    "window-one-wide": window_one_wide,
    "window-one-narrow": window_one_narrow,
    "window-missing": window_missing,
    "window-two-sided": window_two_sided,
    "window-top-left": window_top_left,
    "first-key-dropped": first_key_dropped,
}

VARIANTS = {"mask-taken-for-causal-top-left": mask_taken_for_causal_top_left}

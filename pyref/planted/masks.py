"""Mistakes in what a query sees, and in how what it does not see is hidden."""

from collections.abc import Callable

from pyref.pinned import torch
from pyref.planted.plain import PlainAttention

Wrong = PlainAttention | None
Tensor = torch.Tensor


def causal_as(plain: PlainAttention, sees: Callable[[Tensor], Tensor]) -> Wrong:
    """Let a causal query see keys by another rule, given by how many positions they come after it."""
    return plain.changed(causal_seen=lambda self: sees(self.distance())) if plain.causal else None


def causal_missing(plain: PlainAttention) -> Wrong:
    """See what comes after the query."""
    return plain.changed(causal=False) if plain.causal else None


def causal_inverted(plain: PlainAttention) -> Wrong:
    """See only what comes after the query."""
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


def causal_added(plain: PlainAttention) -> Wrong:
    """Add a causal mask, aligned top-left, where there is none."""
    if plain.causal:
        return None
    return plain.changed(causal=True, causal_seen=lambda self: self.local_distance() <= 0)


def causal_added_lower_right(plain: PlainAttention) -> Wrong:
    """Add a causal mask, aligned lower-right, where there is none and the two are not the same."""
    if plain.causal or plain.L == plain.S:
        return None
    mask = torch.ones(plain.L, plain.S, dtype=torch.bool).tril(plain.S - plain.L)
    return plain.changed(causal=True, causal_seen=lambda self: mask)


def causal_top_left(plain: PlainAttention) -> Wrong:
    """Count queries from 0 in the causal mask, whatever comes before them."""
    if not plain.causal or plain.offset == 0:
        return None
    return plain.changed(causal_seen=lambda self: self.local_distance() <= 0)


def padding_ignored(plain: PlainAttention) -> Wrong:
    """See filler."""
    return None if plain.padding is None else plain.changed(padding=None)


def padding_as(plain: PlainAttention, padding: Callable[[Tensor], Tensor]) -> Wrong:
    """Take other keys (B, S) for filler."""
    return None if plain.padding is None else plain.changed(padding=padding(plain.padding))


def padding_inverted(plain: PlainAttention) -> Wrong:
    """See only filler."""
    return padding_as(plain, lambda padding: ~padding)


def padding_tiled_over_heads(plain: PlainAttention) -> Wrong:
    """Repeat the batch of masks for the heads, and read each batch element's heads from that in turn."""
    if plain.padding is None or plain.H == 1 or plain.B == 1:
        return None
    tiled = plain.padding.repeat(plain.H, 1).view(plain.B, plain.H, 1, -1)
    return plain.changed(padding_seen=lambda self: ~tiled)


def pads_queries(plain: PlainAttention) -> bool:
    """Report whether the padding of the keys could be that of the queries."""
    return plain.padding is not None and plain.is_self_attention and plain.P == 0


def padding_on_queries(plain: PlainAttention) -> Wrong:
    """Hide every key from filler queries, and filler from none."""
    if not pads_queries(plain):
        return None
    return plain.changed(padding_seen=lambda self: ~self.padding[:, None, :, None])


def padding_on_queries_too(plain: PlainAttention) -> Wrong:
    """Hide every key from filler queries, too."""
    if not pads_queries(plain):
        return None
    return plain.changed(
        padding_seen=lambda self: ~(self.padding[:, None, :, None] | self.padding[:, None, None, :])
    )


def padding_sees_padding(plain: PlainAttention) -> Wrong:
    """Let filler see filler, and the rest see the rest."""
    if not pads_queries(plain):
        return None
    return plain.changed(
        padding_seen=lambda self: self.padding[:, None, :, None] == self.padding[:, None, None, :]
    )


def padded_left(padding: Tensor) -> bool:
    """Report whether filler comes before the real keys."""
    return bool(padding[:, 0].any())


def filled(valid: Tensor, S: int, left: bool) -> Tensor:
    """Return the padding (B, S) of so many real keys."""
    position = torch.arange(S)
    return position < S - valid[:, None] if left else position >= valid[:, None]


def padding_one_longer(plain: PlainAttention) -> Wrong:
    """Count one real key too few."""
    return padding_as(
        plain,
        lambda padding: filled(((~padding).sum(1) - 1).clamp(min=1), padding.shape[1], padded_left(padding)),
    )


def padding_other_side(plain: PlainAttention) -> Wrong:
    """Take the filler to be on the other side."""
    return padding_as(
        plain, lambda padding: filled((~padding).sum(1), padding.shape[1], not padded_left(padding))
    )


def mask_ignored(plain: PlainAttention) -> Wrong:
    """See what the bool mask hides."""
    return None if plain.allow is None else plain.changed(allow=None)


def mask_inverted(plain: PlainAttention) -> Wrong:
    """See only what the bool mask hides."""
    return None if plain.allow is None else plain.changed(allow=~plain.allow)


def hidden_as(plain: PlainAttention, hide: Callable[[Tensor, Tensor], Tensor]) -> Wrong:
    """Hide otherwise; `hide` takes scores and what is seen."""
    if not plain.hides:
        return None
    return plain.changed(hide=lambda self, scores, seen: hide(scores, seen))


def mask_value_near_zero(plain: PlainAttention) -> Wrong:
    """Hide with -1e-9 where -1e9 is meant."""
    return hidden_as(plain, lambda scores, seen: torch.where(seen, scores, -1e-9))


def mask_multiplied(plain: PlainAttention) -> Wrong:
    """Multiply the scores by the mask."""
    return hidden_as(plain, lambda scores, seen: scores * seen)


def mask_added_as_one(plain: PlainAttention) -> Wrong:
    """Add the mask, one where a key is seen."""
    return hidden_as(plain, lambda scores, seen: scores + seen.to(scores.dtype))


def mask_added_as_one_inverted(plain: PlainAttention) -> Wrong:
    """Add the mask, one where a key is hidden."""
    return hidden_as(plain, lambda scores, seen: scores + (~seen).to(scores.dtype))


def mask_minus_ten(plain: PlainAttention) -> Wrong:
    """Hide by taking ten away."""
    return hidden_as(plain, lambda scores, seen: scores - 10 * (~seen).to(scores.dtype))


def mask_finite(plain: PlainAttention) -> Wrong:
    """Hide with a finite number, which a row without keys sees through."""
    if not plain.empty:
        return None
    return hidden_as(plain, lambda scores, seen: scores.masked_fill(~seen, -1e9))


def mask_after_softmax(plain: PlainAttention) -> Wrong:
    """Zero the weights of hidden keys after the softmax, and do not normalise again."""
    if not plain.hides:
        return None
    return plain.changed(attend=lambda self, scores, seen: self.softmax(scores) * seen)


def mask_empty_row_nan(plain: PlainAttention) -> Wrong:
    """Let a row without keys be NaN."""
    if not plain.empty or plain.empty_row == "nan" or plain.sinks is not None:
        return None
    return plain.changed(empty_row="nan")


def mask_empty_row_zero(plain: PlainAttention) -> Wrong:
    """Let a row without keys be zero where NaN is expected."""
    if not plain.empty or plain.empty_row == "zero":
        return None
    return plain.changed(empty_row="zero")


def bias_ignored(plain: PlainAttention) -> Wrong:
    """Leave the float mask out."""
    return None if plain.bias is None else plain.changed(bias=None)


def bias_times(plain: PlainAttention, factor: float) -> Wrong:
    """Add a multiple of the float mask."""
    if plain.bias is None:
        return None
    return plain.changed(bias_added=lambda self: factor * PlainAttention.bias_added(self))


def bias_scaled(plain: PlainAttention) -> Wrong:
    """Scale the float mask like the scores."""
    return bias_times(plain, plain.scale)


def bias_twice(plain: PlainAttention) -> Wrong:
    """Add the float mask twice."""
    return bias_times(plain, 2.0)


def window_one_wide(plain: PlainAttention) -> Wrong:
    """Let the window reach one key too far."""
    return None if plain.window is None else plain.changed(window=plain.window + 1)


def window_one_narrow(plain: PlainAttention) -> Wrong:
    """Let the window reach one key too few."""
    return plain.changed(window=plain.window - 1) if plain.window and plain.window > 1 else None


def window_missing(plain: PlainAttention) -> Wrong:
    """See what has left the window."""
    return None if plain.window is None else plain.changed(window=None)


def window_two_sided(plain: PlainAttention) -> Wrong:
    """Let the window stand in for the causal mask."""
    return plain.changed(causal=False) if plain.window and plain.causal else None


def window_top_left(plain: PlainAttention) -> Wrong:
    """Count queries from 0 in the window, whatever comes before them."""
    if plain.window is None or plain.offset == 0:
        return None
    return plain.changed(window_seen=lambda self: self.local_distance().abs() < self.window)


def first_key_dropped(plain: PlainAttention) -> Wrong:
    """Begin with the second key."""

    def seen(self: PlainAttention) -> Tensor:
        seen = PlainAttention.seen(self).clone()
        seen[..., 0] = False
        return seen

    return plain.changed(seen=seen) if plain.S > 1 else None


MISTAKES = {
    "causal-missing": causal_missing,
    "causal-inverted": causal_inverted,
    "causal-transposed": causal_transposed,
    "causal-self-hidden": causal_self_hidden,
    "causal-next-seen": causal_next_seen,
    "causal-added": causal_added,
    "causal-added-lower-right": causal_added_lower_right,
    "causal-top-left": causal_top_left,
    "padding-ignored": padding_ignored,
    "padding-inverted": padding_inverted,
    "padding-tiled-over-heads": padding_tiled_over_heads,
    "padding-on-queries": padding_on_queries,
    "padding-on-queries-too": padding_on_queries_too,
    "padding-sees-padding": padding_sees_padding,
    "padding-one-longer": padding_one_longer,
    "padding-other-side": padding_other_side,
    "mask-ignored": mask_ignored,
    "mask-inverted": mask_inverted,
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

"""Mistakes with cached keys and values, and with the positions after them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pyref.build.pinned_torch import torch
from pyref.planted.masks import hiding
from pyref.planted.plain_attention import PlainAttention, Wrong, append_zeros

Tensor = torch.Tensor


def rope_offset_lost(plain: PlainAttention) -> Wrong:
    """Count the positions of new queries and keys from 0."""
    return offset_lost(plain, "query", "key")


def rope_offset_lost_for_queries(plain: PlainAttention) -> Wrong:
    """Count the positions of new queries from 0."""
    return offset_lost(plain, "query")


def offset_lost(plain: PlainAttention, *roles: str) -> Wrong:
    """Count the positions of some roles from 0."""

    class OffsetLost(PlainAttention):
        def positions(self, x: Tensor, role: str) -> Tensor:
            positions = super().positions(x, role)
            return positions - self.past_len if role in roles else positions

    return plain.using(OffsetLost) if plain.rope and plain.past_len else None


def past_key_rotated(plain: PlainAttention, sign: int) -> Wrong:
    """Rotate the cached keys by their positions, forwards (+1) or backwards (-1)."""
    if plain.rope is None or plain.past_len == 0:
        return None
    angles = plain.angles(sign * torch.arange(plain.past_len, dtype=plain.dtype))
    return replace(plain, past_key=plain.apply_rotary_pos_emb(plain.past_key, angles))


def cache_rotated_twice(plain: PlainAttention) -> Wrong:
    """Rotate the cached keys again."""
    return past_key_rotated(plain, 1)


def cache_not_rotated(plain: PlainAttention) -> Wrong:
    """Cache the keys before they are rotated."""
    return past_key_rotated(plain, -1)


def cached_from(plain: PlainAttention, first: int) -> Wrong:
    """Write new keys and values from the slot `first` on; other new slots stay zero."""

    def written(past: Tensor, new: Tensor) -> Tensor:
        P, L = past.shape[2], new.shape[2]
        buffer = torch.cat([past, torch.zeros_like(new)], dim=2)
        count = min(L, P + L - first)
        buffer[:, :, first : first + count] = new[:, :, :count]
        return buffer

    class OtherSlots(PlainAttention):
        def concat_past(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            return written(self.past_key, k), written(self.past_value, v)

    return plain.using(OtherSlots) if plain.past_len else None


def cache_overwritten(plain: PlainAttention) -> Wrong:
    """Write new keys and values over the first ones."""
    return cached_from(plain, 0)


def cache_one_slot_late(plain: PlainAttention) -> Wrong:
    """Leave an empty slot before the new keys and values."""
    return cached_from(plain, plain.past_len + 1)


def cache_without_new_keys(plain: PlainAttention) -> Wrong:
    """Attend before the new keys and values are in the cache."""
    return hiding(plain, slice(plain.past_len, None)) if plain.past_len else None


def cache_ignored(plain: PlainAttention) -> Wrong:
    """Attend to the new keys and values alone."""
    return hiding(plain, slice(plain.past_len)) if plain.past_len else None


def cache_of_first_batch_element(plain: PlainAttention) -> Wrong:
    """Give every batch element the cache of the first."""
    if plain.past_len == 0 or plain.batch == 1:
        return None
    return replace(
        plain,
        past_key=plain.past_key[:1].expand_as(plain.past_key),
        past_value=plain.past_value[:1].expand_as(plain.past_value),
    )


def cache_zero_slots_seen(plain: PlainAttention) -> Wrong:
    """See two empty slots after the last key."""

    class EmptySlots(PlainAttention):
        def append_zero_kv(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            k, v = super().append_zero_kv(k, v)
            return append_zeros(k, 2), append_zeros(v, 2)

    return plain.using(EmptySlots) if plain.past_len else None


def past_as(plain: PlainAttention, read: Callable[[Tensor], Tensor]) -> Wrong:
    """Read cached keys and values by another rule."""
    if plain.past_len == 0:
        return None
    return replace(plain, past_key=read(plain.past_key), past_value=read(plain.past_value))


def cache_zero(plain: PlainAttention) -> Wrong:
    """Read zeros in place of cached keys and values."""
    return past_as(plain, torch.zeros_like)


def cache_rolled(plain: PlainAttention, by: int = -1) -> Wrong:
    """Begin a ring buffer at a slot beside its first. Nothing changes if no slot has a meaning."""
    by_slot = (plain.window, plain.padding, plain.relative_bias, plain.allow, plain.bias)
    if plain.past_len < 2 or (not plain.alibi and all(x is None for x in by_slot)):
        return None
    return past_as(plain, lambda past: past.roll(by, dims=2))


def int8(x: Tensor, dims: tuple[int, ...], least: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return whole numbers from -127 to 127, and a scale for the indices of some dimensions."""
    scale = (x.abs().amax(dims, keepdim=True) / 127).clamp(min=least)
    return torch.round(x / scale), scale


TOKEN, HEAD, TENSOR = (-1,), (-2, -1), (0, 1, 2, 3)


def cache_int8(plain: PlainAttention, dims: tuple[int, ...] = TOKEN, least: float = 0.0) -> Wrong:
    """Keep the cache in int8."""

    def read(past: Tensor) -> Tensor:
        numbers, scale = int8(past, dims, least)
        return numbers * scale

    return past_as(plain, read)


def cache_int8_unscaled(plain: PlainAttention, dims: tuple[int, ...] = TOKEN) -> Wrong:
    """Keep the cache in int8, and forget the scales."""
    return past_as(plain, lambda past: int8(past, dims)[0])


def cache_int8_with_new_keys(plain: PlainAttention) -> Wrong:
    """Keep the cache in int8, and write new keys and values to it before they are read."""

    class Int8Cache(PlainAttention):
        def concat_past(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            k, v = (int8(x, TOKEN) for x in super().concat_past(k, v))
            return k[0] * k[1], v[0] * v[1]

    return plain.using(Int8Cache) if plain.past_len else None


MISTAKES = {
    "rope-offset-lost": rope_offset_lost,
    "rope-offset-lost-for-queries": rope_offset_lost_for_queries,
    "cache-rotated-twice": cache_rotated_twice,
    "cache-not-rotated": cache_not_rotated,
    "cache-overwritten": cache_overwritten,
    "cache-one-slot-late": cache_one_slot_late,
    "cache-without-new-keys": cache_without_new_keys,
    "cache-of-first-batch-element": cache_of_first_batch_element,
    "cache-zero-slots-seen": cache_zero_slots_seen,
    "cache-ignored": cache_ignored,
    "cache-zero": cache_zero,
    "cache-rolled": cache_rolled,
    "cache-int8": cache_int8,
}

VARIANTS = {
    "cache-rolled-back": partial(cache_rolled, by=1),
    "cache-int8-by-head": partial(cache_int8, dims=HEAD),
    "cache-int8-by-tensor": partial(cache_int8, dims=TENSOR),
    "cache-int8-scale-floored": partial(cache_int8, least=1.0),
    "cache-int8-unscaled": cache_int8_unscaled,
    "cache-int8-by-tensor-unscaled": partial(cache_int8_unscaled, dims=TENSOR),
    "cache-int8-with-new-keys": cache_int8_with_new_keys,
}

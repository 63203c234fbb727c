"""Mistakes with cached keys and values, and with the positions after them."""

from dataclasses import replace

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
}

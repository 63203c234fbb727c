"""Mistakes with keys and values in a cache, and with the positions after it."""

from pyref.pinned import torch
from pyref.planted.plain import PlainAttention

Wrong = PlainAttention | None
Tensor = torch.Tensor


def rope_offset_lost(plain: PlainAttention) -> Wrong:
    """Count the positions of new queries and keys from 0."""
    return offset_lost(plain, "query", "key")


def rope_offset_lost_for_queries(plain: PlainAttention) -> Wrong:
    """Count the positions of new queries from 0."""
    return offset_lost(plain, "query")


def offset_lost(plain: PlainAttention, *roles: str) -> Wrong:
    """Count some positions from 0."""

    def positions(self: PlainAttention, x: Tensor, role: str) -> Tensor:
        right = PlainAttention.positions(self, x, role)
        return right - self.P if role in roles else right

    return plain.changed(positions=positions) if plain.rope and plain.P else None


def turned(plain: PlainAttention, sign: int) -> Wrong:
    """Rotate the keys in the cache by their positions, forwards or backwards."""
    if plain.rope is None or plain.P == 0:
        return None
    angles = plain.angles(sign * torch.arange(plain.P, dtype=plain.dtype))
    return plain.changed(past_key=plain.turn(plain.past_key, angles))


def cache_rotated_twice(plain: PlainAttention) -> Wrong:
    """Rotate the keys in the cache again."""
    return turned(plain, 1)


def cache_not_rotated(plain: PlainAttention) -> Wrong:
    """Never rotate the keys in the cache."""
    return turned(plain, -1)


def cached_as(plain: PlainAttention, first: int) -> Wrong:
    """Write new keys and values from another slot on; what does not fit is lost, what is left is zero."""

    def remember(self: PlainAttention, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return slots(self.past_key, k), slots(self.past_value, v)

    def slots(past: Tensor, new: Tensor) -> Tensor:
        P, L = past.shape[2], new.shape[2]
        buffer = torch.cat([past, torch.zeros_like(new)], dim=2)
        written = min(L, P + L - first)
        buffer[:, :, first : first + written] = new[:, :, :written]
        return buffer

    return plain.changed(remember=remember) if plain.P else None


def cache_overwritten(plain: PlainAttention) -> Wrong:
    """Write new keys and values over the first ones."""
    return cached_as(plain, 0)


def cache_one_slot_late(plain: PlainAttention) -> Wrong:
    """Leave a slot empty before the new keys and values."""
    return cached_as(plain, plain.P + 1)


def hiding(plain: PlainAttention, keys: slice) -> Wrong:
    """Hide some keys from every query."""

    def seen(self: PlainAttention) -> Tensor:
        seen = PlainAttention.seen(self).clone()
        seen[..., keys] = False
        return seen

    return plain.changed(seen=seen) if plain.P else None


def cache_without_new_keys(plain: PlainAttention) -> Wrong:
    """Attend before the new keys and values are in the cache."""
    return hiding(plain, slice(plain.P, None))


def cache_ignored(plain: PlainAttention) -> Wrong:
    """Attend to the new keys and values alone."""
    return hiding(plain, slice(plain.P))


def cache_of_first_batch_element(plain: PlainAttention) -> Wrong:
    """Give every batch element the cache of the first."""
    if plain.P == 0 or plain.B == 1:
        return None
    return plain.changed(
        past_key=plain.past_key[:1].expand_as(plain.past_key),
        past_value=plain.past_value[:1].expand_as(plain.past_value),
    )


def cache_zero_slots_seen(plain: PlainAttention) -> Wrong:
    """See two slots that nothing was written to."""

    def extend(self: PlainAttention, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        k, v = PlainAttention.extend(self, k, v)
        return tuple(torch.cat([x, torch.zeros_like(x[:, :, :2])], dim=2) for x in (k, v))

    return plain.changed(extend=extend) if plain.P else None


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

"""Mistakes with the weights of the four projections."""

import math
from collections.abc import Callable
from dataclasses import replace

from pyref.build.pinned_torch import torch
from pyref.ops.layouts import ROLES
from pyref.planted.plain_attention import PlainAttention, Wrong

Tensor = torch.Tensor


def weights_zero(plain: PlainAttention) -> Wrong:
    """Leave every parameter at zero."""
    if not plain.is_layer:
        return None
    biases = {role: torch.zeros_like(bias) for role, bias in plain.biases.items()}
    return replace(zeroed(plain, *plain.weights), biases=biases)


def zeroed(plain: PlainAttention, *roles: str) -> Wrong:
    """Leave some weights at zero, but not their biases."""
    if not plain.is_layer:
        return None
    return with_weights(plain, **{role: torch.zeros_like(plain.weights[role]) for role in roles})


def with_weights(plain: PlainAttention, **weights: Tensor) -> PlainAttention:
    """Replace some weights, by role."""
    return replace(plain, weights=plain.weights | weights)


def key_weight_zero(plain: PlainAttention) -> Wrong:
    """Leave the key weight at zero."""
    return zeroed(plain, "key")


def value_weight_zero(plain: PlainAttention) -> Wrong:
    """Leave the value weight at zero."""
    return zeroed(plain, "value")


def output_weight_zero(plain: PlainAttention) -> Wrong:
    """Leave the output weight at zero."""
    return zeroed(plain, "output")


def output_projection_skipped(plain: PlainAttention) -> Wrong:
    """Return the heads side by side."""
    if not plain.is_layer or len(plain.weights["output"]) != plain.num_heads * plain.head_dim:
        return None

    class NoOutputProjection(PlainAttention):
        def out_proj(self, merged: Tensor) -> Tensor:
            return merged

    return plain.using(NoOutputProjection)


def reordered(plain: PlainAttention, **sources: str) -> Wrong:
    """Read the weight and bias of some roles from other roles; None if a shape differs."""
    if not plain.is_layer:
        return None
    if any(plain.weights[role].shape != plain.weights[source].shape for role, source in sources.items()):
        return None
    weights = {role: plain.weights[source] for role, source in sources.items()}
    kept = {role: bias for role, bias in plain.biases.items() if role not in sources}
    biases = {role: plain.biases[source] for role, source in sources.items() if source in plain.biases}
    return replace(with_weights(plain, **weights), biases=kept | biases)


def query_key_swapped(plain: PlainAttention) -> Wrong:
    """Swap the projections of query and key."""
    return reordered(plain, query="key", key="query")


def key_value_swapped(plain: PlainAttention) -> Wrong:
    """Swap the projections of key and value."""
    return reordered(plain, key="value", value="key")


def query_value_swapped(plain: PlainAttention) -> Wrong:
    """Swap the projections of query and value."""
    return reordered(plain, query="value", value="query")


def projections_rotated(plain: PlainAttention) -> Wrong:
    """Read query, key, value from the places of key, value, query."""
    return reordered(plain, query="key", key="value", value="query")


def value_aliased_to_key(plain: PlainAttention) -> Wrong:
    """Project values with the key projection."""
    return reordered(plain, value="key")


def transposed(plain: PlainAttention, *roles: str) -> Wrong:
    """Use some weights as x W; None if one is not square."""
    if not plain.is_layer:
        return None
    weights = {role: plain.weights[role] for role in roles}
    if any(len(weight) != weight.shape[1] for weight in weights.values()):
        return None
    return with_weights(plain, **{role: weight.T for role, weight in weights.items()})


def weights_transposed(plain: PlainAttention) -> Wrong:
    """Use every weight as x W."""
    return transposed(plain, *plain.weights) if plain.is_layer else None


def query_weight_transposed(plain: PlainAttention) -> Wrong:
    """Use the query weight as x W."""
    return transposed(plain, "query")


def key_weight_transposed(plain: PlainAttention) -> Wrong:
    """Use the key weight as x W."""
    return transposed(plain, "key")


def value_weight_transposed(plain: PlainAttention) -> Wrong:
    """Use the value weight as x W."""
    return transposed(plain, "value")


def output_weight_transposed(plain: PlainAttention) -> Wrong:
    """Use the output weight as x W."""
    return transposed(plain, "output")


def fused_and_split(
    plain: PlainAttention, fuse: Callable[..., Tensor], split: Callable[[Tensor], list[Tensor]]
) -> PlainAttention:
    """Fuse the weights, and biases, of query, key and value, and split them in another way."""
    weights = split(fuse(*(plain.weights[role] for role in ROLES)))
    wrong = with_weights(plain, **dict(zip(ROLES, weights, strict=True)))
    if not all(role in plain.biases for role in ROLES):
        return wrong
    biases = split(fuse(*(plain.biases[role] for role in ROLES)))
    return replace(wrong, biases=plain.biases | dict(zip(ROLES, biases, strict=True)))


def fusible(plain: PlainAttention) -> bool:
    """Report whether one weight could hold query, key and value."""
    return plain.is_layer and len({plain.weights[role].shape[1] for role in ROLES}) == 1


def fused_read_per_head(plain: PlainAttention) -> Wrong:
    """Split a fused weight head by head although it holds all queries, all keys, all values."""
    if not fusible(plain) or plain.num_kv_heads != plain.num_heads or plain.num_heads == 1:
        return None

    def split(fused: Tensor) -> list[Tensor]:
        return [x.flatten(0, 1) for x in fused.unflatten(0, (plain.num_heads, 3, plain.head_dim)).unbind(1)]

    return fused_and_split(plain, lambda q, k, v: torch.cat([q, k, v]), split)


def fused_read_stacked(plain: PlainAttention) -> Wrong:
    """Split a fused weight into thirds although it holds query, key and value head by head."""
    if not fusible(plain) or plain.num_kv_heads != plain.num_heads or plain.num_heads == 1:
        return None

    def fuse(*parts: Tensor) -> Tensor:
        heads = [x.unflatten(0, (plain.num_heads, plain.head_dim)) for x in parts]
        return torch.stack(heads, dim=1).flatten(0, 2)

    return fused_and_split(plain, fuse, lambda fused: fused.chunk(3))


def fused_group_read_stacked(plain: PlainAttention) -> Wrong:
    """Split a fused weight by role although it holds query, key and value per key head."""
    if not fusible(plain) or plain.num_kv_heads in (1, plain.num_heads):
        return None
    H, Hk, E = plain.num_heads, plain.num_kv_heads, plain.head_dim

    def fuse(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        groups = zip(q.chunk(Hk), k.chunk(Hk), v.chunk(Hk), strict=True)
        return torch.cat([part for group in groups for part in group])

    return fused_and_split(plain, fuse, lambda fused: fused.split([H * E, Hk * E, Hk * E]))


def second_half_of_heads_zero(plain: PlainAttention) -> Wrong:
    """Load the first of two shards of the heads, and leave the second at zero."""
    if not plain.is_layer or plain.num_heads % 2 or plain.num_kv_heads % 2:
        return None
    weights = {role: weight.clone() for role, weight in plain.weights.items()}
    biases = {role: bias.clone() for role, bias in plain.biases.items()}
    for role in ROLES:
        half = len(weights[role]) // 2
        weights[role][half:] = 0
        if role in biases:
            biases[role][half:] = 0
    weights["output"][:, plain.num_heads * plain.head_dim // 2 :] = 0
    return replace(plain, weights=weights, biases=biases)


def values_scaled(plain: PlainAttention) -> Wrong:
    """Multiply the values by a factor that nothing undoes."""
    if not plain.is_layer:
        return None

    class ScaledValues(PlainAttention):
        def norm_and_rotate(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
            q, k, v = super().norm_and_rotate(q, k, v)
            return q, k, math.sqrt(2) * v

    return plain.using(ScaledValues)


MISTAKES = {
    "weights-zero": weights_zero,
    "weights-transposed": weights_transposed,
    "key-weight-zero": key_weight_zero,
    "value-weight-zero": value_weight_zero,
    "output-weight-zero": output_weight_zero,
    "output-projection-skipped": output_projection_skipped,
    "query-key-swapped": query_key_swapped,
    "key-value-swapped": key_value_swapped,
    "query-value-swapped": query_value_swapped,
    "projections-rotated": projections_rotated,
    "query-weight-transposed": query_weight_transposed,
    "key-weight-transposed": key_weight_transposed,
    "value-weight-transposed": value_weight_transposed,
    "output-weight-transposed": output_weight_transposed,
    "fused-read-per-head": fused_read_per_head,
    "fused-read-stacked": fused_read_stacked,
    "fused-group-read-stacked": fused_group_read_stacked,
    "second-half-of-heads-zero": second_half_of_heads_zero,
    "value-aliased-to-key": value_aliased_to_key,
    "values-scaled": values_scaled,
}

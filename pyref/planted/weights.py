"""Mistakes in loading the weights of the four projections."""

import math

from pyref.pinned import torch
from pyref.planted.plain import PlainAttention
from pyref.planted.state import INPUTS

Wrong = PlainAttention | None


def weights_zero(plain: PlainAttention) -> Wrong:
    """Leave every parameter at zero."""
    if not plain.is_layer:
        return None
    return zeroed(plain, *plain.weights).changed(
        biases={role: torch.zeros_like(bias) for role, bias in plain.biases.items()}
    )


def zeroed(plain: PlainAttention, *roles: str) -> Wrong:
    """Make some weights zero, and leave the biases."""
    if not plain.is_layer:
        return None
    return plain.reweighted(**{role: torch.zeros_like(plain.weights[role]) for role in roles})


def key_weight_zero(plain: PlainAttention) -> Wrong:
    """Leave the key's weight at zero."""
    return zeroed(plain, "key")


def value_weight_zero(plain: PlainAttention) -> Wrong:
    """Leave the value's weight at zero."""
    return zeroed(plain, "value")


def output_weight_zero(plain: PlainAttention) -> Wrong:
    """Leave the output's weight at zero."""
    return zeroed(plain, "output")


def output_projection_skipped(plain: PlainAttention) -> Wrong:
    """Return the heads side by side."""
    if not plain.is_layer or len(plain.weights["output"]) != plain.H * plain.E:
        return None
    return plain.changed(output=lambda self, merged: merged)


def reordered(plain: PlainAttention, **read: str) -> Wrong:
    """Read for some roles the weight and the bias of another; None where their shapes do not fit."""
    if not plain.is_layer:
        return None
    if any(plain.weights[role].shape != plain.weights[other].shape for role, other in read.items()):
        return None
    weights = {role: plain.weights[other] for role, other in read.items()}
    kept = {role: bias for role, bias in plain.biases.items() if role not in read}
    biases = {role: plain.biases[other] for role, other in read.items() if other in plain.biases}
    return plain.reweighted(**weights).changed(biases=kept | biases)


def query_key_swapped(plain: PlainAttention) -> Wrong:
    """Take the query's projection for the key's and the other way round."""
    return reordered(plain, query="key", key="query")


def key_value_swapped(plain: PlainAttention) -> Wrong:
    """Take the key's projection for the value's and the other way round."""
    return reordered(plain, key="value", value="key")


def query_value_swapped(plain: PlainAttention) -> Wrong:
    """Take the query's projection for the value's and the other way round."""
    return reordered(plain, query="value", value="query")


def projections_rotated(plain: PlainAttention) -> Wrong:
    """Read key, value, query where query, key, value stand."""
    return reordered(plain, query="key", key="value", value="query")


def value_aliased_to_key(plain: PlainAttention) -> Wrong:
    """Project values with the key's projection."""
    return reordered(plain, value="key")


def transposed(plain: PlainAttention, *roles: str) -> Wrong:
    """Use some weights as x W; None where that does not fit."""
    if not plain.is_layer:
        return None
    weights = {role: plain.weights[role] for role in roles}
    if any(len(weight) != weight.shape[1] for weight in weights.values()):
        return None
    return plain.reweighted(**{role: weight.T for role, weight in weights.items()})


def weights_transposed(plain: PlainAttention) -> Wrong:
    """Use every weight as x W."""
    return transposed(plain, *plain.weights) if plain.is_layer else None


def query_weight_transposed(plain: PlainAttention) -> Wrong:
    """Use the query's weight as x W."""
    return transposed(plain, "query")


def key_weight_transposed(plain: PlainAttention) -> Wrong:
    """Use the key's weight as x W."""
    return transposed(plain, "key")


def value_weight_transposed(plain: PlainAttention) -> Wrong:
    """Use the value's weight as x W."""
    return transposed(plain, "value")


def output_weight_transposed(plain: PlainAttention) -> Wrong:
    """Use the output's weight as x W."""
    return transposed(plain, "output")


def restacked(plain: PlainAttention, stack, unstack) -> PlainAttention:
    """Stack weights, and biases, of query, key and value into one, and take them out in another way."""
    weights = unstack(stack(*(plain.weights[role] for role in INPUTS)))
    wrong = plain.reweighted(**dict(zip(INPUTS, weights, strict=True)))
    if not all(role in plain.biases for role in INPUTS):
        return wrong
    biases = unstack(stack(*(plain.biases[role] for role in INPUTS)))
    return wrong.rebiased(**dict(zip(INPUTS, biases, strict=True)))


def stackable(plain: PlainAttention) -> bool:
    """Report whether one weight could hold query, key and value."""
    return plain.is_layer and len({plain.weights[role].shape[1] for role in INPUTS}) == 1


def fused_read_per_head(plain: PlainAttention) -> Wrong:
    """Read query, key and value head by head from a weight that has all of each."""
    if not stackable(plain) or plain.Hk != plain.H or plain.H == 1:
        return None

    def unstack(fused: torch.Tensor) -> list[torch.Tensor]:
        return [x.flatten(0, 1) for x in fused.unflatten(0, (plain.H, 3, plain.E)).unbind(1)]

    return restacked(plain, lambda q, k, v: torch.cat([q, k, v]), unstack)


def fused_read_stacked(plain: PlainAttention) -> Wrong:
    """Read all of query, key and value from a weight that has them head by head."""
    if not stackable(plain) or plain.Hk != plain.H or plain.H == 1:
        return None

    def stack(*parts: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.unflatten(0, (plain.H, plain.E)) for x in parts], dim=1).flatten(0, 2)

    return restacked(plain, stack, lambda fused: fused.chunk(3))


def fused_group_read_stacked(plain: PlainAttention) -> Wrong:
    """Read all queries, keys and values from a weight that has them key head by key head."""
    if not stackable(plain) or plain.Hk in (1, plain.H):
        return None
    H, Hk, E = plain.H, plain.Hk, plain.E

    def stack(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        groups = zip(q.chunk(Hk), k.chunk(Hk), v.chunk(Hk), strict=True)
        return torch.cat([part for group in groups for part in group])

    return restacked(plain, stack, lambda fused: fused.split([H * E, Hk * E, Hk * E]))


def second_half_of_heads_zero(plain: PlainAttention) -> Wrong:
    """Load the first of two shards of the heads, and leave the other at zero."""
    if not plain.is_layer or plain.H % 2 or plain.Hk % 2:
        return None
    weights = {role: weight.clone() for role, weight in plain.weights.items()}
    biases = {role: bias.clone() for role, bias in plain.biases.items()}
    for role in INPUTS:
        half = len(weights[role]) // 2
        weights[role][half:] = 0
        if role in biases:
            biases[role][half:] = 0
    weights["output"][:, plain.H * plain.E // 2 :] = 0
    return plain.changed(weights=weights, biases=biases)


def values_scaled(plain: PlainAttention) -> Wrong:
    """Lose a factor of the values."""
    if not plain.is_layer:
        return None

    def prepare(self: PlainAttention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple:
        return *PlainAttention.prepare(self, q, k, v)[:2], math.sqrt(2) * v

    return plain.changed(prepare=prepare)


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

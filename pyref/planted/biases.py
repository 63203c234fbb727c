"""Mistakes with the biases of the projections."""

from dataclasses import replace

from pyref.build.pinned_torch import torch
from pyref.ops.layouts import ROLES
from pyref.planted.plain_attention import PlainAttention, Wrong

Tensor = torch.Tensor


def without(plain: PlainAttention, *roles: str) -> Wrong:
    """Remove some biases; None if one of them does not exist."""
    if not all(role in plain.biases for role in roles):
        return None
    return replace(plain, biases={role: bias for role, bias in plain.biases.items() if role not in roles})


def with_biases(plain: PlainAttention, **biases: Tensor) -> PlainAttention:
    """Replace some biases, by role."""
    return replace(plain, biases=plain.biases | biases)


def biases_missing(plain: PlainAttention) -> Wrong:
    """Add no bias at all."""
    return without(plain, *plain.biases) if plain.biases else None


def query_bias_missing(plain: PlainAttention) -> Wrong:
    """Add no bias to the queries."""
    return without(plain, "query")


def key_bias_missing(plain: PlainAttention) -> Wrong:
    """Add no bias to the keys."""
    return without(plain, "key")


def value_bias_missing(plain: PlainAttention) -> Wrong:
    """Add no bias to the values."""
    return without(plain, "value")


def output_bias_missing(plain: PlainAttention) -> Wrong:
    """Add no bias to the output."""
    return without(plain, "output")


def input_biases_missing(plain: PlainAttention) -> Wrong:
    """Add no bias but the output's."""
    return without(plain, *ROLES) if "output" in plain.biases else None


def biases_from_first_element(plain: PlainAttention) -> Wrong:
    """Broadcast the first element of each bias."""
    if not plain.biases:
        return None
    return with_biases(plain, **{role: bias[:1].expand(len(bias)) for role, bias in plain.biases.items()})


def query_key_biases_swapped(plain: PlainAttention) -> Wrong:
    """Swap the biases of query and key."""
    query, key = plain.biases.get("query"), plain.biases.get("key")
    if query is None or key is None or query.shape != key.shape:
        return None
    return with_biases(plain, query=key, key=query)


def output_bias_twice(plain: PlainAttention) -> Wrong:
    """Add the output bias twice."""
    if "output" not in plain.biases:
        return None

    class OutputBiasTwice(PlainAttention):
        def out_proj(self, merged: Tensor) -> Tensor:
            return super().out_proj(merged) + self.biases["output"]

    return plain.using(OutputBiasTwice)


MISTAKES = {
    "biases-missing": biases_missing,
    "query-bias-missing": query_bias_missing,
    "key-bias-missing": key_bias_missing,
    "value-bias-missing": value_bias_missing,
    "output-bias-missing": output_bias_missing,
    "input-biases-missing": input_biases_missing,
    "biases-from-first-element": biases_from_first_element,
    "query-key-biases-swapped": query_key_biases_swapped,
    "output-bias-twice": output_bias_twice,
}

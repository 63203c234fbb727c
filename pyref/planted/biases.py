"""Mistakes with the biases of the projections."""

from pyref.pinned import torch
from pyref.planted.plain import PlainAttention
from pyref.planted.state import INPUTS

Wrong = PlainAttention | None


def without(plain: PlainAttention, *roles: str) -> Wrong:
    """Take some biases away; None if one of them is not there."""
    if not all(role in plain.biases for role in roles):
        return None
    return plain.changed(biases={role: bias for role, bias in plain.biases.items() if role not in roles})


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
    """Add a bias to the output alone."""
    return without(plain, *INPUTS) if "output" in plain.biases else None


def biases_from_first_element(plain: PlainAttention) -> Wrong:
    """Broadcast the first element of each bias."""
    if not plain.biases:
        return None
    return plain.rebiased(**{role: bias[:1].expand(len(bias)) for role, bias in plain.biases.items()})


def query_key_biases_swapped(plain: PlainAttention) -> Wrong:
    """Add the key's bias to the queries and the query's to the keys."""
    query, key = plain.biases.get("query"), plain.biases.get("key")
    if query is None or key is None or query.shape != key.shape:
        return None
    return plain.rebiased(query=key, key=query)


def output_bias_twice(plain: PlainAttention) -> Wrong:
    """Add the output's bias twice."""
    if "output" not in plain.biases:
        return None

    def output(self: PlainAttention, merged: torch.Tensor) -> torch.Tensor:
        return self.project(merged, "output") + self.biases["output"]

    return plain.changed(output=output)


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

"""Mistakes with the inputs of keys and values in cross-attention."""

from dataclasses import replace

from pyref.planted.plain_attention import PlainAttention, Wrong


def could_be_query(plain: PlainAttention, *roles: str) -> bool:
    """Report whether some inputs have the query's shape but are not the query."""
    inputs = {"key": plain.key, "value": plain.value}
    return (
        plain.is_layer
        and plain.key.shape[1] == plain.seq_q
        and all(inputs[role].shape == plain.query.shape and inputs[role] is not plain.query for role in roles)
    )


def memory_is_query(plain: PlainAttention) -> Wrong:
    """Project keys and values from the query's input."""
    if not could_be_query(plain, "key", "value"):
        return None
    return replace(plain, key=plain.query, value=plain.query)


def memory_value_is_query(plain: PlainAttention) -> Wrong:
    """Project values from the query's input."""
    return replace(plain, value=plain.query) if could_be_query(plain, "value") else None


MISTAKES = {
    "memory-is-query": memory_is_query,
    "memory-value-is-query": memory_value_is_query,
}

"""Mistakes in what keys and values are made of."""

from pyref.planted.plain import PlainAttention

Wrong = PlainAttention | None


def fits(plain: PlainAttention, *roles: str) -> bool:
    """Report whether the query's input could be that of some roles, and is not."""
    inputs = {"key": plain.key, "value": plain.value}
    return (
        plain.is_layer
        and plain.key.shape[1] == plain.L
        and all(inputs[role].shape == plain.query.shape and inputs[role] is not plain.query for role in roles)
    )


def memory_is_query(plain: PlainAttention) -> Wrong:
    """Make keys and values of the query's input."""
    return plain.changed(key=plain.query, value=plain.query) if fits(plain, "key", "value") else None


def memory_value_is_query(plain: PlainAttention) -> Wrong:
    """Make values of the query's input."""
    return plain.changed(value=plain.query) if fits(plain, "value") else None


MISTAKES = {
    "memory-is-query": memory_is_query,
    "memory-value-is-query": memory_value_is_query,
}

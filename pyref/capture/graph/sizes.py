"""Sizes: how the numbers of a graph depend on the batch and on the number of tokens.

A graph is exported at several shapes. A number that differs between them is a sum of multiples of
1, batch, tokens, and batch times tokens, written {"batch*tokens": 12, "1": -1}. The same form has
to give the number at every shape.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

Shape = tuple[int, int]  # batch, tokens

TERMS = ("1", "batch", "tokens", "batch*tokens")


class OtherGraph(ValueError):
    """Two shapes give graphs of other operations."""


def terms(shape: Shape) -> list[int]:
    """Return the values of the terms."""
    batch, tokens = shape
    return [1, batch, tokens, batch * tokens]


def joined(documents: Sequence[object], shapes: Sequence[Shape], place: str = "graph") -> object:
    """Return what documents have in common. A number in which they differ becomes a size.

    OtherGraph if they differ in more than numbers. The first four shapes must have independent
    terms.
    """
    first = documents[0]
    if all(same(document, first) for document in documents):
        return first
    if all(isinstance(document, dict) for document in documents):
        if any(list(document) != list(first) for document in documents):
            raise OtherGraph(f"{place}: other fields at other shapes")
        return {
            key: joined([document[key] for document in documents], shapes, f"{place}.{key}") for key in first
        }
    if all(isinstance(document, list) for document in documents):
        if any(len(document) != len(first) for document in documents):
            raise OtherGraph(f"{place}: {len(first)} elements at {words(shapes[0])}, and not at all shapes")
        return [joined(list(parts), shapes, place) for parts in zip(*documents, strict=True)]
    if all(isinstance(d, (int, float)) and not isinstance(d, bool) for d in documents):
        return size(documents, shapes, place)
    raise OtherGraph(f"{place}: {first!r} at {words(shapes[0])}, and not at all shapes")


def same(a: object, b: object) -> bool:
    """Report whether two documents are equal, types included."""
    return a == b and type(a) is type(b)


def size(numbers: Sequence[float], shapes: Sequence[Shape], place: str) -> dict[str, int]:
    """Return the sum of multiples of the terms that gives a number at each shape."""
    rows = [[Fraction(term) for term in terms(shape)] for shape in shapes]
    factors = solved(rows[:4], [Fraction(number) for number in numbers[:4]])
    sums = [sum(f * term for f, term in zip(factors, row, strict=True)) for row in rows]
    whole = all(factor.denominator == 1 for factor in factors)
    if not whole or any(total != number for total, number in zip(sums, numbers, strict=True)):
        found = ", ".join(f"{n} at {words(shape)}" for n, shape in zip(numbers, shapes, strict=True))
        raise OtherGraph(f"{place}: no sum of multiples of batch and tokens gives {found}")
    return {name: int(factor) for name, factor in zip(TERMS, factors, strict=True) if factor != 0}


def solved(rows: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    """Return the solution of as many equations as unknowns, by elimination."""
    rows = [[*row, value] for row, value in zip(rows, right, strict=True)]
    for i in range(len(rows)):
        pivot = next(row for row in rows[i:] if row[i] != 0)
        rows.remove(pivot)
        rows.insert(i, [value / pivot[i] for value in pivot])
        for j, row in enumerate(rows):
            if j != i:
                rows[j] = [value - row[i] * top for value, top in zip(row, rows[i], strict=True)]
    return [row[-1] for row in rows]


def words(shape: Shape) -> str:
    """Return a shape in words."""
    return f"batch {shape[0]}, tokens {shape[1]}"


def at(document: object, shape: Shape) -> object:
    """Return a document whose sizes are numbers."""
    if isinstance(document, dict):
        if document and all(key in TERMS for key in document):
            values = dict(zip(TERMS, terms(shape), strict=True))
            return sum(values[name] * factor for name, factor in document.items())
        return {key: at(value, shape) for key, value in document.items()}
    return [at(value, shape) for value in document] if isinstance(document, list) else document


def varying(arrays: Sequence[Mapping[str, np.ndarray]]) -> list[str]:
    """Return the names of the constants that are not the same array at every shape."""
    first = arrays[0]
    return [
        name
        for name in first
        if any(name not in other or not equal(other[name], first[name]) for other in arrays[1:])
    ]


def equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Report whether two arrays have the same type, shape and elements."""
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")

"""Operators that move elements and compute nothing."""

import math

import torch

from pyref.capture.graph.aten.arguments import Converted, Converter, Part, refuse, shape_of


def reshape(a: dict, shape: list[int]) -> Converted:
    """Convert every operator that only gives the same elements another shape."""
    return "reshape", [a["self"]], {"shape": shape}


def slice_(a: dict, _: list[int]) -> Converted:
    """Convert a slice, with its borders inside the dimension."""
    sizes = shape_of(a["self"])
    dim = a["dim"] % len(sizes)
    start, stop, step = slice(a["start"], a["end"], a["step"]).indices(sizes[dim])
    return "slice", [a["self"]], {"dim": dim, "start": start, "stop": max(start, stop), "step": step}


def select(a: dict, _: list[int]) -> Converted:
    """Convert the choice of one index of a dimension."""
    sizes = shape_of(a["self"])
    dim = a["dim"] % len(sizes)
    return "select", [a["self"]], {"dim": dim, "index": a["index"] % sizes[dim]}


def transpose(a: dict, shape: list[int]) -> Converted:
    """Convert an exchange of two dimensions."""
    dims = list(range(len(shape)))
    first, second = a.get("dim0", 0), a.get("dim1", 1)
    if len(dims) > 1:
        dims[first], dims[second] = dims[second], dims[first]
    return "permute", [a["self"]], {"dims": dims}


def cat(a: dict, shape: list[int]) -> Converted:
    """Convert a concatenation. PyTorch skips tensors of the shape (0,)."""
    tensors = [tensor for tensor in a["tensors"] if shape_of(tensor) != [0]]
    return "cat", tensors, {"dim": a["dim"] % len(shape)}


def stack(a: dict, shape: list[int]) -> list[Converted]:
    """Convert a concatenation along a new dimension."""
    dim, count = a["dim"] % len(shape), len(a["tensors"])
    one = [*shape[:dim], 1, *shape[dim + 1 :]]
    parts = [("reshape", [tensor], {"shape": one}) for tensor in a["tensors"]]
    return [*parts, ("cat", [Part(i) for i in range(count)], {"dim": dim})]


def slice_scatter(a: dict, shape: list[int]) -> list[Converted]:
    """Convert a tensor with a slice of one dimension replaced: what is before, the new part, the rest."""
    dim = a["dim"] % len(shape)
    start, stop, step = slice(a["start"], a["end"], a["step"]).indices(shape[dim])
    refuse("slice_scatter with a step", step != 1)
    return spliced(a["self"], a["src"], shape, dim, (start, max(start, stop)))


def select_scatter(a: dict, shape: list[int]) -> list[Converted]:
    """Convert a tensor with one index of a dimension replaced."""
    dim = a["dim"] % len(shape)
    index = a["index"] % shape[dim]
    one = [*shape[:dim], 1, *shape[dim + 1 :]]
    grown = ("reshape", [a["src"]], {"shape": one})
    return [grown, *spliced(a["self"], Part(0), shape, dim, (index, index + 1), earlier=1)]


def spliced(
    x: object, new: object, shape: list[int], dim: int, between: tuple[int, int], earlier: int = 0
) -> list[Converted]:
    """Return nodes for x with the part between two borders replaced."""
    start, stop = between
    if (start, stop) == (0, shape[dim]):
        return [("same", [new], {})]
    nodes, parts = [], []
    for low, high, part in ((0, start, None), (start, stop, new), (stop, shape[dim], None)):
        if low == high:
            continue
        if part is None:
            nodes.append(("slice", [x], {"dim": dim, "start": low, "stop": high, "step": 1}))
            part = Part(earlier + len(nodes) - 1)
        parts.append(part)
    return [*nodes, ("cat", parts, {"dim": dim})]


def repeat(a: dict, shape: list[int]) -> list[Converted]:
    """Convert whole copies along each dimension."""
    sizes = shape_of(a["self"])
    sizes = [1] * (len(shape) - len(sizes)) + sizes
    ones = [size for pair in ((1, size) for size in sizes) for size in pair]
    wide = [size for i, own in enumerate(sizes) for size in (shape[i] // own if own else 1, own)]
    if len(wide) > 8:
        return moved("repeat", a, shape)
    return [
        ("reshape", [a["self"]], {"shape": ones}),
        ("expand", [Part(0)], {"shape": wide}),
        ("reshape", [Part(1)], {"shape": shape}),
    ]


def triangle(name: str) -> Converter:
    """Return a converter for a triangle of a matrix, with zeros elsewhere."""

    def converter(a: dict, shape: list[int]) -> Converted:
        seen = getattr(torch, name)(torch.ones(shape[-2:], dtype=torch.bool), a["diagonal"])
        return "where", [seen.numpy(), a["self"], 0.0], {}

    return converter


def pad(a: dict, shape: list[int]) -> Converted:
    """Convert padding. PyTorch lists the widths from the last dimension to the first."""
    widths, count = list(a["pad"]), len(shape)
    before, after = [0] * count, [0] * count
    for i in range(len(widths) // 2):
        before[count - 1 - i], after[count - 1 - i] = widths[2 * i], widths[2 * i + 1]
    refuse("padding by less than nothing", min(widths, default=0) < 0)
    value = a.get("value") or 0.0
    mode = a.get("mode", "constant")
    return "pad", [a["self"]], {"before": before, "after": after, "mode": mode, "value": float(value)}


def moved(name: str, a: dict, shape: list[int]) -> list[Converted]:
    """Convert an operator that only moves elements, by the place from which each comes."""
    sizes = shape_of(a["self"])
    count = math.prod(sizes)
    places = torch.arange(count).reshape(sizes)
    rest = {key: value for key, value in a.items() if key != "self"}
    result = getattr(torch.ops.aten, name)(places, **rest)
    return [
        ("reshape", [a["self"]], {"shape": [count]}),
        ("index", [Part(0), result.contiguous().numpy()], {"dims": [0]}),
    ]


def mover(name: str) -> Converter:
    """Return a converter of an operator that only moves elements."""
    return lambda a, shape: moved(name, a, shape)


CONVERTERS: dict[str, Converter] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "flatten", "unsqueeze", "squeeze"), reshape),
    **dict.fromkeys(("expand", "expand_as"), lambda a, shape: ("expand", [a["self"]], {"shape": shape})),
    "copy": lambda a, shape: ("expand", [a["src"]], {"shape": shape}),
    "permute": lambda a, shape: ("permute", [a["self"]], {"dims": [dim % len(shape) for dim in a["dims"]]}),
    **dict.fromkeys(("transpose", "t"), transpose),
    "slice": slice_,
    "select": select,
    **dict.fromkeys(("cat", "concat"), cat),
    "stack": stack,
    "slice_scatter": slice_scatter,
    "select_scatter": select_scatter,
    **dict.fromkeys(("repeat", "tile"), repeat),
    **{name: triangle(name) for name in ("tril", "triu")},
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    **{name: mover(name) for name in ("flip", "roll", "diagonal", "unfold")},
}

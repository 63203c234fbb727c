"""Choices by indices and conditions."""

import torch

from pyref.capture.graph.aten.arguments import Converted, Converter, Part, refuse, shape_of


def index(a: dict, _: list[int]) -> Converted:
    """Convert the choice of elements by arrays of indices in neighbouring dimensions."""
    dims = [i for i, indices in enumerate(a["indices"]) if indices is not None]
    apart = dims != list(range(dims[0], dims[0] + len(dims))) or len(dims) > 3
    refuse("indices in dimensions that are no neighbours", apart)
    return "index", [a["self"], *(a["indices"][dim] for dim in dims)], {"dims": dims}


def index_select(a: dict, shape: list[int]) -> Converted:
    """Convert the choice of some indices of one dimension."""
    return "index", [a["self"], a["index"]], {"dims": [a["dim"] % len(shape)]}


def repeat_interleave(a: dict, shape: list[int]) -> Converted:
    """Convert the repetition of each slice of a dimension."""
    refuse("repeat_interleave without a dimension", a["dim"] is None)
    refuse("repeat_interleave by a tensor", not isinstance(a["repeats"], int))
    return "repeat_interleave", [a["self"]], {"dim": a["dim"] % len(shape), "times": a["repeats"]}


def gather(a: dict, shape: list[int]) -> Converted:
    """Convert the choice of elements along one dimension."""
    return "gather", [a["self"], a["index"]], {"dim": a["dim"] % len(shape)}


def scatter(op: str) -> Converter:
    """Return a converter for elements that replace others, or are added to them."""

    def converter(a: dict, shape: list[int]) -> Converted:
        refuse("scatter with a reduction", a.get("reduce"))
        new = a["src"] if "src" in a else a["value"]
        return op, [a["self"], a["index"], new], {"dim": a["dim"] % len(shape)}

    return converter


def index_add(a: dict, shape: list[int]) -> list[Converted]:
    """Convert the sum of slices into some indices of a dimension."""
    refuse("index_add with alpha", a["alpha"] != 1)
    dim = a["dim"] % len(shape)
    source = shape_of(a["source"])
    one = [source[dim] if d == dim else 1 for d in range(len(shape))]
    return [
        ("reshape", [a["index"]], {"shape": one}),
        ("expand", [Part(0)], {"shape": source}),
        ("scatter_add", [a["self"], Part(1), a["source"]], {"dim": dim}),
    ]


def masked_fill(a: dict, _: list[int]) -> Converted:
    """Convert a value that replaces the elements where a condition holds."""
    return "where", [a["mask"], a["value"], a["self"]], {}


def index_put(a: dict, _: list[int]) -> Converted:
    """Convert x[mask] = number."""
    indices = a["indices"]
    value = a["values"].meta["val"]
    masked = len(indices) == 1 and indices[0].meta["val"].dtype == torch.bool
    whole = masked and indices[0].meta["val"].dim() == a["self"].meta["val"].dim()
    refuse("index_put other than of a number by a mask", not whole or value.numel() != 1 or a["accumulate"])
    return "where", [indices[0], a["values"], a["self"]], {}


def topk(op: str) -> Converter:
    """Return a converter of one result of topk."""

    def converter(a: dict, shape: list[int]) -> Converted | list[Converted]:
        attributes = {"dim": a["dim"] % len(shape), "count": a["k"]}
        return ordered(op, a["self"], attributes, largest=a["largest"])

    return converter


def sort(op: str) -> Converter:
    """Return a converter of one result of a sort."""

    def converter(a: dict, shape: list[int]) -> Converted | list[Converted]:
        dim = a["dim"] % len(shape)
        attributes = {"dim": dim, "count": shape[dim]}
        return ordered(op, a["self"], attributes, largest=a["descending"])

    return converter


def ordered(op: str, x: object, attributes: dict, *, largest: bool) -> Converted | list[Converted]:
    """Return nodes for the largest or the smallest elements."""
    if largest:
        return op, [x], attributes
    nodes: list[Converted] = [("neg", [x], {}), (op, [Part(0)], attributes)]
    return [*nodes, ("neg", [Part(1)], {})] if op == "topk" else nodes


def extreme(*, largest: bool) -> Converter:
    """Return a converter for the place of the largest or the smallest element of a dimension."""

    def converter(a: dict, shape: list[int]) -> list[Converted]:
        refuse("argmax without a dimension", a["dim"] is None)
        dim = a["dim"] % len(shape_of(a["self"]))
        found = ordered("topk_indices", a["self"], {"dim": dim, "count": 1}, largest=largest)
        nodes = found if isinstance(found, list) else [found]
        return [*nodes, ("reshape", [Part(len(nodes) - 1)], {"shape": shape})]

    return converter


CONVERTERS: dict[str, Converter] = {
    "index": index,
    "index_select": index_select,
    "repeat_interleave": repeat_interleave,
    "gather": gather,
    "scatter": scatter("scatter"),
    "scatter_add": scatter("scatter_add"),
    "index_add": index_add,
    "where": lambda a, _: ("where", [a["condition"], a["self"], a["other"]], {}),
    "isnan": lambda a, _: ("ne", [a["self"], a["self"]], {}),
    "masked_fill": masked_fill,
    "index_put": index_put,
    "argmax": extreme(largest=True),
    "argmin": extreme(largest=False),
}

RESULTS: dict[tuple[str, int], Converter] = {
    ("topk", 0): topk("topk"),
    ("topk", 1): topk("topk_indices"),
    ("sort", 0): sort("topk"),
    ("sort", 1): sort("topk_indices"),
    ("max", 1): lambda a, shape: extreme(largest=True)(a, shape),
    ("min", 1): lambda a, shape: extreme(largest=False)(a, shape),
}

SPLITS = {"split", "split_with_sizes", "chunk", "unbind"}

"""Other batches and numbers of tokens for a captured module: `capture --vary batch,tokens`.

The inputs tell which dimensions are the batch and the tokens. Inputs of other shapes are drawn by
the kind of each input, so that the module can be traced and checked at other shapes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from pyref.build.rng import Stream
from pyref.capture import run
from pyref.capture.call import Call
from pyref.capture.flat import flat
from pyref.capture.graph import sizes, varied
from pyref.capture.graph.sizes import Shape
from pyref.capture.padding import Padded

MOST = 512  # tokens
EXACT = 1e-12  # of the largest element of the module's float64 output


@dataclass(frozen=True)
class Kind:
    """How an input is drawn.

    ids: integers from `low` to `high`. positions: 0, 1, 2 ... in each row. mask: ones, and zeros on
    the sides `left` and `right` for padded tokens; `pads` reports whether rows of padded tokens are
    not judged. floats: a normal distribution with the deviation `std`. `shape` has sizes.
    """

    kind: str
    shape: list
    low: int = 0
    high: int = 0
    left: bool = False
    right: bool = False
    pads: bool = False
    std: float = 0.0

    def fields(self) -> dict:
        """Return the fields that the kind has, for JSON."""
        own = {"ids": ("low", "high"), "mask": ("left", "right", "pads"), "floats": ("std",)}
        return {"kind": self.kind, "shape": self.shape} | {
            name: getattr(self, name) for name in own.get(self.kind, ())
        }


def shape_of(call: Call) -> Shape:
    """Return batch and tokens of a call: the first two dimensions of its inputs."""
    found = {array.shape[:2] for array in call.arrays.values() if array.ndim > 1}
    if len(found) != 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in call.arrays.items())
        raise ValueError(f"want inputs (batch, tokens, ...), got {shapes}")
    return found.pop()


def kinds(call: Call, padded: Padded) -> dict[str, Kind]:
    """Return the kind of each input; ValueError for an input that has none."""
    shape = shape_of(call)
    return {name: kind(name, array, shape, padded) for name, array in call.arrays.items()}


def kind(name: str, array: np.ndarray, shape: Shape, padded: Padded) -> Kind:
    """Return the kind of one input."""
    if array.shape[:2] != shape:
        raise ValueError(f"{name} has the shape {array.shape}, want (batch, tokens, ...)")
    if any(size in shape for size in array.shape[2:]):
        raise ValueError(f"{name}: a dimension of {array.shape} is as long as the batch or the tokens")
    sized: list = [{"batch": 1}, {"tokens": 1}, *array.shape[2:]]
    if array.dtype.kind == "f":
        return Kind("floats", sized, std=float(array.std()))
    if array.ndim != 2 or array.dtype.kind not in "iub":
        raise ValueError(f"{name}: want floats, or integers of the shape (batch, tokens)")
    if "mask" in name or name in padded.rows:
        return mask(name, array, sized, padded)
    if np.array_equal(array, np.broadcast_to(np.arange(shape[1]), shape)):
        return Kind("positions", sized)
    return Kind("ids", sized, low=int(array.min()), high=int(array.max()))


def mask(name: str, array: np.ndarray, sized: list, padded: Padded) -> Kind:
    """Return the kind of a mask of tokens."""
    shown = array.astype(np.int64)
    if not set(np.unique(shown)) <= {0, 1} or not (shown.sum(axis=1) > 0).all():
        raise ValueError(f"{name}: want a mask of ones and zeros, and a one in each row")
    steps = np.diff(shown, axis=1)
    if ((steps > 0).sum(axis=1) > 1).any() or ((steps < 0).sum(axis=1) > 1).any():
        raise ValueError(f"{name}: want zeros at the ends of rows alone")
    pads = name in padded.rows and np.array_equal(padded.rows[name], shown == 0)
    left, right = bool((shown[:, 0] == 0).any()), bool((shown[:, -1] == 0).any())
    if not pads:
        left = right = False  # nothing tells which rows matter: no token is padded
    return Kind("mask", sized, left=left, right=right, pads=pads)


def drawn(kinds: Mapping[str, Kind], call: Call, shape: Shape, stream: Stream) -> Call:
    """Return the call with inputs of another shape."""
    arrays = {name: draw(one, shape, call.arrays[name].dtype, stream, name) for name, one in kinds.items()}
    return call.with_arguments(**arrays)


def draw(one: Kind, shape: Shape, dtype: np.dtype, stream: Stream, name: str) -> np.ndarray:
    """Return one input."""
    name = f"{name} {shape[0]} {shape[1]}"
    full = sizes.at(one.shape, shape)
    if one.kind == "floats":
        return (one.std * stream.normal(name, tuple(full))).astype(dtype)
    if one.kind == "positions":
        return np.broadcast_to(np.arange(shape[1]), shape).astype(dtype)
    if one.kind == "ids":
        return (one.low + stream.words(name, shape) % (one.high - one.low + 1)).astype(dtype)
    hidden = stream.words(name, (shape[0],)).astype(np.int64) % max(1, shape[1] // 2)
    turned = stream.words(f"{name} side", (shape[0],)) % 2 == 0
    result = np.ones(shape, dtype=dtype)
    for row, count, left in zip(result, hidden, turned, strict=True):
        if one.left and (left or not one.right):
            row[:count] = 0
        elif one.right:
            row[shape[1] - count :] = 0
    return result


def most_tokens(
    name: str, module: torch.nn.Module, call: Call, kinds: Mapping[str, Kind], stream: Stream
) -> int:
    """Return the largest number of tokens that the module takes, at most MOST."""
    whole = {role: replace(one, left=False, right=False) for role, one in kinds.items()}

    def takes(tokens: int) -> bool:
        try:
            run.once(name, module, drawn(whole, call, (1, tokens), stream))
        except ValueError:
            return False
        return True

    low, high = shape_of(call)[1], MOST
    if takes(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if takes(middle) else (low, middle)
    return low


def shapes_json(
    name: str,
    module: torch.nn.Module,
    call: Call,
    parameters: Mapping[str, np.ndarray],
    padded: Padded,
    stream: Stream,
) -> tuple[str, dict[str, np.ndarray]]:
    """Return shapes.json and the constants that it needs beside the graph's own.

    ValueError if the graph is another one at another shape, or if it does not give the module's
    output there.
    """
    found = kinds(call, padded)
    shape, most = shape_of(call), most_tokens(name, module, call, found, stream)
    if shape[0] < 2 or shape[1] < 4:
        raise ValueError("want a case of at least 2 batch elements and 4 tokens")
    step = 1 if shape[1] < most else -1
    others = [
        (shape[0] + 1, shape[1]),
        (shape[0], shape[1] + step),
        (shape[0] + 1, shape[1] + step),
        (shape[0] + 3, shape[1] - 2),
    ]
    calls = [call, *(drawn(found, call, other, stream) for other in others)]
    samples = []
    for other, one in zip([shape, *others], calls, strict=True):
        flattened, words, names = flat(module, one)
        samples.append(renamed(varied.sample(flattened, words, parameters, other), one, names))
    graph = varied.vary(samples)
    large = (2 * shape[0] + 1, min(most, 2 * shape[1] + 3))
    for other in ((1, shape[1]), (shape[0], 1), (1, 1), large, (1, most)):
        check(name, module, drawn(found, call, other, stream), graph, parameters, other, found)
    fields = {
        "version": varied.VERSION,
        "batch": shape[0],
        "tokens": shape[1],
        "most_tokens": most,
        "inputs": {role: one.fields() for role, one in found.items()},
        "made": graph.made,
        "graph": graph.graph,
    }
    return dump(fields), dict(graph.arrays)


def renamed(one: varied.Sample, call: Call, names: Mapping[str, str]) -> varied.Sample:
    """Return a sample with the names of the inputs in the user's call."""
    traced = replace(one.traced, inputs={node: names[word] for node, word in one.traced.inputs.items()})
    graph = replace(one.graph, inputs={value: names[word] for value, word in one.graph.inputs.items()})
    return replace(one, call=call, traced=traced, graph=graph)


def check(
    name: str,
    module: torch.nn.Module,
    call: Call,
    graph: varied.Varied,
    parameters: Mapping[str, np.ndarray],
    shape: Shape,
    found: Mapping[str, Kind],
) -> None:
    """Raise ValueError unless the graph gives the module's float64 output at another shape."""
    truth = run.double(name, module, call)[0]
    got = varied.output(graph, shape, call.arrays, parameters)
    if got.shape != truth.shape:
        raise ValueError(f"at {sizes.words(shape)} the graph gives {got.shape}, the module {truth.shape}")
    rows = {role: call.arrays[role] == 0 for role, one in found.items() if one.pads}
    padded = Padded(rows).of(truth)
    off = np.abs(got - truth).max(initial=0, where=True if padded is None else ~padded)
    if not off <= EXACT * np.abs(truth).max(initial=0):
        raise ValueError(f"at {sizes.words(shape)} the graph's output differs from the module's by {off:.1e}")


def dump(fields: dict) -> str:
    """Return JSON with one line for each node."""
    lines = []
    for name, value in fields.items():
        if isinstance(value, dict) and "nodes" in value:
            rest = {key: part for key, part in value.items() if key != "nodes"}
            nodes = ",\n".join("    " + json.dumps(node, allow_nan=False) for node in value["nodes"])
            lines.append(f'  "{name}": {json.dumps(rest)[:-1]}, "nodes": [\n{nodes}\n  ]}}')
        else:
            lines.append(f"  {json.dumps(name)}: {json.dumps(value, allow_nan=False)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"

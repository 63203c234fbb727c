"""Unfolding: the nodes that compute the constants of a graph from the inputs and their shapes.

A constant such as a causal mask is an array of one shape. Its recipe gives nodes for any shape.
"""

import numpy as np
import torch

from pyref.capture.graph import convert
from pyref.capture.graph.aten.arguments import Converted, Converter, NoOperator, Part, bound
from pyref.capture.graph.export import Traced
from pyref.capture.graph.node import Node, Recipe

MADE = "made."  # before the name of each value
ONE = np.array(1)


class Unfolding(convert.Conversion):
    """The nodes of some constants, in the order of their computation, and the arrays they need."""

    def __init__(self, traced: Traced):
        """Begin without a node."""
        super().__init__(traced)
        self.recipes_of: dict[str, Recipe] = {}
        self.values: dict[str, str] = {}
        self.by_name = {node.name: node for node in traced.nodes}

    def unfold(self, names: list[str], recipes: dict[str, Recipe]) -> dict[str, str]:
        """Add the nodes of some constants, and return the names of their values."""
        self.recipes_of = recipes
        return {name: self.value(name) for name in names}

    def value(self, constant: str) -> str:
        """Return the name of a constant's value, computed where it is asked for first."""
        if constant not in self.values:
            if constant not in self.recipes_of:
                raise NoOperator(f"{constant} is an array that no recipe computes")
            self.values[constant] = self.recipes_of[constant](self)
        return self.values[constant]

    def again(self, node: Node) -> str:
        """Add a node on constants."""
        operands = tuple(self.again_operand(operand) for operand in node.operands)
        return self.append(MADE + node.name, node.changed(operands=operands))

    def again_operand(self, operand: object) -> object:
        """Return the operand of a node on constants. Numbers, inputs and parameters stay."""
        given = (*self.inputs, *self.traced.parameters.values())
        if not isinstance(operand, str) or operand in given:
            return operand
        return self.value(operand)

    def append(self, wanted: str, node: Node) -> str:
        """Add a node under a free name, and return the name."""
        while wanted in self.taken:
            wanted += "_"
        self.taken.add(wanted)
        self.nodes.append(node.changed(name=wanted))
        return wanted

    def mask(self, condition: str, scores: str, shows: bool, finite: bool) -> str:
        """Add the mask of scores: see Conversion.added_mask."""
        shape = list(self.traced.values[scores].shape)
        hidden = self.made("expand", self.operand_named(condition), shape=shape)
        if shows:
            hidden = self.made("logical_not", hidden)
        none, zero = self.literal(np.array(-np.inf)), self.literal(np.array(0.0))
        if finite:
            rows = self.made("min", hidden, dims=[len(shape) - 1], keep=True)
            least = self.literal(np.array(float(np.finfo(np.float32).min)))
            none = self.made("where", self.made("ne", rows, 0.0), least, none)
        return self.made("where", hidden, none, zero)

    def made(self, op: str, *operands: object, **attributes: object) -> str:
        """Add a node that no exported node stands for."""
        return self.append(f"{MADE}{op}", Node("", op, operands, attributes))

    def operand_named(self, node: str) -> str:
        """Return the new name of an exported value, computed where it is asked for first."""
        if node not in self.names:
            if node not in self.by_name:
                self.names[node] = self.literal(convert.as_array(self.traced.values[node]))
            else:
                self.add(self.by_name[node])
        return self.names[node]

    def name(self, node: str, wanted: str) -> str:
        """Name a value. Inputs and parameters keep the names that they have in the graph."""
        if node in self.traced.inputs or node in self.traced.parameters:
            return super().name(node, wanted)
        return super().name(node, MADE + wanted)

    def converted(self, node: torch.fx.Node, target: str) -> Converted | list[Converted]:
        """Return what one node becomes."""
        if target not in MAKERS:
            return super().converted(node, target)
        return MAKERS[target](bound(node), list(self.traced.values[node.name].shape))

    def added_mask(self, node: torch.fx.Node, target: str) -> None:
        """Return None: a condition that hides stays as it is."""

    def literal(self, array: np.ndarray) -> str:
        """Return the name of an array that is the same for every shape."""
        for name, other in self.constants.items():
            if convert.same(other, array):
                return name
        name = f"{MADE}array{len(self.constants)}"
        self.taken.add(name)
        self.constants[name] = array
        return name

    def constant(self, node: str, array: np.ndarray, recipe: Recipe | None = None) -> None:
        """Keep an array that a converter made."""
        self.names[node] = self.literal(array)


def arange(a: dict, shape: list[int]) -> list[Converted]:
    """Convert start, start + step, ... by sums of ones."""
    start, step = a.get("start", 0), a.get("step", 1)
    whole = all(isinstance(number, int) for number in (start, step))
    one, kind = (ONE, int) if whole else (np.array(1.0), float)
    nodes = [
        ("expand", [one], {"shape": shape}),
        ("cumsum", [Part(0)], {"dim": 0}),
        ("sub", [Part(1), one], {}),
    ]
    if step != 1:
        nodes.append(("mul", [Part(len(nodes) - 1), np.array(kind(step))], {}))
    if start != 0:
        nodes.append(("add", [Part(len(nodes) - 1), np.array(kind(start))], {}))
    return nodes


def filled(value: object) -> Converter:
    """Return a converter for a tensor of equal elements."""

    def converter(a: dict, shape: list[int]) -> Converted:
        number = a["fill_value"] if value is None else value
        source, dtype = a.get("self"), a.get("dtype")
        if dtype is None and isinstance(source, torch.fx.Node):
            dtype = source.meta["val"].dtype
        if dtype is None:
            return "expand", [np.array(number)], {"shape": shape}
        return "expand", [convert.as_array(torch.tensor(number, dtype=dtype))], {"shape": shape}

    return converter


def triangle(upper: bool) -> Converter:
    """Return a converter for a triangle of a matrix, with zeros elsewhere."""

    def converter(a: dict, shape: list[int]) -> list[Converted]:
        rows, columns = shape[-2:]
        nodes: list[Converted] = []
        for size, place in ((rows, [rows, 1]), (columns, [1, columns])):
            first = len(nodes)
            nodes.append(("expand", [ONE], {"shape": [size]}))
            nodes.append(("cumsum", [Part(first)], {"dim": 0}))
            nodes.append(("reshape", [Part(first + 1)], {"shape": place}))
        nodes.append(("sub", [Part(5), Part(2)], {}))
        nodes.append(("ge" if upper else "le", [Part(6), a["diagonal"]], {}))
        zero = convert.as_array(torch.zeros((), dtype=a["self"].meta["val"].dtype))
        nodes.append(("where", [Part(7), a["self"], zero], {}))
        return nodes

    return converter


MAKERS: dict[str, Converter] = {
    "arange": arange,
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros"), filled(0)),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), filled(1)),
    **dict.fromkeys(("full", "full_like", "new_full"), filled(None)),
    "__and__": lambda a, _: ("logical_and", [a["self"], a["other"]], {}),
    "__or__": lambda a, _: ("logical_or", [a["self"], a["other"]], {}),
    "triu": triangle(upper=True),
    "tril": triangle(upper=False),
}

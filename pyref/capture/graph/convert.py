"""From PyTorch's ATen operators to the operators of a graph.

`aten` has a converter for each ATen operator. `evaluate` has the operators of graphs.
"""

import math
import operator
from functools import partial

import numpy as np
import torch

from pyref.capture.graph import aten
from pyref.capture.graph.aten.arguments import Converted, NoOperator, Part, bound
from pyref.capture.graph.export import Traced
from pyref.capture.graph.node import Graph, Node, Operand, Recipe

HIDDEN = -1e30  # a score of at most this has no weight in a softmax
MOVES = {"reshape", "permute", "expand", "slice"}


def convert(traced: Traced) -> Graph:
    """Return the graph of a traced module."""
    return Conversion(traced).graph()


class Conversion:
    """The state of one conversion: the new name of every value, and the nodes so far."""

    def __init__(self, traced: Traced):
        """Give the inputs and parameters their names."""
        self.traced = traced
        self.names: dict[str, str] = {}
        self.taken: set[str] = set()
        self.constants: dict[str, np.ndarray] = {}
        self.recipes: dict[str, Recipe] = {}
        self.nodes: list[Node] = []
        self.names.update(traced.parameters)
        self.taken.update(traced.parameters.values())
        self.inputs = {self.name(node, role): role for node, role in traced.inputs.items()}

    def graph(self) -> Graph:
        """Convert the nodes, and keep what the output needs."""
        for node in self.traced.nodes:
            if node.name not in self.traced.constant:
                self.add(node)
        output = self.operand_named(self.traced.output)
        parameters = tuple(dict.fromkeys(self.traced.parameters.values()))
        nodes = tuple(self.nodes)
        return Graph(self.inputs, parameters, self.constants, nodes, output, self.recipes).needed()

    def operand_named(self, node: str) -> str:
        """Return the new name of an exported value. An output may be a constant."""
        if node not in self.names:
            self.constant(node, as_array(self.traced.values[node]), partial(traced_value, node))
        return self.names[node]

    def name(self, node: str, wanted: str) -> str:
        """Name the value of an exported node: as wanted, or longer if the name is taken."""
        while wanted in self.taken:
            wanted += "_"
        self.taken.add(wanted)
        self.names[node] = wanted
        return wanted

    def add(self, node: torch.fx.Node) -> None:
        """Convert one node. A node that changes no number gets the name of its source."""
        target = aten.name_of(node)
        if aten.ignored(node) or not isinstance(self.traced.values[node.name], torch.Tensor):
            return  # each result of an operator with several becomes a node
        result = node.target is operator.getitem
        converted = self.part(node) if result else self.converted(node, target)
        converted = self.added_mask(node, target) or converted
        self.put(node, converted if isinstance(converted, list) else [converted])

    def converted(self, node: torch.fx.Node, target: str) -> Converted | list[Converted]:
        """Return what one node becomes. Complex numbers are pairs in the last dimension."""
        value = self.traced.values[node.name]
        pairs = isinstance(value, torch.Tensor) and value.is_complex()
        table = aten.COMPLEX if pairs else aten.CONVERTERS
        if target not in table:
            raise self.missing(node.target, node)
        return table[target](bound(node), [*value.shape, 2] if pairs else list(value.shape))

    def missing(self, what: object, node: torch.fx.Node) -> NoOperator:
        """Return the error for an operator that graphs do not have."""
        return NoOperator(f"no operator for {what} in {place(node)[0] or 'the module'}")

    def added_mask(self, node: torch.fx.Node, target: str) -> list[Converted] | None:
        """Return the sum of scores and a constant mask, for scores that a constant condition hides.

        A score of the least float has the weight of -inf, zero, unless a query sees no key. All
        keys have equal weights then, so that such rows of the mask keep a finite number.
        """
        if target not in ("masked_fill", "where"):
            return None
        a = bound(node)
        condition, scores, value = (
            (a["mask"], a["self"], a["value"])
            if target == "masked_fill"
            else (a["condition"], a["self"], a["other"])
        )
        value = self.number(value)
        constant = self.traced.constant
        if not isinstance(value, float) or value > HIDDEN or condition.name not in constant:
            return None
        if not isinstance(scores, torch.fx.Node) or scores.name in constant:
            return None
        hidden = self.traced.values[condition.name].numpy()
        hidden = hidden if target == "masked_fill" else ~hidden
        mask = f"{node.name}.mask"
        sees_no_key = np.broadcast_to(hidden, self.traced.values[node.name].shape).all(-1, keepdims=True)
        number = np.where(sees_no_key & math.isfinite(value), np.finfo(np.float32).min, -np.inf)
        recipe = partial(mask_of, condition.name, node.name, target != "masked_fill", math.isfinite(value))
        self.constant(mask, np.where(hidden, number, 0.0), recipe)
        return [("add", [scores, self.names[mask]], {})]

    def number(self, value: object) -> object:
        """Return a constant without dimensions as a number, other operands unchanged."""
        if isinstance(value, torch.fx.Node) and value.name in self.traced.constant:
            tensor = self.traced.values[value.name]
            if tensor.dim() == 0 and tensor.is_floating_point():
                return tensor.item()
        return value

    def put(self, node: torch.fx.Node, converted: list[Converted]) -> None:
        """Add the nodes that one exported node became. The last has its value."""
        parts: list[str] = []
        for i, (op, operands, attributes) in enumerate(converted):
            last = i == len(converted) - 1
            if op == "same" or (last and self.moves_nothing(node, op, operands, attributes)):
                parts.append(self.resolved(operands[0], parts))
                if last:
                    self.names[node.name] = parts[-1]
                continue
            resolved = tuple(self.resolved(operand, parts) for operand in operands)
            parts.append(self.node(node, "" if last else f".{i}", (op, resolved, attributes)))

    def node(self, node: torch.fx.Node, suffix: str, new: tuple[str, tuple, dict]) -> str:
        """Add one node and return its name. Two results of one operator share their equal nodes."""
        op, operands, attributes = new
        if node.target is operator.getitem and suffix:
            for other in self.nodes:
                if (other.op, other.operands, other.attributes) == (op, operands, attributes):
                    return other.name
        name = self.name(node.name + suffix, node.name + suffix)
        self.nodes.append(Node(name, op, operands, attributes, *place(node)))
        return name

    def resolved(self, operand: object, parts: list[str]) -> Operand:
        """Return the name or the number that stands for an operand of a conversion."""
        return parts[operand.place] if isinstance(operand, Part) else self.operand(operand)

    def moves_nothing(self, node: torch.fx.Node, op: str, operands: list, attributes: dict) -> bool:
        """Report whether a node gives its operand's elements in the same shape and order."""
        if op not in MOVES or not isinstance(operands[0], torch.fx.Node):
            return False
        if self.traced.values[operands[0].name].shape != self.traced.values[node.name].shape:
            return False
        return op != "permute" or attributes["dims"] == sorted(attributes["dims"])

    def part(self, node: torch.fx.Node) -> Converted | list[Converted]:
        """Return the nodes of one result of an operator with several."""
        source, index = node.args
        arguments, target = bound(source), aten.name_of(source)
        if target in aten.SPLITS:
            dim = arguments["dim"] % arguments["self"].meta["val"].dim()
            if target == "unbind":
                return "select", [arguments["self"]], {"dim": dim, "index": index}
            sizes = [part.shape[dim] for part in self.traced.values[source.name]]
            start = sum(sizes[:index])
            borders = {"dim": dim, "start": start, "stop": start + sizes[index], "step": 1}
            return "slice", [arguments["self"]], borders
        if (target, index) in aten.RESULTS:
            return aten.RESULTS[target, index](arguments, list(self.traced.values[node.name].shape))
        raise self.missing(f"result {index} of {source.target}", node)

    def operand(self, value: object) -> Operand:
        """Return the name or the number that stands for an argument."""
        if isinstance(value, np.ndarray):
            key = f"constant.{len(self.names)}"
            self.constant(key, value, partial(literal, value))
            return self.names[key]
        if isinstance(value, bool):
            return float(value)
        if isinstance(value, float) and not math.isfinite(value):
            return self.operand(np.array(value))  # JSON has no such number
        if not isinstance(value, torch.fx.Node):
            return value
        return self.operand_named(value.name)

    def constant(self, node: str, array: np.ndarray, recipe: Recipe | None = None) -> None:
        """Name a constant: as an equal input or constant, or as its node."""
        for placeholder in self.traced.inputs:
            if same(self.traced.values[placeholder], array):
                self.names[node] = self.names[placeholder]
                return
        for name, other in self.constants.items():
            if same(other, array):
                self.names[node] = name
                return
        name = self.name(node, node)
        self.constants[name] = array
        if recipe is not None:
            self.recipes[name] = recipe


def traced_value(node: str, unfolding) -> str:
    """Add the value of an exported node to an unfolding, and return its name there."""
    return unfolding.operand_named(node)


def literal(array: np.ndarray, unfolding) -> str:
    """Add an array to an unfolding, and return its name there."""
    return unfolding.literal(array)


def mask_of(condition: str, scores: str, shows: bool, finite: bool, unfolding) -> str:
    """Add the mask of an exported condition to an unfolding: see Conversion.added_mask."""
    return unfolding.mask(condition, scores, shows, finite)


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor as an array, complex numbers as pairs."""
    tensor = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return tensor.detach().numpy()


def same(value: object, array: np.ndarray) -> bool:
    """Report whether a value is an array with the same elements."""
    value = value.numpy() if isinstance(value, torch.Tensor) else value
    if not isinstance(value, np.ndarray) or value.dtype != array.dtype:
        return False
    return np.array_equal(value, array)


def place(node: torch.fx.Node) -> tuple[str, str]:
    """Return the path and the class of the module that asked for a node."""
    stack = node.meta.get("nn_module_stack") or {}
    for path, kind in reversed(stack.values()):
        return path, str(kind).rsplit(".", 1)[-1]
    return "", ""

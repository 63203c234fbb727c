"""Tidying: nodes that compute nothing new disappear, and constant nodes become constants."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from pyref.capture.graph.node import Graph, Node


def tidy(graph: Graph, values: dict[str, torch.Tensor]) -> Graph:
    """Return a graph without idle nodes. `values` gets the values of new names."""
    return Tidying(graph, values).graph()


class Tidying:
    """One pass over the nodes of a graph."""

    def __init__(self, graph: Graph, values: dict[str, torch.Tensor]):
        """Begin with no node seen."""
        self.before, self.values = graph, values
        self.names: dict[str, str] = {}  # from a value to the value that it equals
        self.nodes: dict[str, Node] = {}
        self.constants = dict(graph.constants)
        self.recipes = dict(graph.recipes)
        self.seen: dict[str, str] = {}

    def graph(self) -> Graph:
        """Visit every node in order."""
        for node in self.before.nodes:
            self.visit(node)
        output = self.names.get(self.before.output, self.before.output)
        changed = replace(self.before, constants=self.constants, nodes=tuple(self.nodes.values()))
        return replace(changed, output=output, recipes=self.recipes).needed()

    def visit(self, node: Node) -> None:
        """Keep a node, rename it, or compute it now."""
        operands = tuple(self.names.get(o, o) if isinstance(o, str) else o for o in node.operands)
        node = self.simpler(node.changed(operands=operands))
        if self.idle(node):
            self.names[node.name] = node.operands[0]
            return
        if node.sources and all(source in self.constants for source in node.sources):
            array = self.values[node.name].contiguous().numpy()
            self.recipes[node.name] = partial(again, node)
            self.names[node.name] = self.constant(node.name, array)
            return
        key = repr((node.op, node.operands, node.attributes, node.module))
        if key in self.seen:
            self.names[node.name] = self.seen[key]
            return
        self.seen[key] = node.name
        self.nodes[node.name] = node

    def constant(self, name: str, array: np.ndarray) -> str:
        """Name a constant: as an equal one, or by the node that computed it."""
        for other, values in self.constants.items():
            if values.dtype == array.dtype and np.array_equal(values, array):
                return other
        self.constants[name] = array
        return name

    def idle(self, node: Node) -> bool:
        """Report whether a node gives its only operand unchanged."""
        if len(node.sources) != 1 or not isinstance(node.operands[0], str):
            return False
        before, after = self.values[node.operands[0]].shape, self.values[node.name].shape
        if node.op in ("reshape", "expand", "slice"):
            return before == after
        if node.op == "permute":
            return node.attributes["dims"] == list(range(len(after)))
        return node.op == "cat" and len(node.operands) == 1

    def simpler(self, node: Node) -> Node:
        """Return a node on the operands of its operand, where this says the same."""
        if node.op == "cat":
            filled = tuple(o for o in node.operands if self.values[o].numel())
            return node.changed(operands=filled) if filled else node
        inner = self.nodes.get(node.operands[0]) if isinstance(node.operands[0], str) else None
        if inner is None:
            return node
        if node.op == "reshape" and (inner.op == "reshape" or self.keeps_order(inner)):
            return node.changed(operands=inner.operands)
        if node.op == inner.op == "permute":
            dims = [inner.attributes["dims"][dim] for dim in node.attributes["dims"]]
            back = dims == sorted(dims)
            return node.changed(operands=inner.operands, attributes={"dims": dims}) if back else node
        if node.op == "slice" and inner.op == "cat":
            return self.part(node, inner)
        return node

    def keeps_order(self, node: Node) -> bool:
        """Report whether a node only moves dimensions of size 1."""
        sizes = self.values[node.operands[0]].shape if node.op == "permute" else []
        moved = [dim for dim in node.attributes.get("dims", []) if sizes and sizes[dim] != 1]
        return node.op == "permute" and moved == sorted(moved)

    def part(self, node: Node, joined: Node) -> Node:
        """Return a slice that is exactly one part of a concatenation as a slice of this part."""
        a = node.attributes
        if a["dim"] != joined.attributes["dim"] or a["step"] != 1:
            return node
        start = 0
        for name in joined.operands:
            size = self.values[name].shape[a["dim"]]
            if (a["start"], a["stop"]) == (start, start + size):
                return node.changed(operands=(name,), attributes=a | {"start": 0, "stop": size})
            start += size
        return node


def again(node: Node, unfolding) -> str:
    """Add a node on constants to an unfolding, and return its name there."""
    return unfolding.again(node)

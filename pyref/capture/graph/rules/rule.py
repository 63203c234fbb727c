"""What a rule is: it yields nodes that could replace one node."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from pyref.capture.graph.node import Node
from pyref.capture.graph.rules.pattern import match


@dataclass(frozen=True)
class Site:
    """A node, the nodes and the values of its graph, and the names of parameters and constants."""

    node: Node
    nodes: Mapping[str, Node]
    values: Mapping[str, torch.Tensor]
    parameters: frozenset[str]
    constants: frozenset[str]

    def shape(self, operand: object) -> list[int]:
        """Return the shape of an operand, empty for a number."""
        return list(self.values[operand].shape) if isinstance(operand, str) else []

    def maker(self, operand: object, *ops: str) -> Node | None:
        """Return the node that computes an operand, None unless it is of one of these operators."""
        node = self.nodes.get(operand) if isinstance(operand, str) else None
        return node if node is not None and node.op in ops else None

    def name(self, part: object) -> str:
        """Return a name for a new node."""
        return f"{self.node.name}.lifted.{part}"

    def new(self, part: int, op: str, operands: tuple, **attributes: object) -> Node:
        """Return a node that stands before the site's own."""
        return Node(self.name(part), op, operands, attributes, self.node.module, self.node.kind)


# A rule yields lists of nodes. The last of each has the name and the value of the site's node.
Rule = Callable[[Site], Iterator[list[Node]]]


def rule(pattern: object, build: Callable[[Site, dict], list[Node] | Node | None]) -> Rule:
    """Return a rule that builds nodes wherever a pattern matches."""

    def apply(site: Site) -> Iterator[list[Node]]:
        for found in match(site.nodes, site.node.name, pattern, {}):
            new = build(site, found)
            if new is not None:
                yield new if isinstance(new, list) else [new]

    return apply

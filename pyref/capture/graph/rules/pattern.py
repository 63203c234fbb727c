"""Patterns of nodes: what a graph computes at one place, in any order of its operands.

A pattern is one of
    X("name")          any operand; the same name stands for the same operand
    3.0                that number
    None               an operand that is absent
    N("name")          any number
    Op("mul", a, b)    a node with operands that match; `add` and `mul` match in both orders
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pyref.capture.graph.node import Node, Operand

COMMUTATIVE = ("add", "mul")


@dataclass(frozen=True)
class X:
    """Any operand that is a name."""

    name: str


@dataclass(frozen=True)
class N:
    """Any operand that is a number."""

    name: str


class Op:
    """A node of one operator."""

    def __init__(self, op: str, *operands: object, called: str = "", **attributes: object):
        """Describe a node: its operands as patterns, its attributes, and a name for it."""
        self.op, self.operands, self.attributes, self.called = op, operands, attributes, called


Found = dict[str, object]


def match(nodes: Mapping[str, Node], operand: Operand, pattern: object, found: Found) -> Iterator[Found]:
    """Yield every way in which an operand matches a pattern, given what was found so far."""
    if isinstance(pattern, X | N):
        kind = str if isinstance(pattern, X) else (int, float)
        if isinstance(operand, kind) and found.get(pattern.name, operand) == operand:
            yield found | {pattern.name: operand}
    elif isinstance(pattern, Op):
        node = nodes.get(operand) if isinstance(operand, str) else None
        if node is not None and node.op == pattern.op and fits(node, pattern):
            named = found | ({pattern.called: node} if pattern.called else {})
            for operands in orders(node):
                yield from match_all(nodes, operands, pattern.operands, named)
    elif pattern is None:
        if operand is None:
            yield found
    elif isinstance(operand, (int, float)) and math.isclose(operand, pattern, rel_tol=1e-6):
        yield found


def match_all(nodes: Mapping[str, Node], operands: tuple, patterns: tuple, found: Found) -> Iterator[Found]:
    """Yield every way in which operands match patterns, one by one."""
    if len(operands) != len(patterns):
        return
    if not patterns:
        yield found
        return
    for first in match(nodes, operands[0], patterns[0], found):
        yield from match_all(nodes, operands[1:], patterns[1:], first)


def fits(node: Node, pattern: Op) -> bool:
    """Report whether a node has a pattern's attributes."""
    return all(node.attributes.get(name) == value for name, value in pattern.attributes.items())


def orders(node: Node) -> list[tuple]:
    """Return the operands of a node in every order that gives the same result."""
    if node.op in COMMUTATIVE and len(node.operands) == 2:
        return [node.operands, node.operands[::-1]]
    return [node.operands]

"""Elementwise functions of one value, recognised by their values, not by their code."""

import math
from collections.abc import Iterator

import torch

from pyref.capture.graph.evaluate import OPERATORS, compute
from pyref.capture.graph.node import Node
from pyref.capture.graph.rules.rule import Rule, Site

POINTS = torch.linspace(-12, 12, 481, dtype=torch.float64)
SAME = 1e-13
DEPTH = 12  # nodes between an activation and its operand
PARTS = {
    *("neg", "exp", "expm1", "log", "log1p", "sqrt", "tanh", "sigmoid", "erf", "abs", "relu", "softplus"),
    *("add", "sub", "mul", "div", "pow", "maximum", "minimum", "clamp"),
}
KNOWN: list[tuple[str, dict]] = [
    ("gelu", {"approximate": "none"}),
    ("gelu", {"approximate": "tanh"}),
    ("quick_gelu", {}),
    ("silu", {}),
    ("mish", {}),
    ("hardswish", {}),
    ("softplus", {}),
]
FACTOR = math.sqrt(2 / math.pi)  # of the approximation by tanh


def activation(site: Site) -> Iterator[list[Node]]:
    """Yield a known activation that replaces the nodes behind it."""
    if site.node.op not in PARTS:
        return
    for x in operands_below(site):
        inner = between(site, x)
        if inner is None or len(inner) < 2:
            continue
        got = on_points(inner, x)
        numbers = {o for node in inner for o in node.operands if isinstance(o, float)}
        near = sorted(n for n in numbers if abs(n - FACTOR) < 1e-4)
        rounded = [("gelu", {"approximate": "tanh", "factor": n}) for n in near]
        for op, attributes in [*KNOWN, *rounded]:
            if torch.allclose(got, OPERATORS[op](POINTS, **attributes), rtol=SAME, atol=SAME):
                yield [site.node.changed(op=op, operands=(x,), attributes=attributes)]


def operands_below(site: Site) -> list[str]:
    """Return the values below a node, through nodes that may be parts, nearest first."""
    found, edge = [], [site.node.name]
    for _ in range(DEPTH):
        names = [name for node in edge for name in site.nodes[node].sources]
        found += [name for name in dict.fromkeys(names) if name not in found]
        edge = [name for name in dict.fromkeys(names) if site.maker(name, *PARTS)]
    return [name for name in found if site.shape(name) == site.shape(site.node.name)]


def between(site: Site, x: str) -> list[Node] | None:
    """Return the nodes from x to the site in order, None if they have another source."""
    order: dict[str, Node] = {}

    def visit(name: str) -> bool:
        if name == x or name in order:
            return True
        node = site.maker(name, *PARTS)
        if node is None or not all(visit(source) for source in node.sources):
            return False
        order[name] = node
        return True

    return list(order.values()) if visit(site.node.name) else None


def on_points(nodes: list[Node], x: str) -> torch.Tensor:
    """Return what nodes make of some points."""
    values = {x: POINTS}
    for node in nodes:
        values[node.name] = compute(node, values)
    return values[nodes[-1].name].expand(POINTS.shape)


RULES: list[Rule] = [activation]

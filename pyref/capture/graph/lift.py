"""Lifting: several nodes that together are one known operation become one node.

Hugging Face writes RMSNorm, rotary embedding, repeat_kv and GELU as small operations, each model a
little differently. `rules` finds them. The lifted node keeps the name of the last node of its
pattern. A rule that moves the value by more than rounding in float64 is not applied.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch

from pyref.capture.graph.evaluate import compute
from pyref.capture.graph.node import Graph, Node
from pyref.capture.graph.rules import FLAT, RULES
from pyref.capture.graph.rules.rule import Rule, Site
from pyref.capture.graph.tidy import tidy

SAME = 1e-13  # of the largest element


def lift(graph: Graph, values: dict[str, torch.Tensor]) -> Graph:
    """Apply the rules, in their order, to every node of a graph with these values.

    `values` gets the values of new nodes.
    """
    for rule in FLAT:
        graph = apply(rule, graph, values)
    graph = tidy(graph, values)
    for rule in RULES:
        lifted = apply(rule, graph, values)
        graph = tidy(lifted, values) if lifted is not graph else graph
    return graph


def apply(rule: Rule, graph: Graph, values: dict[str, torch.Tensor]) -> Graph:
    """Apply one rule at every node. The same graph comes back if it applies nowhere."""
    nodes = {node.name: node for node in graph.nodes}
    parameters, constants = frozenset(graph.parameters), frozenset(graph.constants)
    order: list[Node] = []
    for node in graph.nodes:
        site = Site(node, nodes, values, parameters, constants)
        new = next((made for found in rule(site) if (made := accepted(found, values)) is not None), None)
        for made in new or [node]:
            nodes[made.name] = made
            order.append(made)
    if len(order) == len(graph.nodes) and all(a is b for a, b in zip(order, graph.nodes, strict=True)):
        return graph
    return replace(graph, nodes=tuple(order)).needed()


def accepted(found: list[Node], values: dict[str, torch.Tensor]) -> list[Node] | None:
    """Return nodes if the last has the value of the node with its name, and keep their values."""
    local: dict[str, torch.Tensor] = {}
    for node in found:
        try:
            local[node.name] = compute(node, Layered(local, values))
        except (RuntimeError, IndexError):
            return None  # the operands do not fit together
    name = found[-1].name
    want, got = values[name], local[name]
    if got.shape != want.shape or not bool((got - want).abs().max() <= SAME * want.abs().max()):
        return None
    del local[name]
    values.update(local)
    return found


class Layered(dict):
    """Values of new nodes over the values of a graph."""

    def __init__(self, new: Mapping[str, torch.Tensor], old: Mapping[str, torch.Tensor]):
        """Look up names in `new` first."""
        super().__init__(new)
        self.old = old

    def __missing__(self, name: str) -> torch.Tensor:
        """Look up a name in `old`."""
        return self.old[name]

"""A graph: nodes in the order of their computation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

Operand = str | float | int | None

# How a constant is computed from the inputs: a function that adds nodes to an Unfolding, and
# returns the name of the value.
Recipe = Callable[..., str]


@dataclass(frozen=True)
class Node:
    """One operation.

    An operand is the name of a value, a number, or None if it is absent. A value is an input, a
    parameter, a constant or an earlier node. `module` is the path of the module that asked for the
    operation, and `kind` the name of its class.
    """

    name: str
    op: str
    operands: tuple[Operand, ...]
    attributes: dict[str, object] = field(default_factory=dict)
    module: str = ""
    kind: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """The operands that are names."""
        return tuple(operand for operand in self.operands if isinstance(operand, str))

    def changed(self, **fields: object) -> "Node":
        """Return a copy with other fields."""
        return replace(self, **fields)


@dataclass(frozen=True)
class Graph:
    """Inputs, parameters and constants by the names of their values, the nodes, and the output.

    `inputs` maps a value's name to the role of the input. The name of a parameter is its key in the
    state dict. Tied parameters have the first of their keys. `recipes` tells how constants are
    computed, by their names.
    """

    inputs: dict[str, str]
    parameters: tuple[str, ...]
    constants: dict[str, np.ndarray]
    nodes: tuple[Node, ...]
    output: str
    recipes: Mapping[str, Recipe] = field(default_factory=dict)

    def users(self) -> dict[str, list[Node]]:
        """Return the nodes that take each value."""
        users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for source in dict.fromkeys(node.sources):
                users.setdefault(source, []).append(node)
        return users

    def needed(self) -> "Graph":
        """Return the graph without values that the output does not need."""
        wanted, nodes = {self.output}, []
        for node in reversed(self.nodes):
            if node.name in wanted:
                wanted.update(node.sources)
                nodes.append(node)
        return Graph(
            {name: role for name, role in self.inputs.items() if name in wanted},
            tuple(key for key in self.parameters if key in wanted),
            {name: array for name, array in self.constants.items() if name in wanted},
            tuple(reversed(nodes)),
            self.output,
            self.recipes,
        )

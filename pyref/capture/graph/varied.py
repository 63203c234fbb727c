"""shapes.json: the graph of a module for any batch and any number of tokens.

The graph is exported at several shapes. What differs between them becomes a size, or an array that
nodes compute from the inputs: a mask, positions, a table of angles.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pyref.capture.call import Call
from pyref.capture.graph import convert, evaluate, export, lift, sizes, store
from pyref.capture.graph.node import Graph, Node
from pyref.capture.graph.sizes import Shape
from pyref.capture.graph.unfold import Unfolding

VERSION = 1


@dataclass(frozen=True)
class Sample:
    """The call at one shape, its graph, and the nodes that compute the constants."""

    shape: Shape
    call: Call
    traced: export.Traced
    graph: Graph
    values: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Varied:
    """A graph with sizes, as JSON has it, and the nodes of its constants with sizes.

    `arrays` holds the constants that are the same at every shape, for the graph and for the nodes.
    `types` holds the types of the others.
    """

    graph: dict
    made: dict
    arrays: Mapping[str, np.ndarray]
    types: Mapping[str, np.dtype]


def sample(module: torch.nn.Module, call: Call, parameters: Mapping[str, np.ndarray], shape: Shape) -> Sample:
    """Export a module for one call, and lift its graph."""
    traced = export.trace(module, call)
    graph = convert.convert(traced)
    graph = lift.lift(graph, evaluate.evaluate(graph, call.arrays, parameters))
    return Sample(shape, call, traced, graph, evaluate.evaluate(graph, call.arrays, parameters))


def vary(samples: Sequence[Sample]) -> Varied:
    """Return what the samples have in common; OtherGraph if they are graphs of other operations."""
    shapes = [one.shape for one in samples]
    texts = [json.loads(store.dump(one.graph, one.values)) for one in samples]
    graph = sizes.joined(texts, shapes)
    names = sizes.varying([one.graph.constants for one in samples])
    unfolded = [unfold(one, names) for one in samples]
    made = sizes.joined([fields for fields, _ in unfolded], shapes, "constants")
    arrays = dict(unfolded[0][1])
    if differing := sizes.varying([arrays for _, arrays in unfolded]):
        raise sizes.OtherGraph(f"constants: {differing[0]} is another array at another shape")
    first = samples[0].graph.constants
    arrays |= {name: array for name, array in first.items() if name not in names}
    return Varied(graph, made, arrays, {name: first[name].dtype for name in names})


def unfold(one: Sample, names: list[str]) -> tuple[dict, dict[str, np.ndarray]]:
    """Return the nodes that compute some constants, and the arrays that they need."""
    unfolding = Unfolding(one.traced)
    values = unfolding.unfold(names, dict(one.graph.recipes))
    nodes = needed(unfolding.nodes, set(values.values()))
    used = {source for node in nodes for source in node.sources} | set(values.values())
    arrays = {name: array for name, array in unfolding.constants.items() if name in used}
    fields = {
        "values": values,
        "inputs": {name: role for name, role in unfolding.inputs.items() if name in used},
        "parameters": [key for key in dict.fromkeys(one.traced.parameters.values()) if key in used],
        "constants": list(arrays),
    }
    shapes = shapes_of(fields, nodes, arrays, one)
    return fields | {"nodes": [store.line(node, shapes[node.name]) for node in nodes]}, arrays


def shapes_of(fields: dict, nodes: list[Node], arrays: Mapping[str, np.ndarray], one: Sample) -> dict:
    """Return the shape of the value of each node."""
    values = {name: evaluate.tensor(one.call.arrays[role]) for name, role in fields["inputs"].items()}
    keys = {key: name for name, key in one.traced.parameters.items()}
    values |= {key: one.traced.values[keys[key]] for key in fields["parameters"]}
    values |= {name: evaluate.tensor(array) for name, array in arrays.items()}
    for node in nodes:
        values[node.name] = evaluate.compute(node, values)
    return {node.name: list(values[node.name].shape) for node in nodes}


def needed(nodes: list[Node], wanted: set[str]) -> list[Node]:
    """Return the nodes that some values need."""
    kept = []
    for node in reversed(nodes):
        if node.name in wanted:
            wanted = wanted | set(node.sources)
            kept.append(node)
    return kept[::-1]


def node_of(line: dict) -> Node:
    """Return a node from its object of JSON."""
    return Node(
        line["name"], line["op"], tuple(line["operands"]), line["attributes"], line["module"], line["class"]
    )


def output(
    varied: Varied, shape: Shape, arrays: Mapping[str, np.ndarray], parameters: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return the output of the graph for inputs of another shape."""
    constants = {
        name: array for name, array in varied.arrays.items() if name in varied.graph["constants"]
    } | constants_at(varied, shape, arrays, parameters)
    fields = sizes.at(varied.graph, shape)
    nodes = tuple(map(node_of, fields["nodes"]))
    graph = Graph(fields["inputs"], tuple(fields["parameters"]), constants, nodes, fields["output"])
    return evaluate.evaluate(graph, arrays, parameters)[graph.output].numpy()


def constants_at(
    varied: Varied, shape: Shape, arrays: Mapping[str, np.ndarray], parameters: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the constants that depend on the shape or on the inputs."""
    fields = sizes.at(varied.made, shape)
    fixed = {name: varied.arrays[name] for name in fields["constants"]}
    nodes = tuple(map(node_of, fields["nodes"]))
    graph = Graph(fields["inputs"], tuple(fields["parameters"]), fixed, nodes, "")
    values = evaluate.evaluate(graph, arrays, parameters)
    return {
        name: values[value].contiguous().numpy().astype(varied.types[name])
        for name, value in fields["values"].items()
    }

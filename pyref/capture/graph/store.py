"""graph.json: a graph as a file, with the shape of every node."""

import json
from collections.abc import Mapping

import numpy as np
import torch

from pyref.capture.call import Call
from pyref.capture.graph import convert, evaluate, export, lift
from pyref.capture.graph.node import Graph, Node

VERSION = 1
EXACT = 1e-12  # of the largest element of the module's float64 output


def graph_of(
    module: torch.nn.Module,
    call: Call,
    parameters: Mapping[str, np.ndarray],
    truth: np.ndarray,
    padded: np.ndarray | None = None,
) -> tuple[Graph, Mapping[str, torch.Tensor]]:
    """Return the lifted graph of a module and its values.

    ValueError if the module has no graph, or if the graph does not give the module's own output.
    `padded` elements of the output may be anything.
    """
    graph = convert.convert(export.trace(module, call))
    graph = lift.lift(graph, evaluate.evaluate(graph, call.arrays, parameters))
    values = evaluate.evaluate(graph, call.arrays, parameters)
    output = values[graph.output].numpy()
    distance = np.abs(output - truth).max(initial=0, where=True if padded is None else ~padded)
    if not distance <= EXACT * np.abs(truth).max(initial=0):
        raise ValueError(f"the graph's output differs from the module's by {distance:.1e}")
    return graph, values


def dump(graph: Graph, values: Mapping[str, torch.Tensor]) -> str:
    """Return graph.json, one line for each node; ValueError for a number that JSON has not."""
    fields = {
        "version": VERSION,
        "inputs": graph.inputs,
        "parameters": list(graph.parameters),
        "constants": list(graph.constants),
        "output": graph.output,
    }
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}," for name, value in fields.items()]
    nodes = ",\n".join(
        "    " + json.dumps(line(node, list(values[node.name].shape)), allow_nan=False)
        for node in graph.nodes
    )
    return "{\n" + "\n".join(lines) + '\n  "nodes": [\n' + nodes + "\n  ]\n}\n"


def line(node: Node, shape: list[int]) -> dict:
    """Return one node as an object of JSON."""
    return {
        "name": node.name,
        "op": node.op,
        "operands": list(node.operands),
        "attributes": node.attributes,
        "shape": shape,
        "module": node.module,
        "class": node.kind,
    }

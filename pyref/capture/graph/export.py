"""Export: PyTorch traces a module. Values that depend on no parameter become constants."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.export.graph_signature import InputKind

from pyref.capture import run
from pyref.capture.call import Call, to_tensor


@dataclass(frozen=True)
class Traced:
    """A functional ATen graph in float64.

    `inputs` and `parameters` map placeholders to roles and state-dict keys. `values` holds the
    result of every node, and `constant` the names of nodes that depend on no parameter and on no
    input of floats.
    """

    nodes: list[torch.fx.Node]
    inputs: dict[str, str]
    parameters: dict[str, str]
    values: dict[str, object]
    constant: set[str]
    output: str


def trace(module: torch.nn.Module, call: Call) -> Traced:
    """Export a float64 copy of a module for one call, and run the exported graph on it."""
    first = first_names(module)
    module = copy.deepcopy(module).double()
    tensors = {id(array): to_tensor(array, np.float64) for array in call.arrays.values()}
    arguments = {name: tensors.get(id(value), value) for name, value in call.arguments.items()}
    names = list(arguments)
    positional = tuple(arguments[name] for name in names[: call.positional])
    keywords = {name: arguments[name] for name in names[call.positional :]}
    with run.in_float64(), torch.no_grad():
        program = torch.export.export(module, positional, kwargs=keywords, strict=False)
        program = program.run_decompositions({})
        values = Recorder(program).run_all(arguments)
    traced = read(program, values, arguments)
    return replace(traced, parameters={name: first[key] for name, key in traced.parameters.items()})


def first_names(module: torch.nn.Module) -> dict[str, str]:
    """Return, for each key of the state dict, the first key that has the same tensor."""
    state = module.state_dict(keep_vars=True)
    first: dict[int, str] = {}
    return {key: first.setdefault(id(tensor), key) for key, tensor in state.items()}


def read(program: torch.export.ExportedProgram, values: Mapping[str, object], arguments: dict) -> Traced:
    """Sort the placeholders of an exported program, and find its constant nodes."""
    inputs, parameters, constant = {}, {}, set()
    roles = iter(arguments)
    for spec in program.graph_signature.input_specs:
        name = spec.arg.name
        if spec.kind == InputKind.USER_INPUT:
            inputs[name] = next(roles)
            if not floating(values[name]):
                constant.add(name)
        elif spec.target in program.state_dict and spec.kind != InputKind.CONSTANT_TENSOR:
            parameters[name] = spec.target
        else:
            constant.add(name)
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    for node in nodes:
        if all(source.name in constant for source in node.all_input_nodes):
            constant.add(node.name)
    return Traced(nodes, inputs, parameters, dict(values), constant, output_of(program, values))


def output_of(program: torch.export.ExportedProgram, values: Mapping[str, object]) -> str:
    """Return the name of the first output of floats."""
    for spec in program.graph_signature.output_specs:
        name = getattr(spec.arg, "name", None)
        if name in values and floating(values[name]):
            return name
    raise ValueError("the graph has no output of floats")


def floating(value: object) -> bool:
    """Report whether a value is a tensor of floats."""
    return isinstance(value, torch.Tensor) and value.is_floating_point()


class Recorder(torch.fx.Interpreter):
    """Runs an exported program and keeps the value of every node."""

    def __init__(self, program: torch.export.ExportedProgram):
        """Prepare to run a program."""
        super().__init__(program.graph_module)
        self.program, self.values = program, {}

    def run_all(self, arguments: Mapping[str, object]) -> dict[str, object]:
        """Run the program, and return the value of each node by its name."""
        held = {**dict(self.program.constants), **self.program.state_dict}
        given = iter(arguments.values())
        specs = self.program.graph_signature.input_specs
        self.run(*(next(given) if s.kind == InputKind.USER_INPUT else held[s.target] for s in specs))
        return self.values

    def run_node(self, n: torch.fx.Node) -> object:
        """Run one node, and keep its value."""
        self.values[n.name] = super().run_node(n)
        return self.values[n.name]

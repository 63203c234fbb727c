"""Export: PyTorch traces a module. Values that depend on no parameter become constants."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.export.graph_signature import InputKind

from pyref.capture import exact
from pyref.capture.call import Call, to_tensor
from pyref.capture.float64 import in_float64
from pyref.capture.graph import aten

# Operators that take no element of their first operand, only its shape.
FROM_SHAPES = {
    *("zeros_like", "ones_like", "full_like", "empty_like"),
    *("new_zeros", "new_ones", "new_full", "new_empty", "fill"),
}
DEPTH = 4  # a decomposition may need another one
EMPTY = {"empty_like", "new_empty", "empty", "empty_strided", "new_empty_strided"}


@dataclass(frozen=True)
class Traced:
    """A functional ATen graph in float64.

    `inputs` and `parameters` map placeholders to roles and state-dict keys. `values` holds the
    result of every node, and `constant` the names of nodes as `constants` finds them.
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
    module = exact.double(module)
    tensors = {id(array): to_tensor(array, np.float64) for array in call.arrays.values()}
    arguments = {name: tensors.get(id(value), value) for name, value in call.arguments.items()}
    names = list(arguments)
    positional = tuple(arguments[name] for name in names[: call.positional])
    keywords = {name: arguments[name] for name in names[call.positional :]}
    with in_float64(), torch.no_grad():
        program = torch.export.export(module, positional, kwargs=keywords, strict=False)
        program = decomposed(program)
        values = Recorder(program).run_all(arguments)
    traced = read(program, values, arguments)
    return replace(traced, parameters={name: first[key] for name, key in traced.parameters.items()})


def decomposed(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Return a functional program. PyTorch decomposes the operators that have no converter."""
    program = program.run_decompositions({})
    for _ in range(DEPTH):
        constant, ways = constants(program), torch.export.default_decompositions()
        missing = {n.target for n in calls(program) if n.name not in constant and not aten.converted(n)}
        wanted = {target: ways[target] for target in missing if target in ways}
        if not wanted:
            break
        program = program.run_decompositions(wanted)
    return program


def constants(program: torch.export.ExportedProgram) -> set[str]:
    """Return the names of the values that depend on no parameter and on no input of floats.

    A node on buffers of the state dict is constant if its result is of integers or booleans, such
    as a causal mask.
    """
    constant, buffers = set(), set()
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    for spec in program.graph_signature.input_specs:
        name = spec.arg.name
        if spec.kind == InputKind.USER_INPUT:
            if not floating(values[name]):
                constant.add(name)
        elif not in_state_dict(program, spec):
            constant.add(name)
        elif spec.kind == InputKind.BUFFER:
            buffers.add(name)
    for node in calls(program):
        sources = {source.name for source in node.all_input_nodes}
        if aten.name_of(node) in FROM_SHAPES:
            sources -= {getattr(node.args[0], "name", "")}
        if sources <= constant:
            constant.add(node.name)
        elif sources <= constant | buffers:
            buffers.add(node.name)
            if not floating(values[node.name]):
                constant.add(node.name)
    return constant


def in_state_dict(program: torch.export.ExportedProgram, spec: object) -> bool:
    """Report whether a placeholder is a parameter or a buffer of the state dict."""
    return spec.target in program.state_dict and spec.kind != InputKind.CONSTANT_TENSOR


def calls(program: torch.export.ExportedProgram) -> list[torch.fx.Node]:
    """Return the nodes that compute something."""
    return [node for node in program.graph.nodes if node.op == "call_function"]


def first_names(module: torch.nn.Module) -> dict[str, str]:
    """Return, for each key of the state dict, the first key that has the same tensor."""
    state = module.state_dict(keep_vars=True)
    first: dict[int, str] = {}
    return {key: first.setdefault(id(tensor), key) for key, tensor in state.items()}


def read(program: torch.export.ExportedProgram, values: Mapping[str, object], arguments: dict) -> Traced:
    """Sort the placeholders of an exported program, and find its constant nodes."""
    inputs, parameters = {}, {}
    roles = iter(arguments)
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            inputs[spec.arg.name] = next(roles)
        elif in_state_dict(program, spec):
            parameters[spec.arg.name] = spec.target
    output = output_of(program, values)
    return Traced(calls(program), inputs, parameters, dict(values), constants(program), output)


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
        value = super().run_node(n)
        if n.op == "call_function" and aten.name_of(n) in EMPTY:
            value = torch.zeros_like(value)  # whatever memory held before
        self.values[n.name] = value
        return value

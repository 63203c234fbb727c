"""Cases from the user's own PyTorch module: `capture(module, inputs, name, folder)`.

The folder becomes a suite: `difftest --fixtures folder`. This code runs in the user's environment,
with any PyTorch from 2.0 on and any settings; the case records both. It never imports
pyref.build.pinned_torch.

    FILE.py:FACTORY -> module, inputs -> two equal float32 runs, one float64 run -> case folder

A torch.nn.MultiheadAttention becomes a case of that layer, in which difftest can name mistakes. Any
other module becomes a case of the op "module": its state dict, inputs, outputs, and the standard
deviation that rounding gives each output element.
"""

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from pyref.build import case_folder
from pyref.build.atomic_replace import put_in_place
from pyref.build.rng import digest
from pyref.capture import any_module, check, mha
from pyref.capture.call import Call
from pyref.capture.graph import store
from pyref.capture.run import class_name, unfused


def capture(module: torch.nn.Module, inputs: Mapping[str, object], name: str, folder: Path) -> Path:
    """Write a case of one call, `module(**inputs)`, below `folder`, and return the case's folder.

    The module is not changed. It is called in its current mode. The first tensor of a tuple is the
    output, because attention layers return (output, weights). ValueError if it cannot be captured.
    """
    return write(module, Call.by_keyword(module, inputs), name, folder, f"{class_name(module)}, captured.")


def write(module: torch.nn.Module, call: Call, name: str, folder: Path, purpose: str) -> Path:
    """Write a case of one call, and replace an earlier capture of this name."""
    target = check.case_folder(name, folder)
    check.dropout(name, module)
    check.tensors(name, module, call)
    kind = mha if mha.describes(module) else any_module
    seed = digest(name, 4)
    with unfused(module):
        op, config, inputs, expected = kind.describe(name, copy.deepcopy(module), call, seed)
        parameters = state_dict(module)
        graph = module_graph(module, call, parameters, expected["truth"]) if op == "module" else None
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as scratch:
        case = Path(scratch) / target.name
        case_folder.store(
            case,
            {"name": name, "purpose": purpose, "op": op, "config": config},
            {"inputs": inputs, "state_dict": parameters, "expected": expected},
            case_folder.provenance(class_name(module), call_clauses(module, call), seed, torch),
            graph,
        )
        kind.verify(name, case)
        put_in_place(case, target)
    return target


def module_graph(
    module: torch.nn.Module, call: Call, parameters: Mapping[str, np.ndarray], truth: np.ndarray
) -> case_folder.StoredGraph:
    """Return the graph of a module, or the reason why it has none."""
    try:
        graph, values = store.graph_of(module, call, parameters, truth)
    except Exception as error:  # torch.export fails in many ways; the case stands without a graph
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return case_folder.StoredGraph(missing=reason[0][:200])
    return case_folder.StoredGraph(text=store.dump(graph, values), constants=graph.constants)


def state_dict(module: torch.nn.Module) -> dict:
    """Return the state dict as arrays."""
    return {name: tensor.detach().numpy().copy() for name, tensor in module.state_dict().items()}


def call_clauses(module: torch.nn.Module, call: Call) -> str:
    """Return the module's mode and the arguments that are not tensors, for the provenance."""
    clauses = ["train mode" if module.training else "eval mode", "no_grad"]
    return ", ".join([*clauses, *(f"{name}={value!r}" for name, value in call.plain.items())])

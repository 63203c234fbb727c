"""Cases from a PyTorch module of one's own: `capture(module, inputs, name, folder)`.

The folder is then a suite: `difftest --fixtures folder`. This runs in the user's environment, with any
PyTorch from 2.0 on and as it is set up there: the case says which. It never imports `pyref.pinned`.

    file.py:factory -> module, inputs -> two equal runs in float32, one in float64 -> case.json and .npy files

A torch.nn.MultiheadAttention becomes a case of that layer, which difftest computes itself and can name the
mistakes in. Any other module becomes a case of the op "module": its state dict, inputs and outputs, and how
far rounding alone may move the output.
"""

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from pyref import record
from pyref.capture import anything, check, multihead
from pyref.capture.call import Call
from pyref.capture.run import class_name, unfused
from pyref.exchange import put_in_place
from pyref.stream import digest


def capture(module: torch.nn.Module, inputs: Mapping[str, object], name: str, folder: Path) -> Path:
    """Write a case of one call, `module(**inputs)`, below `folder`, and return the case's own folder.

    The module is not changed. It is called in the mode it is in; a tuple's first tensor is the output, as
    attention layers return (output, weights). ValueError says what cannot be captured.
    """
    return write(module, Call.by_keyword(module, inputs), name, folder, f"{class_name(module)}, captured.")


def write(module: torch.nn.Module, call: Call, name: str, folder: Path, purpose: str) -> Path:
    """Write a case of one call, in the place of one that was captured before."""
    target = check.case_folder(name, folder)
    check.dropout(name, module)
    check.tensors(name, module, call)
    kind = multihead if multihead.describes(module) else anything
    seed = digest(name, 4)
    with unfused(module):
        op, config, inputs, expected = kind.describe(name, copy.deepcopy(module), call, seed)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as scratch:
        case = Path(scratch) / target.name
        record.store(
            case,
            {"name": name, "purpose": purpose, "op": op, "config": config},
            {"inputs": inputs, "state_dict": state(module), "expected": expected},
            record.provenance(class_name(module), said(module, call), seed, torch),
        )
        kind.verify(name, case)
        put_in_place(case, target)
    return target


def state(module: torch.nn.Module) -> dict:
    """Return the state dict as arrays."""
    return {name: tensor.detach().numpy().copy() for name, tensor in module.state_dict().items()}


def said(module: torch.nn.Module, call: Call) -> str:
    """Say how the module was called: its mode, and the arguments that are no tensors."""
    clauses = ["train mode" if module.training else "eval mode", "no_grad"]
    return ", ".join([*clauses, *(f"{name}={value!r}" for name, value in call.plain.items())])

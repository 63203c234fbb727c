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
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pyref.build import case_folder
from pyref.build.atomic_replace import put_in_place, recover
from pyref.build.rng import Stream, digest
from pyref.build.scratch import scratch
from pyref.capture import about, any_module, autocast, check, mha, padding, vary
from pyref.capture.call import PLAIN, Call, to_array
from pyref.capture.flat import flat
from pyref.capture.graph import store
from pyref.capture.module_of import class_name, module_of
from pyref.capture.prepare import Prepared, prepare
from pyref.capture.run import unfused
from pyref.capture.shake import shaken


def capture(
    module: torch.nn.Module | Callable,
    inputs: object,
    name: str,
    folder: Path,
    output: str = "",
    say: Callable[[str], None] = lambda note: None,
    shake: int | None = None,
    varies: bool = False,
) -> Path:
    """Write a case of one call, `module(**inputs)`, below `folder`, and return the case's folder.

    The module is not changed. It is called in its current mode. A function or a method will do as
    well. `inputs` is a dict of arguments, a tuple or list of arguments, or one argument. Arguments
    may be nested, and may hold a cache. The output is the first tensor of floats in the result, or
    in its part `output`: "logits", "1". `say` is called with each difference from the user's
    module, such as another type. With a seed in `shake`, all parameters are drawn anew. With
    `varies`, the case also holds the graph for other shapes of the inputs: see pyref.capture.vary.
    ValueError if the module cannot be captured.
    """
    module = shaken(module_of(module), shake)
    call = replace(Call.of(module, inputs), output=output)
    purpose = f"{class_name(module)}, captured{with_seed(shake)}."
    return write(module, call, name, folder, purpose, say, varies=varies)


def write(
    module: torch.nn.Module,
    call: Call,
    name: str,
    folder: Path,
    purpose: str,
    say: Callable[[str], None] = lambda note: None,
    *,
    varies: bool = False,
) -> Path:
    """Write a case of one call, and replace an earlier capture of this name."""
    with autocast.left_out() as short:
        return written(module, call, name, folder, purpose, say, short, varies=varies)


def written(
    module: torch.nn.Module,
    call: Call,
    name: str,
    folder: Path,
    purpose: str,
    say: Callable[[str], None],
    short: autocast.LeftOut,
    *,
    varies: bool = False,
) -> Path:
    """Write a case of one call without autocast, and its noise under autocast."""
    target = check.case_folder(name, folder)
    check.dropout(name, module)
    check.tensors(name, module, call)
    prepared = prepare(module)
    module = prepared.module
    kind = mha if mha.describes(module, call) else any_module
    seed = digest(name, 4)
    with unfused(module):
        padded = padding.padded(name, module, call) if kind is any_module else padding.NONE
        op, config, inputs, expected = kind.describe(name, copy.deepcopy(module), call, seed, padded)
        if op == "module":
            expected |= autocast.sigmas(short, module, call, expected["truth"], seed, padded)
            config |= about.describe(module, prepared.dtype)
            config |= {"output": call.output} if call.output else {}
        parameters = state_dict(module)
        truth = expected["truth"]
        graph = module_graph(module, call, parameters, truth, padded.of(truth)) if op == "module" else None
        if varies:
            graph = with_shapes(graph, name, module, call, padded, seed)
    with scratch(target.parent) as beside:
        recover(target)
        case = beside / target.name
        case_folder.store(
            case,
            {"name": name, "purpose": purpose, "op": op, "config": config},
            {
                "inputs": storable(inputs),
                "state_dict": storable(parameters),
                "expected": expected,
                "padded": padded.rows,
            },
            case_folder.provenance(class_name(module), call_clauses(prepared, call, short), seed, torch),
            graph,
        )
        kind.verify(name, case)
        put_in_place(case, target)
    hidden = padding.unseen(name, module, call, padded)
    for note in [*notes(prepared, call, short), *padded.notes(truth), *hidden]:
        say(note)
    return target


def module_graph(
    module: torch.nn.Module,
    call: Call,
    parameters: Mapping[str, np.ndarray],
    truth: np.ndarray,
    padded: np.ndarray | None,
) -> case_folder.StoredGraph:
    """Return the graph of a module, or the reason why it has none."""
    try:
        flattened, words, names = flat(module, call)
        graph, values = store.graph_of(flattened, words, parameters, truth, padded)
        graph = replace(graph, inputs={value: names[word] for value, word in graph.inputs.items()})
    except Exception as error:  # torch.export fails in many ways; the case stands without a graph
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return case_folder.StoredGraph(missing=reason[0][:200])
    return case_folder.StoredGraph(text=store.dump(graph, values), constants=graph.constants)


def with_shapes(
    graph: case_folder.StoredGraph | None,
    name: str,
    module: torch.nn.Module,
    call: Call,
    padded: padding.Padded,
    seed: int,
) -> case_folder.StoredGraph:
    """Return a graph with shapes.json; ValueError if the shapes of the inputs cannot vary."""
    if graph is None or graph.missing:
        reason = graph.missing if graph else "the layer is no module with a graph"
        raise ValueError(f"{name}: --vary: there is no graph: {reason}")
    try:
        text, arrays = vary.shapes_json(name, module, call, state_dict(module), padded, Stream(seed))
    except ValueError as error:
        raise ValueError(f"{name}: --vary: {error}") from error
    return replace(graph, shapes=text, constants={**graph.constants, **arrays})


def with_seed(shake: int | None) -> str:
    """Return the end of a purpose: whether the parameters are the user's or drawn from a seed."""
    return "" if shake is None else f", with parameters drawn by chance from seed {shake}"


def state_dict(module: torch.nn.Module) -> dict:
    """Return the state dict as arrays."""
    return {name: to_array(tensor) for name, tensor in module.state_dict().items()}


def storable(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays with integers as int64 and complex numbers as pairs of floats.

    Names that share an array share the result.
    """
    made = {id(array): storable_array(array) for array in arrays.values()}
    return {name: made[id(array)] for name, array in arrays.items()}


def storable_array(array: np.ndarray) -> np.ndarray:
    """Return one array in a type that a case can hold."""
    if array.dtype.kind == "c":
        return np.stack([array.real, array.imag], axis=-1)
    return array.astype(np.int64) if array.dtype.kind in "iu" else array


def call_clauses(prepared: Prepared, call: Call, short: autocast.LeftOut) -> str:
    """Return the module's mode, the arguments that are not tensors, and the notes."""
    clauses = ["train mode" if prepared.module.training else "eval mode", "no_grad"]
    plain = [f"{name}={shown(value)}" for name, value in call.plain.items()]
    return ", ".join([*clauses, *plain, *notes(prepared, call, short)])


def shown(value: object) -> str:
    """Return a plain value as text. The text of another object may hold an address of memory."""
    return repr(value) if isinstance(value, PLAIN) else f"a {type(value).__qualname__}"


def notes(prepared: Prepared, call: Call, short: autocast.LeftOut) -> list[str]:
    """Return what differs between the case and the user's call, in words."""
    arrays = {**call.arrays, **state_dict(prepared.module)}
    pairs = [name for name, array in arrays.items() if array.dtype.kind == "c"]
    return [
        *prepared.notes,
        *short.notes(),
        *call.changes,
        *([f"complex numbers stored as pairs: {' '.join(pairs)}"] if pairs else []),
        *([f"output {call.output}"] if call.output else []),
    ]

"""Let difftest test a torch.nn.Module: `difftest -- python -m pyref serve FILE.py:FACTORY`.

The factory is called with the configuration of every case and returns a module for it, or raises
NotImplementedError with the reason to skip the case. The configuration is a namespace of what config says
in the request (harness/PROTOCOL.md), and of op. The case's state dict is loaded, strictly and without
the prefix, and the module is called in eval mode without gradients. It returns its output, or a tuple of
that and the attention weights.

What forward is given depends on the names of its parameters alone:

    query, key, value, allow, block, padding, bias, sinks, past_key, past_value
            the input of that name
    attn_mask
            what hides keys (causality, window, allow, block) and bias: of the function bool where true takes
            part, of a layer bool where true is ignored, with a bias float, and -inf for what is hidden
    key_padding_mask
            the padding, float beside a float attn_mask
    need_weights, average_attn_weights, scale, enable_gqa
            as PyTorch's, from the configuration
    the first one, whatever its name, where none is query
            the query

A case is skipped that has an input without such a parameter, unless it is the key or value of self-attention.
All else is the factory's to do or to refuse; causality, too, where forward has no attn_mask. A captured
module is given its inputs by their names.
"""

import inspect
import math
from collections.abc import Callable
from functools import partial, reduce
from types import SimpleNamespace

import numpy as np
import torch

from pyref import subject
from pyref.capture.target import factory

Tensors = dict[str, torch.Tensor]


def serve(target: str) -> None:
    """Serve the modules of a factory until difftest says stop; ValueError where there is none."""
    make = factory(target)
    functions = {name: partial(compute, make, op) for name, op in subject.OPS.items()}
    subject.serve(**functions, name=target)


@torch.no_grad()
def compute(
    make: Callable, op: str, /, *, config: dict, state_dict: dict | None = None, **inputs: np.ndarray
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Return the output of a new module for one case, and the attention weights where they are asked for."""
    asked = SimpleNamespace(op=op, **{name: namespace(value) for name, value in config.items()})
    module = make(asked)
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"the factory returns {module!r}, want a torch.nn.Module")
    prefix = config.get("prefix", "")
    parameters = {name.removeprefix(prefix): array for name, array in (state_dict or {}).items()}
    module.load_state_dict(tensors(parameters))
    result = module.eval()(**arguments(module, asked, tensors(inputs)))
    output, weights = (*result, None)[:2] if isinstance(result, tuple) else (result, None)
    if config.get("need_weights") is None or weights is None:
        return to_numpy(output)
    return to_numpy(output), to_numpy(weights)


def namespace(value: object) -> object:
    """Return an object of JSON as a namespace, and anything else as it is."""
    return SimpleNamespace(**value) if isinstance(value, dict) else value


def tensors(arrays: dict[str, np.ndarray]) -> Tensors:
    """Return arrays as tensors, names of one array the same tensor."""
    made = {id(array): torch.from_numpy(array) for array in arrays.values()}
    return {name: made[id(array)] for name, array in arrays.items()}


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor as an array, bfloat16 as float32."""
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


def arguments(module: torch.nn.Module, asked: SimpleNamespace, inputs: Tensors) -> dict[str, object]:
    """Return what forward is given; NotImplementedError where it has no parameter for something."""
    if asked.op == subject.OPS["module"]:
        return inputs
    names = list(inspect.signature(module.forward).parameters)
    given = options(asked) | inputs
    if "query" not in names:
        given[names[0]] = inputs["query"]
    if "attn_mask" in names:
        given["attn_mask"] = mask(asked, inputs)
    if "key_padding_mask" in names:
        given["key_padding_mask"] = padding(inputs)
    refuse(asked, inputs, names)
    return {name: given[name] for name in names if name in given}


def refuse(asked: SimpleNamespace, inputs: Tensors, names: list[str]) -> None:
    """Raise NotImplementedError where a case has what none of the parameters takes."""
    takes = {"query", *names, *self_attention(inputs)}
    takes |= {"allow", "block", "bias"} if "attn_mask" in names else set()
    takes |= {"padding"} if "key_padding_mask" in names else set()
    wants = inputs.keys() | ({"need_weights"} if getattr(asked, "need_weights", None) else set())
    if wants - takes:
        raise NotImplementedError(f"forward has no parameter for {', '.join(sorted(wants - takes))}")


def self_attention(inputs: Tensors) -> set[str]:
    """Return which of key and value are what stands before them."""
    chain = ("query", "key"), ("key", "value")
    return {later for earlier, later in chain if inputs[earlier] is inputs[later]}


def options(asked: SimpleNamespace) -> dict[str, object]:
    """Return the arguments of PyTorch's that are no tensors."""
    if asked.op == subject.OPS["sdpa"]:
        return {"scale": asked.scale, "enable_gqa": asked.enable_gqa}
    return {
        "scale": asked.scale,
        "need_weights": asked.need_weights is not None,
        "average_attn_weights": asked.need_weights == "averaged",
    }


def padding(inputs: Tensors) -> torch.Tensor | None:
    """Return key_padding_mask: the padding, true is ignored, and beside a bias as what is added to scores."""
    if "padding" not in inputs or "bias" not in inputs:
        return inputs.get("padding")
    hidden = inputs["padding"]
    return torch.zeros(hidden.shape, dtype=inputs["bias"].dtype).masked_fill(hidden, -math.inf)


def mask(asked: SimpleNamespace, inputs: Tensors) -> torch.Tensor | None:
    """Return attn_mask, None where nothing is hidden and nothing added."""
    hides = [by_position(asked, inputs), inputs.get("block"), ~inputs["allow"] if "allow" in inputs else None]
    hidden = reduce(torch.logical_or, [part for part in hides if part is not None] or [None])
    if "bias" in inputs:
        return inputs["bias"] if hidden is None else inputs["bias"].masked_fill(hidden, -math.inf)
    if hidden is None or asked.op == subject.OPS["mha"]:
        return hidden
    return ~hidden


def by_position(asked: SimpleNamespace, inputs: Tensors) -> torch.Tensor | None:
    """Return bool (L, S), true where causality or window hides a key; None without either."""
    if asked.causality == "none" and asked.window is None:
        return None
    axis = 0 if getattr(asked, "input_layout", None) == "sequence-first" else -2
    L, S = inputs["query"].shape[axis], inputs["key"].shape[axis]
    if "past_key" in inputs:
        S += inputs["past_key"].shape[2]
    ahead = torch.arange(S) - (asked.first_position + torch.arange(L)[:, None])
    hidden = ahead > 0 if asked.causality != "none" else torch.zeros_like(ahead, dtype=torch.bool)
    return hidden if asked.window is None else hidden | (ahead.abs() >= asked.window)

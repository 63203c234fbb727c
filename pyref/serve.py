"""Let difftest test a torch.nn.Module: `difftest -- python -m pyref serve FILE.py:FACTORY`.

For every case the factory is called with the case's configuration. It returns a module, or raises
NotImplementedError with a reason to skip the case. The configuration is a namespace with the fields
of `config` in the request (harness/PROTOCOL.md) and with `op`. The case's state dict is loaded
strictly, without the prefix. The module is then called in eval mode without gradients. It returns
its output, or a tuple of output and attention weights. The outputs of modules inside a captured
module are given, too.

The names of forward's parameters decide its arguments:

    query, key, value, allow, block, padding, bias, sinks, past_key, past_value, key_lengths,
    first_positions
            the input of that name
    attn_mask
            causality, window, allow, block, bias, key_lengths and first_positions in one mask. With
            a bias it is float, -inf for a hidden key. Without one it is bool: true takes part in
            scaled_dot_product_attention, true is ignored in a layer.
    key_padding_mask
            the padding, float if attn_mask is float
    need_weights, average_attn_weights, scale, enable_gqa
            PyTorch's arguments, from the configuration
    the first parameter under any other name, if no parameter is called query
            the query

A case is skipped if one of its inputs has no such parameter, except the key and value of
self-attention. The factory handles or refuses everything else, even causality if forward has no
attn_mask. A captured module is called with its inputs by name.
"""

import inspect
import math
from collections.abc import Callable
from functools import partial, reduce
from types import SimpleNamespace

import numpy as np
import torch

from pyref import subject
from pyref.capture import check
from pyref.capture.target import factory
from pyref.trace import recorded

Tensors = dict[str, torch.Tensor]


def serve(target: str) -> None:
    """Serve a factory's modules until difftest says stop; ValueError if there is no factory."""
    serve_modules(factory(target), target)


def serve_modules(make: Callable, name: str = "", version: str = "", precision: str = "") -> None:
    """Serve the modules that `make` returns for configurations, until difftest says stop."""
    functions = {word: partial(compute, make, op) for word, op in subject.OPS.items()}
    subject.serve(**functions, name=name, version=version, precision=precision)


@torch.no_grad()
def compute(
    make: Callable, op: str, /, *, config: dict, state_dict: dict | None = None, **inputs: np.ndarray
) -> np.ndarray | tuple[np.ndarray, object]:
    """Return a new module's output for one case, with the attention weights if it needs them.

    A captured module's output comes with the outputs of the modules inside it, by their paths.
    """
    asked = SimpleNamespace(op=op, **{name: namespace(value) for name, value in config.items()})
    module = make(asked)
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"the factory returns {module!r}, want a torch.nn.Module")
    prefix = config.get("prefix", "")
    parameters = {name.removeprefix(prefix): array for name, array in (state_dict or {}).items()}
    module.load_state_dict(tensors(parameters))
    with recorded(module.eval()) as inside:
        result = module(**arguments(module, asked, tensors(inputs)))
    if op == subject.OPS["module"]:
        return to_numpy(check.output("the module", result, config.get("output", ""))), inside
    output, weights = (*result, None)[:2] if isinstance(result, tuple) else (result, None)
    if config.get("need_weights") is None or weights is None:
        return to_numpy(output)
    return to_numpy(output), to_numpy(weights)


def namespace(value: object) -> object:
    """Return a JSON object as a namespace, and any other value unchanged."""
    return SimpleNamespace(**value) if isinstance(value, dict) else value


def tensors(arrays: dict[str, np.ndarray]) -> Tensors:
    """Return arrays as tensors; names with the same array get the same tensor."""
    made = {id(array): torch.from_numpy(array) for array in arrays.values()}
    return {name: made[id(array)] for name, array in arrays.items()}


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor as an array, bfloat16 as float32."""
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


def arguments(module: torch.nn.Module, asked: SimpleNamespace, inputs: Tensors) -> dict[str, object]:
    """Return forward's arguments; NotImplementedError if it has no parameter for an input."""
    if asked.op == subject.OPS["module"]:
        return inputs
    names = list(inspect.signature(module.forward).parameters)
    given = options(asked) | inputs
    if "query" not in names:
        given[names[0]] = inputs["query"]
    if "attn_mask" in names:
        given["attn_mask"] = attn_mask(asked, inputs)
    if "key_padding_mask" in names:
        given["key_padding_mask"] = key_padding_mask(inputs)
    refuse(asked, inputs, names)
    return {name: given[name] for name in names if name in given}


def refuse(asked: SimpleNamespace, inputs: Tensors, names: list[str]) -> None:
    """Raise NotImplementedError if no parameter accepts one of the inputs."""
    accepted = {"query", *names, *self_attention(inputs)}
    masks = {"allow", "block", "bias", "key_lengths", "first_positions"}
    accepted |= masks if "attn_mask" in names else set()
    accepted |= {"padding"} if "key_padding_mask" in names else set()
    needed = inputs.keys() | ({"need_weights"} if getattr(asked, "need_weights", None) else set())
    if needed - accepted:
        raise NotImplementedError(f"forward has no parameter for {', '.join(sorted(needed - accepted))}")


def self_attention(inputs: Tensors) -> set[str]:
    """Return "key" if it is the query's tensor, and "value" if it is the key's."""
    pairs = ("query", "key"), ("key", "value")
    return {later for earlier, later in pairs if inputs[earlier] is inputs[later]}


def options(asked: SimpleNamespace) -> dict[str, object]:
    """Return PyTorch's arguments that are not tensors."""
    if asked.op == subject.OPS["sdpa"]:
        return {"scale": asked.scale, "enable_gqa": asked.enable_gqa}
    return {
        "scale": asked.scale,
        "need_weights": asked.need_weights is not None,
        "average_attn_weights": asked.need_weights == "averaged",
    }


def key_padding_mask(inputs: Tensors) -> torch.Tensor | None:
    """Return the padding, true for an ignored key, or as a float mask if there is a bias."""
    if "padding" not in inputs or "bias" not in inputs:
        return inputs.get("padding")
    hidden = inputs["padding"]
    return torch.zeros(hidden.shape, dtype=inputs["bias"].dtype).masked_fill(hidden, -math.inf)


def attn_mask(asked: SimpleNamespace, inputs: Tensors) -> torch.Tensor | None:
    """Return causality, window and masks as one mask; None if nothing hides or biases a key."""
    masks = [by_position(asked, inputs), inputs.get("block"), ~inputs["allow"] if "allow" in inputs else None]
    hidden = reduce(torch.logical_or, [mask for mask in masks if mask is not None] or [None])
    if "bias" in inputs:
        return inputs["bias"] if hidden is None else inputs["bias"].masked_fill(hidden, -math.inf)
    if hidden is None or asked.op == subject.OPS["mha"]:
        return hidden
    return ~hidden


def by_position(asked: SimpleNamespace, inputs: Tensors) -> torch.Tensor | None:
    """Return bool (L, S) or (B, 1, L, S), true where a position hides a key; None if none does."""
    if asked.causality == "none" and asked.window is None and "key_lengths" not in inputs:
        return None
    axis = 0 if getattr(asked, "input_layout", None) == "sequence-first" else -2
    L, S = inputs["query"].shape[axis], inputs["key"].shape[axis]
    if "past_key" in inputs:
        S += inputs["past_key"].shape[-2]
    first = asked.first_position
    if "first_positions" in inputs:
        first = inputs["first_positions"][:, None, None, None]
    ahead = torch.arange(S) - (first + torch.arange(L)[:, None])
    hidden = ahead > 0 if asked.causality != "none" else torch.zeros_like(ahead, dtype=torch.bool)
    if "key_lengths" in inputs:
        hidden = hidden | (torch.arange(S) >= inputs["key_lengths"][:, None, None, None])
    return hidden if asked.window is None else hidden | (ahead.abs() >= asked.window)

"""A module whose forward takes the tensors of one call by name, and returns the output alone."""

import copy
from types import FunctionType, MethodType

import torch

from pyref.capture import check
from pyref.capture.call import Call, fresh


def flat(module: torch.nn.Module, call: Call) -> tuple[torch.nn.Module, Call, dict[str, str]]:
    """Return a module and call without nested arguments, results and values that are not tensors.

    torch.export knows few containers, and no cache. The module shares its parameters and submodules
    with the given one, and keeps its class. The dict maps the names of the tensors in the new call,
    which torch.export needs as words of Python, to their names in the given one.
    """
    words = {name: name if name.isidentifier() else f"input_{i}" for i, name in enumerate(call.arrays)}
    rest = call.plain

    def forward(self: torch.nn.Module, **arrays: torch.Tensor) -> torch.Tensor:
        leaves = {
            name: arrays[words[name]] if name in words else fresh(rest[name]) for name in call.arguments
        }
        positional, keywords = call.bound(leaves)
        return check.output("the module", forward_of(self, module)(*positional, **keywords), call.output)

    flattened = copy.copy(module)
    flattened.forward = MethodType(forward, flattened)
    arrays = {words[name]: array for name, array in call.arrays.items()}
    return flattened, Call(arrays), {word: name for name, word in words.items()}


def forward_of(module: torch.nn.Module, original: torch.nn.Module) -> FunctionType | MethodType:
    """Return the forward that `original` has, as a method of `module`, which may be a copy."""
    own = vars(original).get("forward", type(original).forward)
    if isinstance(own, MethodType):
        own = own.__func__
    elif "forward" in vars(original):
        return own
    return MethodType(own, module)

"""A function or a method as a module."""

import copy
import functools
from collections.abc import Callable
from types import MethodType

import torch


class Function(torch.nn.Module):
    """A module without parameters that calls a function."""

    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.forward = function


def module_of(function: Callable) -> torch.nn.Module:
    """Return a module for a function. A method of a module keeps that module's parameters."""
    if isinstance(function, torch.nn.Module):
        return function
    if isinstance(function, MethodType) and isinstance(function.__self__, torch.nn.Module):
        module = copy.copy(function.__self__)
        module.forward = MethodType(function.__func__, module)
        return module
    if not callable(function):
        raise ValueError(f"{function!r} is a {type(function).__qualname__}, want a module or a function")
    return Function(function)


def class_name(module: torch.nn.Module) -> str:
    """Return package.Class, or the name of the function that the module calls."""
    own = vars(module).get("forward")
    if isinstance(module, Function):
        while isinstance(own, functools.partial):
            own = own.func
        if not hasattr(own, "__qualname__"):
            own = type(own)
        return f"{own.__module__}.{own.__qualname__}"
    method = f".{own.__func__.__name__}" if isinstance(own, MethodType) else ""
    return f"{type(module).__module__}.{type(module).__qualname__}{method}"

"""The mistakes that a case can say it detects, planted in PyTorch. The diagnosis has the same names.

Each is a function of any case's call. It returns None where there is nothing to get wrong so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pyref.case import Arrays, Case, Operation
from pyref.stream import Stream


@dataclass(frozen=True)
class Call:
    """An operation and what it is given; `other` draws what an implementation has in place of its weights."""

    operation: Operation
    inputs: Arrays
    parameters: Arrays
    other: Stream

    @classmethod
    def of(cls, case: Case) -> "Call":
        """Return a case's call without a mistake."""
        stream, operation = Stream(case.seed), case.operation
        inputs, parameters = operation.draw_inputs(stream), operation.draw_parameters(stream)
        return cls(operation, inputs, parameters, Stream(case.seed + 1))

    def truth(self) -> Arrays:
        """Return what PyTorch computes in float64."""
        return self.operation.forward(self.inputs, self.parameters, "float64")

    def without(self, role: str) -> "Call | None":
        """Return the call without an input; None if it has no such input."""
        if role not in self.inputs:
            return None
        return replace(self, inputs={name: self.inputs[name] for name in self.inputs if name != role})


def weights_unit_normal(call: Call) -> Call | None:
    """Leave the weights at N(0,1), never loaded."""
    if not call.parameters:
        return None
    drawn = {name: call.other.normal(name, array.shape) for name, array in call.parameters.items()}
    return replace(call, parameters=drawn)


def weights_random(call: Call) -> Call | None:
    """Leave the weights random at their own scale, never loaded."""
    if not call.parameters:
        return None
    return replace(call, parameters=call.operation.draw_parameters(call.other))


def weights_zero(call: Call) -> Call | None:
    """Make every weight zero."""
    if not call.parameters:
        return None
    zeros = {name: np.zeros_like(array) for name, array in call.parameters.items()}
    return replace(call, parameters=zeros)


def causal_missing(call: Call) -> Call | None:
    """Let queries see keys that come after them."""
    if not call.operation.causal:
        return None
    return replace(call, operation=replace(call.operation, causal=False))


def padding_ignored(call: Call) -> Call | None:
    """Let queries see filler keys."""
    return call.without("padding")


def mask_ignored(call: Call) -> Call | None:
    """Let queries see keys that the bool mask hides, of either polarity."""
    return call.without("allow") or call.without("block")


def bias_ignored(call: Call) -> Call | None:
    """Do not add the float mask to the scores."""
    return call.without("bias")


def scale_missing(call: Call) -> Call | None:
    """Do not multiply the scores by 1/sqrt(E), or by whatever the scale is."""
    unscaled = call.operation.unscaled(call.parameters)
    if unscaled is None:
        return None
    operation, parameters = unscaled
    return replace(call, operation=operation, parameters=parameters)


MISTAKES: Mapping[str, Callable[[Call], Call | None]] = {
    "weights-unit-normal": weights_unit_normal,
    "weights-random": weights_random,
    "weights-zero": weights_zero,
    "causal-missing": causal_missing,
    "padding-ignored": padding_ignored,
    "mask-ignored": mask_ignored,
    "bias-ignored": bias_ignored,
    "scale-missing": scale_missing,
}


def plant(case: Case) -> dict[str, Call]:
    """Return the case's call with each mistake that can be made in it."""
    call = Call.of(case)
    planted = {name: mistake(call) for name, mistake in MISTAKES.items()}
    return {name: wrong for name, wrong in planted.items() if wrong is not None}


def claims(case: Case) -> list[str]:
    """Return the mistakes that the case says it detects."""
    return [name for name in plant(case) if name not in case.blind]

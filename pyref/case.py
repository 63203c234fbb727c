"""What a case is: one row of the table, its operation, and the mistakes it can see."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pyref.stream import Stream, digest

# The mistakes a case can say it detects. The diagnosis plants each of them under the same name.
MISTAKES = {
    "weights-unit-normal": "the weights were never loaded and are still N(0,1)",
    "weights-random": "the weights were never loaded and are random at their own scale",
    "weights-zero": "the weights are all zero",
    "causal-missing": "queries see keys that come after them",
    "padding-ignored": "queries see filler keys",
    "mask-ignored": "queries see keys that the bool mask hides",
    "bias-ignored": "the float mask is not added to the scores",
    "scale-missing": "the scores are not multiplied by 1/sqrt(E)",
}

# Tensors by role or by parameter name. Two roles that share a tensor hold the same object, which PyTorch
# can tell from an equal one: nn.MultiheadAttention projects `key is value` in one product.
Arrays = Mapping[str, np.ndarray]


class Operation(Protocol):
    """One call of PyTorch: what to draw for it, how to make it, and how to say so in case.json."""

    name: str
    function: str

    @property
    def call(self) -> str:
        """How the function is called and what follows from it, in a sentence."""

    @property
    def config(self) -> dict:
        """What an implementation must be told to compute the same."""

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return the inputs by role."""

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return the parameters by their name in PyTorch's state dict, in its order; none for a function."""

    def forward(self, inputs: Arrays, parameters: Arrays, dtype: type[np.floating]) -> np.ndarray:
        """Return PyTorch's output, computed in `dtype` from tensors that were converted to it."""


@dataclass(frozen=True)
class Case:
    """One row of the table: `name` is group/case, `detects` are keys of `MISTAKES`."""

    name: str
    purpose: str
    operation: Operation
    detects: tuple[str, ...]

    @property
    def group(self) -> str:
        """The folder that holds this case's folder."""
        return self.name.split("/")[0]

    @property
    def seed(self) -> int:
        """32 bits of the name's sha256: adding or moving a row changes no other row's tensors."""
        return digest(self.name, 4)

"""What every operation of the suite offers: draw tensors, compute on them, describe the call."""

from collections.abc import Mapping
from typing import Literal, Protocol

import numpy as np

from pyref.build.rng import Stream

Precision = Literal["float16", "bfloat16", "float32", "float64"]

# Arrays by role ("query") or by parameter name ("q_proj.weight"). Two names of one tensor hold the
# same object: nn.MultiheadAttention tests `key is value` and then projects both in one product.
# NumPy has no bfloat16, so an array of uint16 holds the bits of bfloat16 numbers.
Arrays = Mapping[str, np.ndarray]


class Operation(Protocol):
    """One call of PyTorch. An operation is a frozen dataclass of its shapes and options."""

    name: str  # the field `op` of case.json
    function: str  # the function or class that computes the output
    precision: Precision  # of the stored inputs and of the output

    @property
    def call(self) -> str:
        """The arguments of the call and their consequences, as one sentence of clauses."""

    @property
    def config(self) -> dict:
        """The configuration in case.json: all that an implementation must know."""

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return the inputs by role."""

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return the state dict in PyTorch's order, empty for a function."""

    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return PyTorch's "output", and "weights" if the operation returns attention weights.

        Inputs and parameters are converted to `precision` first, and PyTorch computes in it.
        """

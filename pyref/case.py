"""What a case is: one row of the table, and the operation that it records."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from pyref.stream import Stream, digest

Precision = Literal["float16", "bfloat16", "float32", "float64"]

# Tensors by role or by parameter name. Two roles that share a tensor hold the same object, which PyTorch
# can tell from an equal one: nn.MultiheadAttention projects `key is value` in one product. NumPy has no
# bfloat16, so an array of uint16 is the bits of one.
Arrays = Mapping[str, np.ndarray]


class Operation(Protocol):
    """One call of PyTorch: what to draw for it, how to make it, and how to say so in case.json.

    An operation is a frozen dataclass.
    """

    name: str
    function: str
    precision: Precision  # what its tensors are stored in

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

    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return "output", and "weights" if the operation asks for them, as PyTorch computes them.

        It computes in `precision`, from tensors that were converted to it.
        """


@dataclass(frozen=True)
class Case:
    """One row of the table: `name` is group/case.

    `twin` names the case whose tensors this one's are drawn like, where the two show that one thing is the
    same in two forms.
    """

    name: str
    purpose: str
    operation: Operation
    twin: str | None = None

    @property
    def group(self) -> str:
        """The folder that holds this case's folder."""
        return self.name.split("/")[0]

    @property
    def seed(self) -> int:
        """32 bits of the name's sha256: adding or moving a row changes no other row's tensors."""
        return digest(self.twin or self.name, 4)

    def draw(self) -> tuple[Arrays, Arrays]:
        """Return the inputs by role and the parameters by name."""
        stream = Stream(self.seed)
        return self.operation.draw_inputs(stream), self.operation.draw_parameters(stream)

"""A case: one row of the table."""

from dataclasses import dataclass

from pyref.build.rng import Stream, digest
from pyref.ops.operation import Arrays, Operation


@dataclass(frozen=True)
class Case:
    """A name, group/case, a purpose in one sentence, and the operation that the case records.

    `twin` names another case with the same random numbers: the two show one layer in two forms.
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
        """32 bits of the name's sha256, so that a new row changes no other row's tensors."""
        return digest(self.twin or self.name, 4)

    def draw(self) -> tuple[Arrays, Arrays]:
        """Return the inputs by role and the parameters by name."""
        stream = Stream(self.seed)
        return self.operation.draw_inputs(stream), self.operation.draw_parameters(stream)

"""State dicts as wrappers and whole models have them: with a prefix before every name of the layer's own."""

from dataclasses import dataclass

from pyref.case import Arrays, Precision
from pyref.decoder import DecoderAttention
from pyref.multihead import MultiheadAttention
from pyref.seed import SeedLayer
from pyref.stream import Stream


@dataclass(frozen=True, kw_only=True)
class Prefixed:
    """To be put before the class of an operation, whose parameters it renames."""

    prefix: str

    @property
    def config(self) -> dict:
        """The operation's, and the prefix."""
        return super().config | {"prefix": self.prefix}

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return the operation's parameters, prefixed."""
        return self.prefixed(super().draw_parameters(stream))

    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return what the operation computes with the parameters under its own names."""
        return super().forward(inputs, self.bare(parameters), precision)

    def prefixed(self, parameters: Arrays) -> Arrays:
        """Put the prefix before every name."""
        return {self.prefix + name: array for name, array in parameters.items()}

    def bare(self, parameters: Arrays) -> Arrays:
        """Take the prefix from every name."""
        return {name.removeprefix(self.prefix): array for name, array in parameters.items()}


@dataclass(frozen=True, kw_only=True)
class PrefixedDecoderAttention(Prefixed, DecoderAttention):
    """A decoder layer inside a model."""


@dataclass(frozen=True, kw_only=True)
class PrefixedMultiheadAttention(Prefixed, MultiheadAttention):
    """torch.nn.MultiheadAttention inside a model."""


@dataclass(frozen=True, kw_only=True)
class PrefixedSeedLayer(Prefixed, SeedLayer):
    """The seed layer inside a model."""

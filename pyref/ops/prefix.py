"""State dicts of wrapped layers and whole models: every name begins with a prefix."""

from dataclasses import dataclass

from pyref.build.rng import Stream
from pyref.ops.decoder import DecoderAttention
from pyref.ops.mha import MultiheadAttention
from pyref.ops.operation import Arrays, Precision
from pyref.ops.seed import SeedLayer


@dataclass(frozen=True, kw_only=True)
class Prefixed:
    """A mixin, placed before an operation's class, that prefixes the parameter names."""

    prefix: str

    @property
    def config(self) -> dict:
        """The operation's configuration and the prefix."""
        return super().config | {"prefix": self.prefix}

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return the operation's parameters under prefixed names."""
        return {self.prefix + name: array for name, array in super().draw_parameters(stream).items()}

    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Compute the operation with the prefix removed from every name."""
        own = {name.removeprefix(self.prefix): array for name, array in parameters.items()}
        return super().forward(inputs, own, precision)


@dataclass(frozen=True, kw_only=True)
class PrefixedDecoderAttention(Prefixed, DecoderAttention):
    """A decoder layer inside a model."""


@dataclass(frozen=True, kw_only=True)
class PrefixedMultiheadAttention(Prefixed, MultiheadAttention):
    """torch.nn.MultiheadAttention inside a model."""


@dataclass(frozen=True, kw_only=True)
class PrefixedSeedLayer(Prefixed, SeedLayer):
    """The seed layer inside a model."""

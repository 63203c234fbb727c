"""One layer in two forms: Meta's weights, and the same ones as Hugging Face has them."""

from dataclasses import dataclass

from pyref.case import Arrays
from pyref.decoder import DecoderAttention
from pyref.rope import paired_by_half
from pyref.stream import Stream


@dataclass(frozen=True, kw_only=True)
class ConvertedAttention(DecoderAttention):
    """A layer with "half" rotary pairs and weights drawn for "interleaved" ones, then converted."""

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return the parameters with the rows of query and key in their new order."""
        arrays = dict(super().draw_parameters(stream))
        arrays["q_proj.weight"] = paired_by_half(arrays["q_proj.weight"], self.H)
        arrays["k_proj.weight"] = paired_by_half(arrays["k_proj.weight"], self.Hk)
        return arrays

"""A decoder layer whose weights are converted from Meta's order of rows to Hugging Face's."""

from dataclasses import dataclass

from pyref.build.rng import Stream
from pyref.ops.decoder import DecoderAttention
from pyref.ops.operation import Arrays
from pyref.ops.rope import interleaved_to_half


@dataclass(frozen=True, kw_only=True)
class ConvertedAttention(DecoderAttention):
    """A layer with rotary pairs in style "half", and weights converted from style "interleaved"."""

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return the drawn parameters with the rows of query and key reordered."""
        arrays = dict(super().draw_parameters(stream))
        for name, heads in (("q_proj.weight", self.num_heads), ("k_proj.weight", self.num_kv_heads)):
            arrays[name] = interleaved_to_half(arrays[name], heads)
        return arrays

"""The seed layer: four projections without bias around SDPA, the layer that difftest began with."""

from dataclasses import dataclass
from typing import Literal

from pyref.case import Arrays, Precision
from pyref.convert import to_numpy, to_torch
from pyref.parameters import draw
from pyref.pinned import torch
from pyref.stream import Stream

linear = torch.nn.functional.linear
sdpa = torch.nn.functional.scaled_dot_product_attention


class SeedAttention(torch.nn.Module):
    """x (B, T, D) -> (B, T, D), causal if `flag_mask`; each W (D, D) is used as in nn.Linear: x @ W.T.

    `heads` says how SDPA is called: "looped" once a head on (B, T, E), "batched" once on (B, H, T, E).
    """

    def __init__(self, D: int, H: int, flag_mask: bool, heads: Literal["looped", "batched"]) -> None:
        super().__init__()
        self.H, self.flag_mask = H, flag_mask
        self.attend = self.looped if heads == "looped" else self.batched
        for name in ("W_Q", "W_K", "W_V", "W_O"):
            self.register_parameter(name, torch.nn.Parameter(torch.empty(D, D)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Project, attend in each head, project back."""
        context = self.attend(linear(x, self.W_Q), linear(x, self.W_K), linear(x, self.W_V))
        return linear(context, self.W_O)

    def looped(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Attend head by head on slices of the columns; q, k, v and the context are (B, T, D)."""
        heads = zip(*(projected.chunk(self.H, dim=-1) for projected in (q, k, v)), strict=True)
        return torch.cat([sdpa(*head, is_causal=self.flag_mask) for head in heads], dim=-1)

    def batched(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Attend in all heads at once; q, k, v and the context are (B, T, D)."""
        heads = (projected.unflatten(-1, (self.H, -1)).transpose(1, 2) for projected in (q, k, v))
        return sdpa(*heads, is_causal=self.flag_mask).transpose(1, 2).flatten(-2)


@dataclass(frozen=True, kw_only=True)
class SeedLayer:
    """x (B, T, D) -> output (B, T, D)."""

    B: int
    T: int
    D: int
    H: int
    causal: bool

    name = "multi_head_attention"
    function = "pyref.seed.SeedAttention"
    precision = "float32"

    @property
    def call(self) -> str:
        """How the layer is called."""
        return (
            f"flag_mask={self.causal}; each W is used as in nn.Linear (x @ W.T), and torch.nn.functional."
            f"scaled_dot_product_attention (math kernel) runs head by head with is_causal={self.causal}"
        )

    @property
    def config(self) -> dict:
        """The same operation as nn.MultiheadAttention's, with other names and no bias."""
        return {
            "embed_dim": self.D,
            "num_heads": self.H,
            "kdim": self.D,
            "vdim": self.D,
            "bias": False,
            "keys": "seed",
            "causality": "top-left" if self.causal else "none",
            "empty_row": "zero",
        }

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return x as query, key and value."""
        x = stream.normal("query", (self.B, self.T, self.D))
        return {"query": x, "key": x, "value": x}

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return W_Q, W_K, W_V and W_O."""
        return draw(self.layer(), stream, weight_std=None)

    @torch.no_grad()
    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return the layer's output (B, T, D)."""
        layer = self.layer()
        layer.load_state_dict(to_torch(parameters, precision), assign=True)  # takes over dtype, too
        return {"output": to_numpy(layer(to_torch(inputs, precision)["query"]))}

    def layer(self) -> SeedAttention:
        """Return the layer with parameters that are still to be loaded."""
        return SeedAttention(self.D, self.H, self.causal, heads="looped")

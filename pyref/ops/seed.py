"""The seed layer, which difftest tested first: SDPA between four projections without bias."""

from dataclasses import dataclass
from typing import Literal

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.ops.operation import Arrays, Precision
from pyref.ops.parameters import draw
from pyref.ops.tensors import to_numpy, to_torch

linear = torch.nn.functional.linear
sdpa = torch.nn.functional.scaled_dot_product_attention


class SeedAttention(torch.nn.Module):
    """x (B, T, D) -> (B, T, D), causal if `flag_mask`. Each W (D, D) acts as in nn.Linear: x @ W.T.

    `heads` chooses the calls of SDPA: "looped" calls it once per head on (B, T, E), "batched" once
    on (B, H, T, E).
    """

    def __init__(
        self, embed_dim: int, num_heads: int, flag_mask: bool, heads: Literal["looped", "batched"]
    ) -> None:
        super().__init__()
        self.num_heads, self.flag_mask = num_heads, flag_mask
        self.attend = self.looped if heads == "looped" else self.batched
        for name in ("W_Q", "W_K", "W_V", "W_O"):
            self.register_parameter(name, torch.nn.Parameter(torch.empty(embed_dim, embed_dim)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Project, attend in each head, project back."""
        context = self.attend(linear(x, self.W_Q), linear(x, self.W_K), linear(x, self.W_V))
        return linear(context, self.W_O)

    def looped(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Attend head by head on slices of the columns; q, k, v and the context are (B, T, D)."""
        heads = zip(*(projected.chunk(self.num_heads, dim=-1) for projected in (q, k, v)), strict=True)
        return torch.cat([sdpa(*head, is_causal=self.flag_mask) for head in heads], dim=-1)

    def batched(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Attend in all heads at once; q, k, v and the context are (B, T, D)."""
        heads = (projected.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for projected in (q, k, v))
        return sdpa(*heads, is_causal=self.flag_mask).transpose(1, 2).flatten(-2)


@dataclass(frozen=True, kw_only=True)
class SeedLayer:
    """x (B, T, D) -> output (B, T, D)."""

    batch: int
    seq_len: int
    embed_dim: int
    num_heads: int
    causal: bool

    name = "multi_head_attention"
    function = "pyref.ops.seed.SeedAttention"
    precision = "float32"

    @property
    def call(self) -> str:
        """The arguments of the layer and the calls of SDPA in it."""
        return (
            f"flag_mask={self.causal}; each W is used as in nn.Linear (x @ W.T), and torch.nn.functional."
            f"scaled_dot_product_attention (math kernel) runs head by head with is_causal={self.causal}"
        )

    @property
    def config(self) -> dict:
        """The configuration of an nn.MultiheadAttention with other parameter names and no bias."""
        return {
            "embed_dim": self.embed_dim,
            "num_heads": self.num_heads,
            "kdim": self.embed_dim,
            "vdim": self.embed_dim,
            "bias": False,
            "keys": "seed",
            "causality": "top-left" if self.causal else "none",
            "empty_row": "zero",
        }

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return x as query, key and value."""
        x = stream.normal("query", (self.batch, self.seq_len, self.embed_dim))
        return {"query": x, "key": x, "value": x}

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return W_Q, W_K, W_V and W_O."""
        return draw(self.layer(), stream, weight_std=None)

    @torch.no_grad()
    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return the layer's output (B, T, D)."""
        layer = self.layer()
        layer.load_state_dict(to_torch(parameters, precision), assign=True)  # takes over the dtype
        return {"output": to_numpy(layer(to_torch(inputs, precision)["query"]))}

    def layer(self) -> SeedAttention:
        """Return the layer before its parameters are loaded."""
        return SeedAttention(self.embed_dim, self.num_heads, self.causal, heads="looped")

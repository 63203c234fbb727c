"""torch.nn.MultiheadAttention, the layer."""

from dataclasses import dataclass

import numpy as np

from pyref.case import Arrays, Precision
from pyref.convert import to_numpy, to_torch
from pyref.padding import Padding
from pyref.parameters import draw
from pyref.pinned import torch
from pyref.stream import Stream


@dataclass(frozen=True, kw_only=True)
class MultiheadAttention:
    """query (B, L, D), key (B, S, kdim), value (B, S, vdim) -> output (B, L, D).

    Without `S` it is self-attention: key and value are the query. With it, key and value are one memory
    where their widths agree, and two tensors where they do not.
    """

    B: int
    L: int
    D: int
    H: int
    S: int | None = None
    kdim: int | None = None
    vdim: int | None = None
    bias: bool = True
    causal: bool = False
    padding: Padding | None = None
    weight_std: float | None = None

    name = "multi_head_attention"
    function = "torch.nn.MultiheadAttention"
    precision = "float32"

    @property
    def call(self) -> str:
        """How the layer is called, and what a query that sees no key gives because of it."""
        clauses = ["train mode, dropout=0, batch_first=True, need_weights=False under no_grad"]
        if self.causal:
            clauses.append("attn_mask is bool, true above the diagonal (true is ignored)")
        if self.padding:
            clauses.append("key_padding_mask is bool (true is ignored)")
        clauses.append("so it goes through scaled_dot_product_attention (math kernel)")
        if self.padding:
            clauses.append("where a query that sees no key has a context of zero: the output bias, not NaN")
        return ", ".join(clauses)

    @property
    def config(self) -> dict:
        """Widths, heads and names of the state dict; causality is said here, no file holds the triangle."""
        return {
            "embed_dim": self.D,
            "num_heads": self.H,
            "kdim": self.kdim or self.D,
            "vdim": self.vdim or self.D,
            "bias": self.bias,
            "keys": "torch",
            "causality": "top-left" if self.causal else "none",
            "empty_row": "zero",
        }

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return query, key and value of unit variance, and the padding if there is some."""
        inputs = {"query": stream.normal("query", (self.B, self.L, self.D))}
        inputs["key"] = inputs["value"] = inputs["query"]
        if self.S:
            inputs["key"] = stream.normal("key", (self.B, self.S, self.kdim or self.D))
            inputs["value"] = inputs["key"]
        if self.kdim != self.vdim:
            inputs["value"] = stream.normal("value", (self.B, self.S, self.vdim or self.D))
        if self.padding:
            inputs["padding"] = self.padding.mask(self.S or self.L)
        return inputs

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return weights and, unless `bias` is off, non-zero biases."""
        return draw(self.layer(), stream, self.weight_std)

    @torch.no_grad()
    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return PyTorch's output (B, L, D).

        Train mode without weights is the one path through SDPA for every mask: in eval mode, or with
        need_weights=True, a query that sees no key gives NaN. Both masks must be bool: a bool beside a float
        one is deprecated.
        """
        layer = self.layer().train()
        layer.load_state_dict(to_torch(parameters, precision), assign=True)  # takes over dtype, too
        tensors = to_torch(inputs, precision)
        output, _ = layer(
            tensors["query"],
            tensors["key"],
            tensors["value"],
            key_padding_mask=tensors.get("padding"),
            attn_mask=self.triangle(),
            need_weights=False,
        )
        return {"output": to_numpy(output)}

    def unscaled(self, parameters: Arrays) -> tuple["MultiheadAttention", Arrays]:
        """Project to queries that are sqrt(E) times as large, for the layer to scale back."""
        larger = {name: array.astype(np.float64) for name, array in parameters.items()}
        for name in larger.keys() & {"in_proj_weight", "in_proj_bias", "q_proj_weight"}:
            larger[name][: self.D] *= np.sqrt(self.D / self.H)
        return self, larger

    def layer(self) -> torch.nn.MultiheadAttention:
        """Return the layer with parameters that are still to be loaded."""
        return torch.nn.MultiheadAttention(
            self.D, self.H, dropout=0, bias=self.bias, kdim=self.kdim, vdim=self.vdim, batch_first=True
        )

    def triangle(self) -> torch.Tensor | None:
        """Return bool (L, S), true where a key comes after the query and is ignored; None if not causal."""
        if not self.causal:
            return None
        return torch.ones(self.L, self.S or self.L, dtype=torch.bool).triu(diagonal=1)

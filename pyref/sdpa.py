"""torch.nn.functional.scaled_dot_product_attention, the function alone."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pyref.case import Arrays, Precision
from pyref.convert import to_numpy, to_torch
from pyref.pinned import torch
from pyref.stream import Stream

VISIBLE = 0.60  # share of true elements in a bool mask
HIDDEN = 0.15  # share of -inf elements in a float mask


@dataclass(frozen=True, kw_only=True)
class ScaledDotProductAttention:
    """query (B, H, L, E), key (B, H, S, E), value (B, H, S, Ev) -> output (B, H, L, Ev).

    `mask` is the role of the mask: "allow" is bool (B, 1, L, S), true takes part; "bias" is float32
    (H, L, S), added to the scaled scores, -inf hides a key.
    """

    B: int
    H: int
    L: int
    S: int
    E: int
    Ev: int
    causal: bool = False
    mask: Literal["allow", "bias"] | None = None
    scale: float | None = None

    name = "scaled_dot_product_attention"
    function = "torch.nn.functional.scaled_dot_product_attention"
    precision = "float32"

    @property
    def call(self) -> str:
        """How SDPA is called."""
        clauses = ["math kernel", "dropout_p=0", f"is_causal={self.causal}", f"scale={self.scale}"]
        if self.mask == "allow":
            clauses.append("attn_mask is bool (true takes part)")
        if self.mask == "bias":
            clauses.append("attn_mask is float (added to the scaled scores)")
        if self.causal:
            clauses.append("query i sees keys 0 to i, whatever L and S are (aligned top-left)")
        return ", ".join([*clauses, "every query sees a key"])

    @property
    def config(self) -> dict:
        """Causality and scale; null is PyTorch's default scale, 1/sqrt(E)."""
        return {"causality": "top-left" if self.causal else "none", "scale": self.scale, "empty_row": "zero"}

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return query, key and value of unit variance, and the mask if there is one."""
        inputs = {
            "query": stream.normal("query", (self.B, self.H, self.L, self.E)),
            "key": stream.normal("key", (self.B, self.H, self.S, self.E)),
            "value": stream.normal("value", (self.B, self.H, self.S, self.Ev)),
        }
        if self.mask == "allow":
            inputs["allow"] = stream.chance("allow", (self.B, 1, self.L, self.S), VISIBLE)
        if self.mask == "bias":
            shape = (self.H, self.L, self.S)
            hidden = stream.chance("bias hidden", shape, HIDDEN)
            inputs["bias"] = np.where(hidden, np.float32("-inf"), stream.normal("bias", shape))
        return inputs

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return nothing: a function has no parameters."""
        return {}

    @torch.no_grad()
    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return PyTorch's output (B, H, L, Ev)."""
        tensors = to_torch(inputs, precision)
        output = torch.nn.functional.scaled_dot_product_attention(
            tensors["query"],
            tensors["key"],
            tensors["value"],
            attn_mask=tensors.get("allow", tensors.get("bias")),
            is_causal=self.causal,
            scale=self.scale,
        )
        return {"output": to_numpy(output)}

    def unscaled(self, parameters: Arrays) -> tuple["ScaledDotProductAttention", Arrays]:
        """Leave the scores as they are."""
        return replace(self, scale=1.0), parameters

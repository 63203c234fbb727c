"""The layer as PyTorch's own tests call it, with a key and a value of its own, and the function behind it."""

from dataclasses import dataclass

import numpy as np

from pyref.case import Arrays, Precision
from pyref.convert import to_numpy, to_torch
from pyref.multihead import MultiheadAttention
from pyref.pinned import torch
from pyref.stream import Stream


@dataclass(frozen=True, kw_only=True)
class SampleLayer(MultiheadAttention):
    """query (B, L, D), key (B, S, D), value (B, S, D), none of them the same, -> output (B, L, D)."""

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return the layer's inputs with a value of its own."""
        return {**super().draw_inputs(stream), "value": stream.normal("value", self.shape(self.keys, self.D))}

    def draw_block(self, stream: Stream) -> np.ndarray:
        """Return a bool mask that never hides the first key, which is never padded, either."""
        return super().draw_block(stream) & (np.arange(self.keys) > 0)


@dataclass(frozen=True, kw_only=True)
class ForwardFunction(SampleLayer):
    """The function that the layer calls. It takes separate weights for query, key and value of any width."""

    separate: bool = False

    function = "torch.nn.functional.multi_head_attention_forward"

    @property
    def call(self) -> str:
        """How the function is called."""
        clauses = [f"training=False, dropout_p=0, use_separate_proj_weight={self.separate}"]
        return ", ".join([*clauses, *self.call_of_weights(), *self.call_of_masks(), self.call_of_path()])

    @property
    def config(self) -> dict:
        """The layer's; separate weights are said, because their widths do not show them."""
        return {**super().config, **({"keys": "torch-separate"} if self.separate else {})}

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return the parameters of the layer, with the packed weight in three if they are separate."""
        parameters = dict(super().draw_parameters(stream))
        if not self.separate:
            return parameters
        weights = np.split(parameters.pop("in_proj_weight"), 3)
        names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        return {**dict(zip(names, weights, strict=True)), **parameters}

    @torch.no_grad()
    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return PyTorch's output (L, B, D) or (L, D), and the averaged weights."""
        tensors, state = to_torch(inputs, precision), to_torch(parameters, precision)
        output, weights = torch.nn.functional.multi_head_attention_forward(
            tensors["query"],
            tensors["key"],
            tensors["value"],
            self.D,
            self.H,
            state.get("in_proj_weight"),
            state["in_proj_bias"],
            state["bias_k"],
            state["bias_v"],
            self.add_zero_attn,
            0.0,
            state["out_proj.weight"],
            state["out_proj.bias"],
            training=False,
            attn_mask=self.attention_mask(tensors),
            use_separate_proj_weight=self.separate,
            q_proj_weight=state.get("q_proj_weight"),
            k_proj_weight=state.get("k_proj_weight"),
            v_proj_weight=state.get("v_proj_weight"),
        )
        return {"output": to_numpy(output), "weights": to_numpy(weights)}

"""The layer as PyTorch's own tests call it, and the function behind the layer."""

from dataclasses import dataclass

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.ops.mha import MultiheadAttention
from pyref.ops.operation import Arrays, Precision
from pyref.ops.tensors import to_numpy, to_torch


@dataclass(frozen=True, kw_only=True)
class SampleLayer(MultiheadAttention):
    """query (B, L, D), key (B, S, D), value (B, S, D), three tensors -> output (B, L, D)."""

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return the layer's inputs with a separate value tensor."""
        value = stream.normal("value", self.shape(self.num_keys, self.embed_dim))
        return {**super().draw_inputs(stream), "value": value}

    def draw_bool_mask(self, stream: Stream) -> np.ndarray:
        """Return a bool mask that never hides the first key, which is never padded either."""
        return super().draw_bool_mask(stream) & (np.arange(self.num_keys) > 0)


@dataclass(frozen=True, kw_only=True)
class ForwardFunction(SampleLayer):
    """The function behind the layer. It accepts separate weights for keys of any width."""

    separate: bool = False

    function = "torch.nn.functional.multi_head_attention_forward"

    @property
    def call(self) -> str:
        """The arguments of the function and their consequences."""
        clauses = [f"training=False, dropout_p=0, use_separate_proj_weight={self.separate}"]
        return ", ".join([*clauses, *self.weights_clauses(), *self.mask_clauses(), self.path_clause()])

    @property
    def config(self) -> dict:
        """The layer's configuration; `keys` tells separate weights, because equal widths do not."""
        return {**super().config, **({"keys": "torch-separate"} if self.separate else {})}

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return the layer's parameters, with the packed weight cut in three if `separate`."""
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
            self.embed_dim,
            self.num_heads,
            state.get("in_proj_weight"),
            state["in_proj_bias"],
            state["bias_k"],
            state["bias_v"],
            self.add_zero_attn,
            0.0,
            state["out_proj.weight"],
            state["out_proj.bias"],
            training=False,
            attn_mask=self.attn_mask(tensors),
            use_separate_proj_weight=self.separate,
            q_proj_weight=state.get("q_proj_weight"),
            k_proj_weight=state.get("k_proj_weight"),
            v_proj_weight=state.get("v_proj_weight"),
        )
        return {"output": to_numpy(output), "weights": to_numpy(weights)}

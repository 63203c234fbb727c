"""Attention in plain operations of PyTorch, for combinations of options that no call has.

A mask beside a window is one of them. The operations here take the shapes and the options of
pyref's other operations, and attend by one formula.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pyref.build.pinned_torch import torch
from pyref.ops.alibi import slopes
from pyref.ops.decoder import DecoderAttention
from pyref.ops.layouts import LAYOUTS, Projection, State, Widths
from pyref.ops.operation import Arrays, Precision
from pyref.ops.sdpa import ScaledDotProductAttention
from pyref.ops.tensors import to_numpy, to_torch

FUNCTION = "pyref.ops.formula.attention"
CALL = (
    "softmax over the keys that a query sees, of scores that are scaled, capped and moved by ALiBi and "
    "the bias, in this order; a sink is one more score; a query that sees no key gives zero"
)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What changes scores (B, H, L, S): a factor, a cap, a sum (H, L, S), a bias, and sinks (H)."""

    scale: float
    cap: float | None = None
    added: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    sinks: torch.Tensor | None = None


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, seen: torch.Tensor, scores: Scores
) -> torch.Tensor:
    """Return the context (B, H, L, Ev). `seen` is true where a query sees a key."""
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    logits = torch.einsum("bhle,bhse->bhls", q, k) * scores.scale
    if scores.cap:
        logits = scores.cap * torch.tanh(logits / scores.cap)
    for term in (scores.added, scores.bias):
        if term is not None:
            logits = logits + term
    logits = logits.masked_fill(~seen, -math.inf)
    if scores.sinks is not None:
        sink = scores.sinks[:, None, None].expand(*logits.shape[:-1], 1)
        logits = torch.cat([logits, sink], dim=-1)
    weights = torch.softmax(logits, dim=-1).nan_to_num(0.0)
    return torch.einsum("bhls,bhsf->bhlf", weights[..., : k.shape[2]], v)


def alibi(num_heads: int, distance: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return what ALiBi adds for distances (..., L, S)."""
    slope = torch.tensor(slopes(num_heads), dtype=dtype)
    return -slope[:, None, None] * distance.abs()


@dataclass(frozen=True, kw_only=True)
class FunctionByFormula(ScaledDotProductAttention):
    """scaled_dot_product_attention with any options."""

    @property
    def function(self) -> str:
        """The function that attends."""
        return FUNCTION

    @property
    def call(self) -> str:
        """What the formula does."""
        return CALL

    @torch.no_grad()
    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return the output (B, H, L, Ev)."""
        tensors = to_torch(inputs, precision)
        query, seen = tensors["query"], self.visible()
        key, value = (
            torch.cat([tensors[f"past_{role}"], tensors[role]], dim=-2) if self.past_len else tensors[role]
            for role in ("key", "value")
        )
        if "allow" in tensors:
            seen = seen & tensors["allow"]
        added = None
        if self.alibi:
            i, j = torch.arange(self.seq_q)[:, None], torch.arange(self.num_keys)
            distance = torch.stack([self.ahead(b, i, j) for b in range(query.shape[0])])
            added = alibi(self.num_heads, distance[:, None], query.dtype)
        scores = Scores(
            scale=self.head_dim**-0.5 if self.scale is None else self.scale,
            cap=self.softcap,
            added=added,
            bias=tensors.get("bias"),
            sinks=tensors.get("sinks"),
        )
        return {"output": to_numpy(attention(query, key, value, seen, scores))}


@dataclass(frozen=True, kw_only=True)
class LayerByFormula(DecoderAttention):
    """A layer with any options. `sequence_first` inputs and outputs are (L, B, D)."""

    sequence_first: bool = False

    @property
    def function(self) -> str:
        """The function that attends."""
        return FUNCTION

    @property
    def call(self) -> str:
        """The steps around the formula."""
        return f"projections by torch.nn.functional.linear ({self.param_layout}), {CALL}"

    @torch.no_grad()
    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return the output in the order of the inputs."""
        tensors, state = to_torch(inputs, precision), to_torch(parameters, precision)
        if self.sequence_first:
            tensors |= {role: tensors[role].transpose(0, 1) for role in ("query", "key", "value")}
        projections = split(self.param_layout, self.widths, state)
        q, k, v = self.project(tensors, state, projections)
        if self.past_len:
            k = torch.cat([tensors["past_key"], k], dim=2)
            v = torch.cat([tensors["past_value"], v], dim=2)
        context = attention(q, k, v, self.seen(tensors), self.scores(tensors, state, q.dtype))
        output = projections["output"](context.transpose(1, 2).flatten(-2))
        return {"output": to_numpy(output.transpose(0, 1) if self.sequence_first else output)}

    def seen(self, tensors: State) -> torch.Tensor:
        """Return bool, true where a query sees a key."""
        distance = self.distance()
        seen = torch.ones(1, 1, self.seq_q, self.num_keys, dtype=torch.bool)
        if self.causal:
            seen = seen & (distance <= 0)
        if self.window:
            seen = seen & (distance.abs() < self.window)
        if "padding" in tensors:
            seen = seen & ~tensors["padding"][:, None, None, :]
        return seen & ~tensors["block"] if "block" in tensors else seen

    def scores(self, tensors: State, state: State, dtype: torch.dtype) -> Scores:
        """Return what changes the scores."""
        return Scores(
            scale=self.head_dim**-0.5 if self.scale is None else self.scale,
            cap=self.softcap,
            added=alibi(self.num_heads, self.distance(), dtype) if self.alibi else None,
            bias=tensors.get("bias"),
            sinks=state["sinks"] if self.sinks else None,
        )


def split(layout: str, widths: Widths, state: State) -> Mapping[str, Projection]:
    """Return the projections of query, key, value and output by role."""
    if layout not in ("torch", "torch-separate"):
        return LAYOUTS[layout].split(widths, state)
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    together = state.get("in_proj_weight")
    weights = together.chunk(3) if together is not None else [state[name] for name in names]
    bias = state.get("in_proj_bias")
    biases = bias.chunk(3) if bias is not None else [None] * 3
    inputs = {
        role: Projection(*pair)
        for role, pair in zip(("query", "key", "value"), zip(weights, biases, strict=True), strict=True)
    }
    return inputs | {"output": Projection(state["out_proj.weight"], state.get("out_proj.bias"))}

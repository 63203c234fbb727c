"""Attention as a function: scaled_dot_product_attention, and what stands in where it cannot bend scores."""

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

import numpy as np

from pyref.alibi import slopes
from pyref.case import Arrays, Precision
from pyref.convert import store, to_numpy, to_torch
from pyref.core import with_sinks
from pyref.pinned import torch
from pyref.stream import Stream

VISIBLE = 0.60  # share of true elements in a bool mask
HIDDEN = 0.15  # share of hidden elements in a float mask
BLANK = 0.20  # share of rows in which a mask with blank rows hides every key

# `import torch` does not bring these along. Without the switch flex_attention compiles anew for every case,
# which takes seconds; with it the same operations run one by one.
causal_lower_right = import_module("torch.nn.attention.bias").causal_lower_right
flex = import_module("torch.nn.attention.flex_attention")
flex._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = True


@dataclass(frozen=True, kw_only=True)
class ScaledDotProductAttention:
    """query (B, H, L, E), key (B, Hk, S, E), value (B, Hk, S, Ev) -> output (B, H, L, Ev).

    Without `B` no tensor has the batch dimension, with `shared_query` the query alone has none. `Hk` switches
    on enable_gqa. `allow` and `bias` are the shapes of a bool mask, true takes part, and of a float mask,
    which is added to the scaled scores and in which a share of `hidden` is `hides`: those keys are to weigh
    nothing. A mask with `blank_rows` hides every key from some queries.

    The last query stands at the last key if the alignment is "lower-right", the first at the first if it is
    "top-left". `window` hides keys at a distance of that many positions or more, `softcap` c bends scores to
    c tanh(score / c), ALiBi subtracts each head's slope times the distance, and `sinks` are one more logit
    for each head, which has no value.
    """

    B: int | None
    H: int
    L: int
    S: int
    E: int
    Ev: int
    Hk: int | None = None
    shared_query: bool = False
    causal: bool = False
    alignment: Literal["top-left", "lower-right"] = "top-left"
    allow: tuple[int, ...] | None = None
    bias: tuple[int, ...] | None = None
    hides: float = -math.inf
    hidden: float = HIDDEN
    blank_rows: bool = False
    scale: float | None = None
    window: int | None = None
    softcap: float | None = None
    alibi: bool = False
    sinks: bool = False
    precision: Precision = "float32"
    query_std: float = 1.0

    name = "scaled_dot_product_attention"

    @property
    def function(self) -> str:
        """The function of PyTorch that attends, or of pyref where PyTorch has none."""
        if self.sinks:
            return "pyref.core.with_sinks"
        if self.needs_flex:
            return "torch.nn.attention.flex_attention.flex_attention"
        return "torch.nn.functional.scaled_dot_product_attention"

    @property
    def needs_flex(self) -> bool:
        """Whether scaled_dot_product_attention cannot express what is done to the scores."""
        return bool(self.window or self.softcap or self.alibi)

    @property
    def lower_right(self) -> bool:
        """Whether causality is not what is_causal means, so that it takes a mask."""
        return self.causal and self.alignment == "lower-right"

    @property
    def call(self) -> str:
        """How the function is called."""
        if self.sinks:
            clauses = ["torch.softmax over each head's scores and its sink, with -inf for hidden keys"]
        else:
            clauses = self.call_of_flex() if self.needs_flex else self.call_of_sdpa()
            clauses += ["enable_gqa=True"] if self.Hk else []
        if self.Hk:
            clauses.append(f"query head h takes key and value head h // {self.H // self.Hk}")
        if self.precision == "float64":
            clauses.append("the output is computed in float32 from the inputs rounded to float32")
        blank = self.blank_rows and self.hides == -math.inf
        return ", ".join(
            [*clauses, "a query that sees no key gives zero" if blank else "every query sees a key"]
        )

    def call_of_sdpa(self) -> list[str]:
        """Say how scaled_dot_product_attention is called."""
        clauses = ["math kernel", "dropout_p=0", f"is_causal={self.causal and not self.lower_right}"]
        clauses.append(f"scale={self.scale}")
        if self.allow:
            clauses.append("attn_mask is bool (true takes part)")
        if self.bias:
            clauses.append("attn_mask is float (added to the scaled scores)")
        if self.lower_right:
            clauses.append("attn_mask is torch.nn.attention.bias.causal_lower_right(L, S)")
        elif self.causal:
            clauses.append("query i sees keys 0 to i, whatever L and S are (aligned top-left)")
        return clauses

    def call_of_flex(self) -> list[str]:
        """Say how flex_attention is called."""
        clauses = ["eager mode, not compiled", f"scale={self.scale}"]
        if self.causal or self.window:
            clauses.append("block_mask from a mask_mod for causality and window")
        if self.softcap or self.alibi:
            clauses.append("score_mod caps the scaled scores, then adds ALiBi")
        return clauses

    @property
    def config(self) -> dict:
        """Causality and scale, null being PyTorch's default of 1/sqrt(E), and whatever else there is."""
        always = {
            "causality": self.alignment if self.causal else "none",
            "scale": self.scale,
            "empty_row": "zero",
        }
        extras = {
            "precision": (self.precision, "float32"),
            "enable_gqa": (self.Hk is not None, False),
            "window": (self.window, None),
            "softcap": (self.softcap, None),
            "alibi": (self.alibi, False),
        }
        return always | {name: value for name, (value, default) in extras.items() if value != default}

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return query, key and value, of unit variance but for a hot query, and any masks and sinks."""
        dtype = np.float64 if self.precision == "float64" else np.float32
        batch = () if self.B is None else (self.B,)
        query_batch = () if self.shared_query else batch
        shapes = {
            "query": (*query_batch, self.H, self.L, self.E),
            "key": (*batch, self.Hk or self.H, self.S, self.E),
            "value": (*batch, self.Hk or self.H, self.S, self.Ev),
        }
        stds = {"query": self.query_std, "key": 1.0, "value": 1.0}
        inputs = {role: stream.normal(role, shape, stds[role], dtype) for role, shape in shapes.items()}
        if self.bias:
            inputs["bias"] = self.draw_bias(stream)
        inputs = {role: store(array, self.precision) for role, array in inputs.items()}
        if self.allow:
            inputs["allow"] = self.draw_allow(stream)
        if self.sinks:
            inputs["sinks"] = stream.normal("sinks", (self.H,))
        return inputs

    def draw_allow(self, stream: Stream) -> np.ndarray:
        """Return a bool mask, true takes part."""
        return stream.chance("allow", self.allow, VISIBLE) & ~self.draw_blank(stream, self.allow)

    def draw_bias(self, stream: Stream) -> np.ndarray:
        """Return a float mask of unit variance in which some elements hide a key."""
        hidden = stream.chance("bias hidden", self.bias, self.hidden) | self.draw_blank(stream, self.bias)
        return np.where(hidden, np.float32(self.hides), stream.normal("bias", self.bias))

    def draw_blank(self, stream: Stream, shape: tuple[int, ...]) -> np.ndarray:
        """Return bool, true in the rows of a mask that hide every key, with one element for each row."""
        rows = (*shape[:-1], 1)
        return stream.chance("blank", rows, BLANK) if self.blank_rows else np.zeros(rows, dtype=bool)

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return nothing: a function has no parameters."""
        return {}

    @torch.no_grad()
    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return PyTorch's output (B, H, L, Ev)."""
        tensors = to_torch(inputs, precision)
        roles = (tensors["query"], tensors["key"], tensors["value"])
        if self.sinks:
            output = with_sinks(*roles, self.visible(), self.scale or self.E**-0.5, tensors["sinks"])
        elif self.needs_flex:
            output = self.through_flex(*roles)
        else:
            output = self.through_sdpa(*roles, tensors.get("allow", tensors.get("bias")))
        return {"output": to_numpy(output)}

    def through_sdpa(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Call scaled_dot_product_attention, which takes a mask or is_causal, never both."""
        return torch.nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=causal_lower_right(self.L, self.S) if self.lower_right else mask,
            is_causal=self.causal and not self.lower_right,
            scale=self.scale,
            enable_gqa=self.Hk is not None,
        )

    def through_flex(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Call flex_attention, which is given what to do with a score and which keys a query sees."""
        steep = torch.tensor(slopes(self.H), dtype=query.dtype)

        def score_mod(score, b, h, i, j):
            if self.softcap:
                score = self.softcap * torch.tanh(score / self.softcap)
            if self.alibi:
                score = score - steep[h] * (self.first + i - j).abs()
            return score

        block_mask = flex.create_block_mask(
            lambda b, h, i, j: self.sees(i, j), B=None, H=None, Q_LEN=self.L, KV_LEN=self.S, device="cpu"
        )
        return flex.flex_attention(
            query, key, value, score_mod, block_mask, self.scale, enable_gqa=self.Hk is not None
        )

    @property
    def first(self) -> int:
        """The position of the first query among the keys."""
        return self.S - self.L if self.alignment == "lower-right" else 0

    def sees(self, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        """Return bool, true where causality and window let query i see key j."""
        ahead = j - (self.first + i)
        seen = torch.ones_like(ahead, dtype=torch.bool)
        if self.causal:
            seen = seen & (ahead <= 0)
        if self.window:
            seen = seen & (ahead.abs() < self.window)
        return seen

    def visible(self) -> torch.Tensor:
        """Return bool (1, 1, L, S), true where a query sees a key."""
        return self.sees(torch.arange(self.L)[:, None], torch.arange(self.S))[None, None]

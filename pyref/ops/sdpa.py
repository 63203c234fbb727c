"""scaled_dot_product_attention, and flex_attention or sinks where it cannot change the scores."""

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.ops.alibi import slopes
from pyref.ops.kernels import WITH_SINKS, with_sinks
from pyref.ops.operation import Arrays, Precision
from pyref.ops.tensors import stored, to_numpy, to_torch

VISIBLE = 0.60  # share of true elements in a bool mask
MASKED = 0.15  # share of masked elements in a float mask
FULLY_MASKED = 0.20  # share of fully masked rows in a mask that has some
ONNX_TYPES = {"float32": 1, "float16": 10, "float64": 11, "bfloat16": 16}  # of TensorProto.DataType

# `import torch` imports neither module. Without the switch flex_attention compiles anew for every
# case, which takes seconds. With it the same operations run one by one.
causal_lower_right = import_module("torch.nn.attention.bias").causal_lower_right
flex = import_module("torch.nn.attention.flex_attention")
flex._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = True


@dataclass(frozen=True, kw_only=True)
class ScaledDotProductAttention:
    """query (B, H, L, E), key (B, Hk, S, E), value (B, Hk, S, Ev) -> output (B, H, L, Ev).

    Without `batch` no tensor has a batch dimension. With `shared_query` the query alone has none.
    `num_kv_heads` turns on enable_gqa.

    `allow` is the shape of a bool mask, true for a key that takes part. `bias` is the shape of a
    float mask, added to the scaled scores. A share `masked_share` of it is `masked_value`, so that
    those keys get no weight. With `fully_masked_rows` either mask hides all keys from some queries.

    "lower-right" aligns the last query with the last key, "top-left" the first with the first.
    `window` hides keys at a distance of that many positions or more. `softcap` c turns a score into
    c tanh(score / c). ALiBi subtracts each head's slope times the distance. `sinks` adds one more
    logit per head, which has no value.

    `past_len` keys and values come before the `seq_kv` new ones. `key_lengths` is the number of
    valid keys of each batch element, which "lower-right" aligns the last query with.
    `first_positions` is the key at which query 0 of each batch element stands. ONNX's operator
    Attention has all three, and `softmax_precision`, the type of the scores and weights. The truth
    is not rounded to it: it decides how far from the truth an output may be.
    """

    batch: int | None
    num_heads: int
    seq_q: int
    seq_kv: int
    head_dim: int
    v_head_dim: int
    num_kv_heads: int | None = None
    shared_query: bool = False
    causal: bool = False
    alignment: Literal["top-left", "lower-right"] = "top-left"
    allow: tuple[int, ...] | None = None
    bias: tuple[int, ...] | None = None
    masked_value: float = -math.inf
    masked_share: float = MASKED
    fully_masked_rows: bool = False
    scale: float | None = None
    window: int | None = None
    softcap: float | None = None
    alibi: bool = False
    sinks: bool = False
    past_len: int = 0
    key_lengths: tuple[int, ...] | None = None
    first_positions: tuple[int, ...] | None = None
    softmax_precision: Precision | None = None
    precision: Precision = "float32"
    query_std: float = 1.0

    name = "scaled_dot_product_attention"

    @property
    def function(self) -> str:
        """PyTorch's function that attends, or pyref's if PyTorch has none."""
        if self.sinks:
            return WITH_SINKS
        if self.softmax_precision:
            return "torch.onnx.ops.attention"
        if self.needs_flex:
            return "torch.nn.attention.flex_attention.flex_attention"
        return "torch.nn.functional.scaled_dot_product_attention"

    @property
    def needs_flex(self) -> bool:
        """Whether scaled_dot_product_attention cannot express what changes the scores."""
        return bool(self.window or self.softcap or self.alibi)

    @property
    def placed(self) -> bool:
        """Whether a past, lengths or positions decide what a query sees: a mask expresses them."""
        return bool(self.past_len or self.key_lengths or self.first_positions)

    @property
    def num_keys(self) -> int:
        """The number of keys, in the past and new."""
        return self.past_len + self.seq_kv

    @property
    def lower_right(self) -> bool:
        """Whether causality needs a mask, because is_causal aligns top-left."""
        return self.causal and self.alignment == "lower-right"

    @property
    def call(self) -> str:
        """The arguments of the function and their consequences."""
        if self.sinks:
            clauses = ["torch.softmax over each head's scores and its sink, with -inf for hidden keys"]
        elif self.softmax_precision:
            clauses = [f"scale={self.scale}", f"softmax_precision={self.softmax_precision}"]
            clauses += ["the truth has a softmax in float64"]
            clauses += ["attn_mask is bool (true takes part), from the positions"] if self.causal else []
        else:
            clauses = self.flex_clauses() if self.needs_flex else self.sdpa_clauses()
            clauses += ["enable_gqa=True"] if self.num_kv_heads else []
        if self.num_kv_heads:
            group = self.num_heads // self.num_kv_heads
            clauses.append(f"query head h takes key and value head h // {group}")
        if self.past_len:
            clauses.append(f"{self.past_len} past keys and values come before the new ones")
        if self.key_lengths:
            clauses.append("keys from key_lengths on are hidden")
        if self.precision == "float64":
            clauses.append("the output is computed in float32 from the inputs rounded to float32")
        hides_all = self.key_lengths and not self.visible().any(dim=-1).all()
        zero = hides_all or (self.fully_masked_rows and self.masked_value == -math.inf)
        clauses.append("a query that sees no key gives zero" if zero else "every query sees a key")
        return ", ".join(clauses)

    def sdpa_clauses(self) -> list[str]:
        """Return the arguments of scaled_dot_product_attention, one clause each."""
        by_flag = self.causal and not self.lower_right and not self.placed
        clauses = ["math kernel", "dropout_p=0", f"is_causal={by_flag}", f"scale={self.scale}"]
        if self.placed:
            return [*clauses, "attn_mask is bool (true takes part), from the positions of queries and keys"]
        if self.allow:
            clauses.append("attn_mask is bool (true takes part)")
        if self.bias:
            clauses.append("attn_mask is float (added to the scaled scores)")
        if self.lower_right:
            clauses.append("attn_mask is torch.nn.attention.bias.causal_lower_right(L, S)")
        elif self.causal:
            clauses.append("query i sees keys 0 to i, whatever L and S are (aligned top-left)")
        return clauses

    def flex_clauses(self) -> list[str]:
        """Return the arguments of flex_attention, one clause each."""
        clauses = ["eager mode, not compiled", f"scale={self.scale}"]
        if self.causal or self.window:
            clauses.append("block_mask from a mask_mod for causality and window")
        if self.softcap or self.alibi:
            clauses.append("score_mod caps the scaled scores, then adds ALiBi")
        return clauses

    @property
    def config(self) -> dict:
        """Causality, scale (None for PyTorch's default 1/sqrt(E)) and every option in use."""
        always = {
            "causality": self.alignment if self.causal else "none",
            "scale": self.scale,
            "empty_row": "zero",
        }
        extras = {
            "precision": (self.precision, "float32"),
            "enable_gqa": (self.num_kv_heads is not None, False),
            "window": (self.window, None),
            "softcap": (self.softcap, None),
            "alibi": (self.alibi, False),
            "softmax_precision": (self.softmax_precision, None),
        }
        return always | {name: value for name, (value, default) in extras.items() if value != default}

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return query, key, value, masks and sinks, of unit variance but for `query_std`."""
        dtype = np.float64 if self.precision == "float64" else np.float32
        batch = () if self.batch is None else (self.batch,)
        query_batch = () if self.shared_query else batch
        kv_heads = self.num_kv_heads or self.num_heads
        shapes = {
            "query": (*query_batch, self.num_heads, self.seq_q, self.head_dim),
            "key": (*batch, kv_heads, self.seq_kv, self.head_dim),
            "value": (*batch, kv_heads, self.seq_kv, self.v_head_dim),
        }
        stds = {"query": self.query_std, "key": 1.0, "value": 1.0}
        inputs = {role: stream.normal(role, shape, stds[role], dtype) for role, shape in shapes.items()}
        if self.bias:
            inputs["bias"] = self.draw_bias(stream)
        if self.past_len:
            for role in ("key", "value"):
                shape = (*shapes[role][:-2], self.past_len, shapes[role][-1])
                inputs[f"past_{role}"] = stream.normal(f"past_{role}", shape, 1.0, dtype)
        inputs = {role: stored(array, self.precision) for role, array in inputs.items()}
        for role in ("key_lengths", "first_positions"):
            if getattr(self, role):
                inputs[role] = np.array(getattr(self, role), dtype=np.int64)
        if self.allow:
            inputs["allow"] = self.draw_allow(stream)
        if self.sinks:
            inputs["sinks"] = stream.normal("sinks", (self.num_heads,))
        return inputs

    def draw_allow(self, stream: Stream) -> np.ndarray:
        """Return a bool mask, true for a key that takes part."""
        return stream.chance("allow", self.allow, VISIBLE) & ~self.draw_fully_masked(stream, self.allow)

    def draw_bias(self, stream: Stream) -> np.ndarray:
        """Return a float mask of unit variance, `masked_value` where it hides a key."""
        masked = stream.chance("bias hidden", self.bias, self.masked_share)
        masked = masked | self.draw_fully_masked(stream, self.bias)
        return np.where(masked, np.float32(self.masked_value), stream.normal("bias", self.bias))

    def draw_fully_masked(self, stream: Stream, shape: tuple[int, ...]) -> np.ndarray:
        """Return bool (..., L, 1) for a mask (..., L, S), true for a fully masked row."""
        rows = (*shape[:-1], 1)
        if not self.fully_masked_rows:
            return np.zeros(rows, dtype=bool)
        return stream.chance("blank", rows, FULLY_MASKED)  # another name would draw other bits

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return an empty state dict: a function has no parameters."""
        return {}

    @torch.no_grad()
    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return PyTorch's output (B, H, L, Ev)."""
        tensors = to_torch(inputs, precision)
        key, value = (
            torch.cat([tensors[f"past_{role}"], tensors[role]], dim=-2) if self.past_len else tensors[role]
            for role in ("key", "value")
        )
        qkv = (tensors["query"], key, value)
        if self.sinks:
            scale = self.scale or self.head_dim**-0.5
            output = with_sinks(*qkv, self.visible(), scale, tensors["sinks"])
        elif self.softmax_precision:
            output = self.through_onnx(*qkv, tensors.get("allow", tensors.get("bias")), precision)
        elif self.needs_flex:
            output = self.through_flex(*qkv)
        elif self.placed:
            output = self.through_sdpa(*qkv, self.visible())
        else:
            output = self.through_sdpa(*qkv, tensors.get("allow", tensors.get("bias")))
        return {"output": to_numpy(output)}

    def through_sdpa(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Call scaled_dot_product_attention, which takes either a mask or is_causal."""
        aligned = self.lower_right and not self.placed
        return torch.nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=causal_lower_right(self.seq_q, self.seq_kv) if aligned else mask,
            is_causal=self.causal and not self.lower_right and not self.placed,
            scale=self.scale,
            enable_gqa=self.num_kv_heads is not None,
        )

    def through_onnx(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        precision: Precision,
    ) -> torch.Tensor:
        """Call PyTorch's function for the operator of ONNX, in float64 throughout for the truth."""
        number = ONNX_TYPES["float64" if precision == "float64" else self.softmax_precision]
        return torch.onnx.ops.attention(
            query,
            key,
            value,
            self.visible() if self.causal or self.placed else mask,
            scale=self.scale,
            softmax_precision=number,
        )[0]

    def through_flex(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Call flex_attention with a score_mod for softcap and ALiBi, and a block mask."""
        slope = torch.tensor(slopes(self.num_heads), dtype=query.dtype)

        def score_mod(score, b, h, i, j):
            if self.softcap:
                score = self.softcap * torch.tanh(score / self.softcap)
            if self.alibi:
                score = score - slope[h] * self.ahead(b, i, j).abs()
            return score

        block_mask = flex.create_block_mask(
            lambda b, h, i, j: self.sees(b, i, j),
            B=self.batch if self.placed else None,
            H=None,
            Q_LEN=self.seq_q,
            KV_LEN=self.num_keys,
            device="cpu",
        )
        return flex.flex_attention(
            query, key, value, score_mod, block_mask, self.scale, enable_gqa=self.num_kv_heads is not None
        )

    @property
    def firsts(self) -> torch.Tensor:
        """The position of the first query among the keys: (B), or (1) if all elements agree."""
        if self.first_positions:
            return torch.tensor(self.first_positions)
        if self.alignment == "lower-right":
            return torch.tensor(self.key_lengths or (self.num_keys,)) - self.seq_q
        return torch.tensor((self.past_len,))

    def ahead(self, b: torch.Tensor | int, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        """Return the position of key j minus the position of query i of batch element b."""
        return j - (self.firsts[b % len(self.firsts)] + i)

    def sees(self, b: torch.Tensor | int, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        """Return bool, true where causality, window and length let query i see key j."""
        ahead = self.ahead(b, i, j)
        seen = torch.ones_like(ahead, dtype=torch.bool)
        if self.causal:
            seen = seen & (ahead <= 0)
        if self.window:
            seen = seen & (ahead.abs() < self.window)
        if self.key_lengths:
            seen = seen & (j < torch.tensor(self.key_lengths)[b])
        return seen

    def visible(self) -> torch.Tensor:
        """Return bool (B or 1, 1, L, S), true where a query sees a key."""
        elements = len(self.key_lengths or self.first_positions or (0,))
        i, j = torch.arange(self.seq_q)[:, None], torch.arange(self.num_keys)
        return torch.stack([self.sees(b, i, j) for b in range(elements)])[:, None]

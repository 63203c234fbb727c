"""The attention layer of decoder models (Llama, Qwen, Gemma, GPT-NeoX, gpt-oss, Bloom) and T5."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.ops import kernels
from pyref.ops.alibi import slopes
from pyref.ops.layouts import LAYOUTS, ROLES, Projection, State, Widths, stds
from pyref.ops.operation import Arrays, Precision
from pyref.ops.padding import Padding
from pyref.ops.rope import Rope
from pyref.ops.tensors import to_numpy, to_torch

NORM_STD = 0.3  # of norm weights, around 1
RELATIVE_STD = 0.5  # of relative biases; scores have 1


@dataclass(frozen=True, kw_only=True)
class DecoderAttention:
    """query (B, L, D), key and value (B, S, kdim) -> output (B, L, D).

    Without `seq_kv` it is self-attention. A cache holds `past_len` keys and values (B, Hk, P, E)
    before the new ones, and `padding` covers it, too. Query i stands at position past_len + i, and
    the first key of the cache at position 0.

    `qk_norm` is the epsilon of an RMS norm of each head's queries and keys. `window` hides keys at
    a distance of that many positions or more. `softcap` c turns a score into c tanh(score / c).
    `relative_bias` R adds a learned bias by distance, and R stands for every larger distance.
    """

    batch: int
    seq_q: int
    embed_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    seq_kv: int | None = None
    kdim: int | None = None
    past_len: int = 0
    param_layout: str = "llama"
    bias: bool = False
    output_bias: bool | None = None
    causal: bool = True
    padding: Padding | None = None
    scale: float | None = None
    rope: Rope | None = None
    qk_norm: float | None = None
    window: int | None = None
    softcap: float | None = None
    alibi: bool = False
    sinks: bool = False
    relative_bias: int | None = None

    name = "multi_head_attention"
    precision = "float32"

    @property
    def function(self) -> str:
        """The function that attends. The steps before it are pyref's, in PyTorch's operations."""
        if self.sinks:
            return kernels.WITH_SINKS
        if self.needs_flex:
            return "torch.nn.attention.flex_attention.flex_attention"
        return "torch.nn.functional.scaled_dot_product_attention"

    @property
    def call(self) -> str:
        """The steps around the function and its arguments."""
        layout = f"state dict as in pyref.ops.layouts ({self.param_layout})"
        clauses = [f"projections by torch.nn.functional.linear, {layout}"]
        if self.qk_norm:
            clauses.append("torch.nn.functional.rms_norm on each head's queries and keys")
        if self.rope:
            clauses.append("pyref.ops.rope on queries and new keys, angles in the dtype of the run")
        if self.past_len:
            clauses.append("cached keys, already normed and rotated, come before the new ones")
        if self.sinks:
            clauses.append("each head's sink is one more logit in torch.softmax")
        elif self.needs_flex:
            clauses.append("flex_attention in eager mode with a score_mod, which makes hidden scores -inf")
        else:
            clauses.append("scaled_dot_product_attention (math kernel) with enable_gqa")
            clauses.append("attn_mask is bool (true takes part), None where every key is seen")
        return ", ".join([*clauses, "a query that sees no key has a context of zero"])

    @property
    def config(self) -> dict:
        """The fields of every layer, and every option of this one that a plain layer lacks."""
        return {
            "embed_dim": self.embed_dim,
            "num_heads": self.num_heads,
            "kdim": self.widths.kdim,
            "vdim": self.widths.kdim,
            "bias": self.bias,
            "keys": self.param_layout,
            "causality": "top-left" if self.causal else "none",
            "empty_row": "zero",
        } | {name: value for name, (value, default) in self.extras().items() if value != default}

    def extras(self) -> dict[str, tuple]:
        """Return the optional fields of case.json: (value, the default, which is not written)."""
        return {
            "output_bias": (self.biased_output, self.bias),
            "num_kv_heads": (self.num_kv_heads, self.num_heads),
            "head_dim": (self.head_dim, self.embed_dim / self.num_heads),
            "scale": (self.scale, None),
            "rope": (self.rope and self.rope.config, None),
            "qk_norm": (self.qk_norm and {"eps": self.qk_norm}, None),
            "window": (self.window, None),
            "softcap": (self.softcap, None),
            "alibi": (self.alibi, False),
            "sinks": (self.sinks, False),
            "relative_bias": (self.relative_bias, None),
        }

    @property
    def widths(self) -> Widths:
        """The widths of the layer's projections."""
        return Widths(
            embed_dim=self.embed_dim,
            kdim=self.kdim or self.embed_dim,
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads,
            head_dim=self.head_dim,
        )

    @property
    def biased_output(self) -> bool:
        """Whether the output projection has a bias."""
        return self.bias if self.output_bias is None else self.output_bias

    @property
    def needs_flex(self) -> bool:
        """Whether scaled_dot_product_attention cannot express what changes the scores."""
        return bool(self.softcap or self.alibi or self.relative_bias)

    @property
    def num_keys(self) -> int:
        """The number of keys, in the cache and in the input."""
        return self.past_len + (self.seq_kv or self.seq_q)

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return inputs of unit variance, the padding, and a cache as large as projected keys."""
        inputs = {"query": stream.normal("query", (self.batch, self.seq_q, self.embed_dim))}
        inputs["key"] = inputs["value"] = inputs["query"]
        if self.seq_kv:
            memory = stream.normal("key", (self.batch, self.seq_kv, self.widths.kdim))
            inputs["key"] = inputs["value"] = memory
        if self.padding:
            inputs["padding"] = self.padding.mask(self.num_keys)
        if self.past_len:
            shape = (self.batch, self.num_kv_heads, self.past_len, self.head_dim)
            inputs["past_key"] = stream.normal("past_key", shape)
            inputs["past_value"] = stream.normal("past_value", shape, 1 / math.sqrt(3))
        return inputs

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return weights, non-zero biases, norm weights around 1, sinks and relative biases."""
        biased = set(ROLES) if self.bias else set()
        biased |= {"output"} if self.biased_output else set()
        arrays = LAYOUTS[self.param_layout].draw(self.widths, stream, stds(self.widths, self.scale), biased)
        if self.qk_norm:
            for name in ("q_norm.weight", "k_norm.weight"):
                arrays[name] = 1 + stream.normal(name, (self.head_dim,), NORM_STD)
        if self.sinks:
            arrays["sinks"] = stream.normal("sinks", (self.num_heads,))
        if self.relative_bias:
            name, shape = "relative_bias.weight", (2 * self.relative_bias + 1, self.num_heads)
            arrays[name] = stream.normal(name, shape, RELATIVE_STD)
        return arrays

    @torch.no_grad()
    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return the output (B, L, D)."""
        tensors, state = to_torch(inputs, precision), to_torch(parameters, precision)
        projections = LAYOUTS[self.param_layout].split(self.widths, state)
        q, k, v = self.project(tensors, state, projections)
        if self.past_len:
            k = torch.cat([tensors["past_key"], k], dim=2)
            v = torch.cat([tensors["past_value"], v], dim=2)
        context = self.attend(q, k, v, self.allow(tensors.get("padding")), state)
        return {"output": to_numpy(projections["output"](context.transpose(1, 2).flatten(-2)))}

    def project(
        self, tensors: State, state: State, projections: Mapping[str, Projection]
    ) -> tuple[torch.Tensor, ...]:
        """Return queries (B, H, L, E), new keys and values (B, Hk, S, E), normed and rotated."""
        q, k, v = (
            projections[role](tensors[role]).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for role in ROLES
        )
        if self.qk_norm:
            shape = (self.head_dim,)
            q = torch.nn.functional.rms_norm(q, shape, state["q_norm.weight"], self.qk_norm)
            k = torch.nn.functional.rms_norm(k, shape, state["k_norm.weight"], self.qk_norm)
        if self.rope:
            q, k = self.rope.rotate(q, first=self.past_len), self.rope.rotate(k, first=self.past_len)
        return q, k, v

    def attend(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        allow: torch.Tensor | None,
        state: State,
    ) -> torch.Tensor:
        """Return the context (B, H, L, E)."""
        scale = 1 / math.sqrt(self.head_dim) if self.scale is None else self.scale
        if self.sinks:
            return kernels.with_sinks(q, k, v, allow, scale, state["sinks"])
        if self.needs_flex:
            return kernels.flex(q, k, v, allow, scale, self.score_mod(state, q.dtype))
        return kernels.sdpa(q, k, v, allow, scale)

    def allow(self, padding: torch.Tensor | None) -> torch.Tensor | None:
        """Return bool (B or 1, 1, L, S), true where a query sees a key; None if all are seen."""
        distance = self.distance()
        allow = torch.ones(1, 1, self.seq_q, self.num_keys, dtype=torch.bool)
        if self.causal:
            allow = allow & (distance <= 0)
        if self.window:
            allow = allow & (distance.abs() < self.window)
        if padding is not None:
            allow = allow & ~padding[:, None, None, :]
        return None if allow.all() else allow

    def distance(self) -> torch.Tensor:
        """Return (L, S): the position of the key minus the position of the query."""
        queries = torch.arange(self.past_len, self.past_len + self.seq_q)
        return torch.arange(self.num_keys) - queries[:, None]

    def score_mod(self, state: State, dtype: torch.dtype) -> kernels.ScoreMod:
        """Return the score_mod of softcap, ALiBi and relative bias, applied in this order."""
        distance = self.distance()
        added = torch.zeros(self.num_heads, self.seq_q, self.num_keys, dtype=dtype)
        if self.alibi:
            slope = torch.tensor(slopes(self.num_heads), dtype=dtype)
            added = added - slope[:, None, None] * distance.abs()
        if self.relative_bias:
            bucket = distance.clamp(-self.relative_bias, self.relative_bias) + self.relative_bias
            added = added + state["relative_bias.weight"][bucket].permute(2, 0, 1)

        def modify(score, b, h, i, j):
            if self.softcap:
                score = self.softcap * torch.tanh(score / self.softcap)
            return score + added[h, i, j]

        return modify

"""The attention layer of decoder models (Llama, Qwen, Gemma, GPT-NeoX, gpt-oss, Bloom) and of T5."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pyref import core
from pyref.alibi import slopes
from pyref.case import Arrays, Precision
from pyref.convert import to_numpy, to_torch
from pyref.layouts import LAYOUTS, ROLES, Projection, State, Widths, stds
from pyref.padding import Padding
from pyref.pinned import torch
from pyref.rope import Rope
from pyref.stream import Stream

NORM_STD = 0.3  # of the weights of a norm, around 1
RELATIVE_STD = 0.5  # of a relative bias, beside scores of 1


@dataclass(frozen=True, kw_only=True)
class DecoderAttention:
    """query (B, L, D), key and value (B, S, kdim) -> output (B, L, D).

    Without `S` it is self-attention, after `P` keys and values in a cache (B, Hk, P, E). `padding` covers
    the cache, too. A query stands at position P + i, a key at j, the first of the cache at 0.

    `qk_norm` is the epsilon of an RMS norm of each head's queries and keys. `window` hides keys at a distance
    of that many positions or more, `softcap` c bends scores to c tanh(score / c), `relative_bias` R is added
    by distance, where R stands for all that is farther.
    """

    B: int
    L: int
    D: int
    H: int
    Hk: int
    E: int
    S: int | None = None
    kdim: int | None = None
    P: int = 0
    layout: str = "llama"
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
        """The function that attends; the steps before it are pyref's own, in PyTorch's operations."""
        if self.sinks:
            return "pyref.core.with_sinks"
        if self.bends_scores:
            return "torch.nn.attention.flex_attention.flex_attention"
        return "torch.nn.functional.scaled_dot_product_attention"

    @property
    def call(self) -> str:
        """What stands around the function, and how it is called."""
        clauses = [
            f"projections by torch.nn.functional.linear, state dict as in pyref.layouts ({self.layout})"
        ]
        if self.qk_norm:
            clauses.append("torch.nn.functional.rms_norm on each head's queries and keys")
        if self.rope:
            clauses.append("pyref.rope on queries and new keys, angles in the dtype of the run")
        if self.P:
            clauses.append("cached keys, already normed and rotated, come before the new ones")
        if self.sinks:
            clauses.append("each head's sink is one more logit in torch.softmax")
        elif self.bends_scores:
            clauses.append("flex_attention in eager mode with a score_mod, which makes hidden scores -inf")
        else:
            clauses.append("scaled_dot_product_attention (math kernel) with enable_gqa")
            clauses.append("attn_mask is bool (true takes part), None where every key is seen")
        return ", ".join([*clauses, "a query that sees no key has a context of zero"])

    @property
    def config(self) -> dict:
        """What every layer says, and then whatever this one has beyond a plain one."""
        return {
            "embed_dim": self.D,
            "num_heads": self.H,
            "kdim": self.widths.kdim,
            "vdim": self.widths.kdim,
            "bias": self.bias,
            "keys": self.layout,
            "causality": "top-left" if self.causal else "none",
            "empty_row": "zero",
        } | {name: value for name, (value, default) in self.extras().items() if value != default}

    def extras(self) -> dict[str, tuple]:
        """Return the further fields of case.json, each with the value that is not written."""
        return {
            "output_bias": (self.biased_output, self.bias),
            "num_kv_heads": (self.Hk, self.H),
            "head_dim": (self.E, self.D / self.H),
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
        return Widths(D=self.D, kdim=self.kdim or self.D, H=self.H, Hk=self.Hk, E=self.E)

    @property
    def biased_output(self) -> bool:
        """Whether the output projection has a bias."""
        return self.bias if self.output_bias is None else self.output_bias

    @property
    def bends_scores(self) -> bool:
        """Whether scores change in a way that scaled_dot_product_attention cannot express."""
        return bool(self.softcap or self.alibi or self.relative_bias)

    @property
    def keys(self) -> int:
        """The number of keys that a query could see."""
        return self.P + (self.S or self.L)

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return inputs of unit variance, a cache like what the layer projects them to, and the padding."""
        inputs = {"query": stream.normal("query", (self.B, self.L, self.D))}
        inputs["key"] = inputs["value"] = inputs["query"]
        if self.S:
            inputs["key"] = inputs["value"] = stream.normal("key", (self.B, self.S, self.widths.kdim))
        if self.padding:
            inputs["padding"] = self.padding.mask(self.keys)
        if self.P:
            shape = (self.B, self.Hk, self.P, self.E)
            inputs["past_key"] = stream.normal("past_key", shape)
            inputs["past_value"] = stream.normal("past_value", shape, 1 / math.sqrt(3))
        return inputs

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return weights, non-zero biases, norms around 1, sinks like scores and relative biases."""
        biased = set(ROLES) if self.bias else set()
        biased |= {"output"} if self.biased_output else set()
        arrays = LAYOUTS[self.layout].draw(self.widths, stream, stds(self.widths, self.scale), biased)
        if self.qk_norm:
            for name in ("q_norm.weight", "k_norm.weight"):
                arrays[name] = 1 + stream.normal(name, (self.E,), NORM_STD)
        if self.sinks:
            arrays["sinks"] = stream.normal("sinks", (self.H,))
        if self.relative_bias:
            name, shape = "relative_bias.weight", (2 * self.relative_bias + 1, self.H)
            arrays[name] = stream.normal(name, shape, RELATIVE_STD)
        return arrays

    @torch.no_grad()
    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return the output (B, L, D)."""
        tensors, state = to_torch(inputs, precision), to_torch(parameters, precision)
        projections = LAYOUTS[self.layout].split(self.widths, state)
        q, k, v = self.project(tensors, state, projections)
        if self.P:
            k = torch.cat([tensors["past_key"], k], dim=2)
            v = torch.cat([tensors["past_value"], v], dim=2)
        context = self.attend(q, k, v, self.allow(tensors.get("padding")), state)
        return {"output": to_numpy(projections["output"](context.transpose(1, 2).flatten(-2)))}

    def project(
        self, tensors: State, state: State, projections: Mapping[str, Projection]
    ) -> tuple[torch.Tensor, ...]:
        """Return queries (B, H, L, E), keys and values (B, Hk, S, E) of the new tokens, as they attend."""
        q, k, v = (
            projections[role](tensors[role]).unflatten(-1, (-1, self.E)).transpose(1, 2) for role in ROLES
        )
        if self.qk_norm:
            q = torch.nn.functional.rms_norm(q, (self.E,), state["q_norm.weight"], self.qk_norm)
            k = torch.nn.functional.rms_norm(k, (self.E,), state["k_norm.weight"], self.qk_norm)
        if self.rope:
            q, k = self.rope.rotate(q, first=self.P), self.rope.rotate(k, first=self.P)
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
        scale = 1 / math.sqrt(self.E) if self.scale is None else self.scale
        if self.sinks:
            return core.with_sinks(q, k, v, allow, scale, state["sinks"])
        if self.bends_scores:
            return core.flex(q, k, v, allow, scale, self.score(state, q.dtype))
        return core.sdpa(q, k, v, allow, scale)

    def allow(self, padding: torch.Tensor | None) -> torch.Tensor | None:
        """Return bool (B or 1, 1, L, keys), true where a query may see a key; None where all are seen."""
        distance = self.distance()
        allow = torch.ones(1, 1, self.L, self.keys, dtype=torch.bool)
        if self.causal:
            allow = allow & (distance <= 0)
        if self.window:
            allow = allow & (distance.abs() < self.window)
        if padding is not None:
            allow = allow & ~padding[:, None, None, :]
        return None if allow.all() else allow

    def distance(self) -> torch.Tensor:
        """Return (L, keys): by how many positions a key comes after a query."""
        return torch.arange(self.keys) - torch.arange(self.P, self.P + self.L)[:, None]

    def score(self, state: State, dtype: torch.dtype) -> core.Score:
        """Return what flex_attention does to a scaled score, in the order of the fields."""
        distance = self.distance()
        added = torch.zeros(self.H, self.L, self.keys, dtype=dtype)
        if self.alibi:
            added = added - torch.tensor(slopes(self.H), dtype=dtype)[:, None, None] * distance.abs()
        if self.relative_bias:
            bucket = distance.clamp(-self.relative_bias, self.relative_bias) + self.relative_bias
            added = added + state["relative_bias.weight"][bucket].permute(2, 0, 1)

        def modify(score, b, h, i, j):
            if self.softcap:
                score = self.softcap * torch.tanh(score / self.softcap)
            return score + added[h, i, j]

        return modify

"""The layer torch.nn.MultiheadAttention."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.ops.operation import Arrays, Precision
from pyref.ops.padding import Padding
from pyref.ops.parameters import draw
from pyref.ops.tensors import to_numpy, to_torch

BLOCKED = 0.30  # share of true elements in a bool mask
MASKED = 0.15  # share of -inf elements in a float mask


@dataclass(frozen=True, kw_only=True)
class MultiheadAttention:
    """query (B, L, D), key (B, S, kdim), value (B, S, vdim) -> output (B, L, D).

    Without `seq_kv` key and value are the query. With it they are one tensor if their widths agree,
    otherwise two. Without `batch` no tensor has a batch dimension. "sequence-first" puts the batch
    second.

    `bool_mask_ndim` asks for a bool mask, true for a key that is ignored. `float_mask_ndim` asks
    for a float mask, added to the scores. A mask is (L, S) or, with 3 dimensions, (B*H, L, S).

    The mode "fast" is eval mode with the fast path enabled, "eval" is eval mode without it.
    """

    batch: int | None
    seq_q: int
    embed_dim: int
    num_heads: int
    seq_kv: int | None = None
    kdim: int | None = None
    vdim: int | None = None
    bias: bool = True
    causal: bool = False
    padding: Padding | None = None
    weight_std: float | None = None
    input_layout: Literal["batch-first", "sequence-first"] = "batch-first"
    bool_mask_ndim: Literal[2, 3] | None = None
    float_mask_ndim: Literal[2, 3] | None = None
    masked_share: float = MASKED
    add_bias_kv: bool = False
    add_zero_attn: bool = False
    need_weights: Literal["averaged", "per-head"] | None = None
    mode: Literal["train", "eval", "fast"] = "train"

    name = "multi_head_attention"
    function = "torch.nn.MultiheadAttention"
    precision = "float32"

    @property
    def call(self) -> str:
        """The mode and the arguments of the layer, and the result for a fully masked query."""
        mode = "train" if self.mode == "train" else "eval"
        clauses = [f"{mode} mode, dropout=0, batch_first={self.input_layout == 'batch-first'}"]
        if self.mode != "train":
            clauses.append(f"torch.backends.mha.set_fastpath_enabled({self.mode == 'fast'})")
        return ", ".join([*clauses, *self.weights_clauses(), *self.mask_clauses(), self.path_clause()])

    def weights_clauses(self) -> list[str]:
        """Return the options that add keys or return attention weights, one clause each."""
        clauses = ["add_bias_kv=True"] if self.add_bias_kv else []
        clauses += ["add_zero_attn=True"] if self.add_zero_attn else []
        if self.need_weights:
            averaged = self.need_weights == "averaged"
            return [*clauses, f"need_weights=True with average_attn_weights={averaged} under no_grad"]
        return [*clauses, "need_weights=False under no_grad"]

    def mask_clauses(self) -> list[str]:
        """Return the kinds of attn_mask and key_padding_mask, one clause each."""
        clauses = []
        if self.float_mask_ndim:
            diagonal = ", -inf above the diagonal" if self.causal else ""
            clauses.append(f"attn_mask is float (added to the scores){diagonal}")
        elif self.causal:
            block = " and where block is" if self.bool_mask_ndim else ""
            clauses.append(f"attn_mask is bool, true above the diagonal{block} (true is ignored)")
        elif self.bool_mask_ndim:
            clauses.append("attn_mask is bool (true is ignored)")
        if self.padding:
            kind = "float (-inf where padding is)" if self.float_mask_ndim else "bool (true is ignored)"
            clauses.append(f"key_padding_mask is {kind}")
        return clauses

    def path_clause(self) -> str:
        """Return the function behind the layer and its result for a fully masked query."""
        if self.mode == "fast":
            return "so it goes through torch._native_multi_head_attention, where an empty row gives NaN"
        if self.need_weights:
            return "so it goes through torch.softmax, where an empty row gives NaN"
        path = "so it goes through scaled_dot_product_attention (math kernel)"
        if self.padding and not self.extra_keys:
            path += ", where a query that sees no key has a context of zero: the output bias, not NaN"
        return path

    @property
    def config(self) -> dict:
        """Widths, heads, state dict layout and options. No file holds the causal mask."""
        always = {
            "embed_dim": self.embed_dim,
            "num_heads": self.num_heads,
            "kdim": self.kdim or self.embed_dim,
            "vdim": self.vdim or self.embed_dim,
            "bias": self.bias,
            "keys": "torch",
            "causality": "top-left" if self.causal else "none",
            "empty_row": "nan" if self.mode == "fast" or self.need_weights else "zero",
        }
        extras = {
            "input_layout": ("unbatched" if self.batch is None else self.input_layout, "batch-first"),
            "need_weights": (self.need_weights, None),
            "bias_kv": (self.add_bias_kv, False),
            "add_zero_attn": (self.add_zero_attn, False),
        }
        return always | {name: value for name, (value, default) in extras.items() if value != default}

    @property
    def extra_keys(self) -> int:
        """The number of keys that the layer adds and every query sees."""
        return self.add_bias_kv + self.add_zero_attn

    @property
    def num_keys(self) -> int:
        """The number of keys in the input."""
        return self.seq_kv or self.seq_q

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return query, key and value of unit variance, and the masks in use."""
        inputs = {"query": stream.normal("query", self.shape(self.seq_q, self.embed_dim))}
        inputs["key"] = inputs["value"] = inputs["query"]
        if self.seq_kv:
            inputs["key"] = stream.normal("key", self.shape(self.seq_kv, self.kdim or self.embed_dim))
            inputs["value"] = inputs["key"]
        if self.kdim != self.vdim:
            inputs["value"] = stream.normal("value", self.shape(self.seq_kv, self.vdim or self.embed_dim))
        if self.bool_mask_ndim:
            inputs["block"] = self.draw_bool_mask(stream)
        if self.float_mask_ndim:
            inputs["bias"] = self.draw_float_mask(stream)
        if self.padding:
            padding = self.padding.mask(self.num_keys)
            inputs["padding"] = padding[0] if self.batch is None else padding
        return inputs

    def shape(self, length: int, width: int) -> tuple[int, ...]:
        """Return the shape of an input of `length` tokens in this input layout."""
        if self.batch is None:
            return (length, width)
        leading = (self.batch, length) if self.input_layout == "batch-first" else (length, self.batch)
        return (*leading, width)

    def draw_bool_mask(self, stream: Stream) -> np.ndarray:
        """Return a bool mask that lets query i see key i: a causal query then sees a key, too."""
        blocked = stream.chance("block", self.mask_shape(self.bool_mask_ndim), BLOCKED)
        return blocked & ~np.eye(self.seq_q, self.num_keys, dtype=bool)

    def draw_float_mask(self, stream: Stream) -> np.ndarray:
        """Return a float mask of unit variance with some -inf."""
        shape = self.mask_shape(self.float_mask_ndim)
        masked = stream.chance("bias hidden", shape, self.masked_share)
        return np.where(masked, np.float32(-math.inf), stream.normal("bias", shape))

    def mask_shape(self, ndim: int) -> tuple[int, ...]:
        """Return the shape of a mask of 2 or 3 dimensions."""
        each = ((self.batch or 1) * self.num_heads,) if ndim == 3 else ()
        return (*each, self.seq_q, self.num_keys)

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return weights and, unless `bias` is off, non-zero biases."""
        return draw(self.layer(), stream, self.weight_std)

    @torch.no_grad()
    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return PyTorch's output (B, L, D), and weights (B, L, S') or (B, H, L, S') if needed.

        Train mode without weights is the only path through SDPA for every mask. Both masks are bool
        or both are float, because a bool mask beside a float one is deprecated.
        """
        layer = self.layer().train(self.mode == "train")
        layer.load_state_dict(to_torch(parameters, precision), assign=True)  # takes over the dtype
        tensors = to_torch(inputs, precision)
        with fast_path(self.mode == "fast"):
            output, weights = layer(
                tensors["query"],
                tensors["key"],
                tensors["value"],
                key_padding_mask=self.key_padding_mask(tensors),
                attn_mask=self.attn_mask(tensors),
                need_weights=self.need_weights is not None,
                average_attn_weights=self.need_weights == "averaged",
            )
        computed = {"output": output} | ({"weights": weights} if self.need_weights else {})
        return {name: to_numpy(tensor) for name, tensor in computed.items()}

    def attn_mask(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """Return the causal mask and the drawn mask combined, None if there is neither."""
        block, bias = tensors.get("block"), tensors.get("bias")
        if self.causal:
            block = self.causal_mask() if block is None else self.causal_mask() | block
        if bias is None:
            return block
        return bias if block is None else bias.masked_fill(block, -math.inf)

    def key_padding_mask(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """Return the padding, as a float mask if attn_mask is float."""
        if "padding" not in tensors or "bias" not in tensors:
            return tensors.get("padding")
        padding = tensors["padding"]
        return torch.zeros(padding.shape, dtype=tensors["bias"].dtype).masked_fill(padding, -math.inf)

    def layer(self) -> torch.nn.MultiheadAttention:
        """Return the layer before its parameters are loaded."""
        return torch.nn.MultiheadAttention(
            self.embed_dim,
            self.num_heads,
            dropout=0,
            bias=self.bias,
            add_bias_kv=self.add_bias_kv,
            add_zero_attn=self.add_zero_attn,
            kdim=self.kdim,
            vdim=self.vdim,
            batch_first=self.input_layout == "batch-first",
        )

    def causal_mask(self) -> torch.Tensor:
        """Return bool (L, S), true where a key comes after the query and is ignored."""
        return torch.ones(self.seq_q, self.num_keys, dtype=torch.bool).triu(diagonal=1)


@contextmanager
def fast_path(enabled: bool) -> Iterator[None]:
    """Set PyTorch's global switch for the fast path of nn.MultiheadAttention, and restore it."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)

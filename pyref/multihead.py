"""torch.nn.MultiheadAttention, the layer."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pyref.case import Arrays, Precision
from pyref.convert import to_numpy, to_torch
from pyref.padding import Padding
from pyref.parameters import draw
from pyref.pinned import torch
from pyref.stream import Stream

BLOCKED = 0.30  # share of true elements in a bool mask
HIDDEN = 0.15  # share of -inf elements in a float mask


@dataclass(frozen=True, kw_only=True)
class MultiheadAttention:
    """query (B, L, D), key (B, S, kdim), value (B, S, vdim) -> output (B, L, D).

    Without `S` it is self-attention: key and value are the query. With it, key and value are one memory
    where their widths agree, and two tensors where they do not. Without `B` no tensor has a batch dimension,
    and "sequence-first" puts it second.

    `block` and `scores` are the dimensions of a bool mask, true is ignored, and of a float mask, which is
    added to the scores: 2 is (L, S), 3 is (B*H, L, S). The mode "fast" is eval mode with the fast path
    enabled, "eval" without it.
    """

    B: int | None
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
    layout: Literal["batch-first", "sequence-first"] = "batch-first"
    block: Literal[2, 3] | None = None
    scores: Literal[2, 3] | None = None
    hidden: float = HIDDEN
    add_bias_kv: bool = False
    add_zero_attn: bool = False
    need_weights: Literal["averaged", "per-head"] | None = None
    mode: Literal["train", "eval", "fast"] = "train"

    name = "multi_head_attention"
    function = "torch.nn.MultiheadAttention"
    precision = "float32"

    @property
    def call(self) -> str:
        """How the layer is called, and what a query that sees no key gives because of it."""
        mode = "train" if self.mode == "train" else "eval"
        clauses = [f"{mode} mode, dropout=0, batch_first={self.layout == 'batch-first'}"]
        if self.mode != "train":
            clauses.append(f"torch.backends.mha.set_fastpath_enabled({self.mode == 'fast'})")
        return ", ".join([*clauses, *self.call_of_weights(), *self.call_of_masks(), self.call_of_path()])

    def call_of_weights(self) -> list[str]:
        """Say which options give further keys or outputs."""
        clauses = ["add_bias_kv=True"] if self.add_bias_kv else []
        clauses += ["add_zero_attn=True"] if self.add_zero_attn else []
        if self.need_weights:
            averaged = self.need_weights == "averaged"
            return [*clauses, f"need_weights=True with average_attn_weights={averaged} under no_grad"]
        return [*clauses, "need_weights=False under no_grad"]

    def call_of_masks(self) -> list[str]:
        """Say what is given as attn_mask and as key_padding_mask."""
        clauses = []
        if self.scores:
            diagonal = ", -inf above the diagonal" if self.causal else ""
            clauses.append(f"attn_mask is float (added to the scores){diagonal}")
        elif self.causal:
            block = " and where block is" if self.block else ""
            clauses.append(f"attn_mask is bool, true above the diagonal{block} (true is ignored)")
        elif self.block:
            clauses.append("attn_mask is bool (true is ignored)")
        if self.padding:
            kind = "float (-inf where padding is)" if self.scores else "bool (true is ignored)"
            clauses.append(f"key_padding_mask is {kind}")
        return clauses

    def call_of_path(self) -> str:
        """Say which function the layer goes through, and what a query that sees no key gives there."""
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
        """Widths, heads and names of the state dict; causality is said here, no file holds the triangle."""
        always = {
            "embed_dim": self.D,
            "num_heads": self.H,
            "kdim": self.kdim or self.D,
            "vdim": self.vdim or self.D,
            "bias": self.bias,
            "keys": "torch",
            "causality": "top-left" if self.causal else "none",
            "empty_row": "nan" if self.mode == "fast" or self.need_weights else "zero",
        }
        extras = {
            "input_layout": ("unbatched" if self.B is None else self.layout, "batch-first"),
            "need_weights": (self.need_weights, None),
            "bias_kv": (self.add_bias_kv, False),
            "add_zero_attn": (self.add_zero_attn, False),
        }
        return always | {name: value for name, (value, default) in extras.items() if value != default}

    @property
    def extra_keys(self) -> int:
        """The number of keys that the layer adds, which every query sees."""
        return self.add_bias_kv + self.add_zero_attn

    @property
    def keys(self) -> int:
        """The number of keys that the layer is given."""
        return self.S or self.L

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return query, key and value of unit variance, and the masks if there are any."""
        inputs = {"query": stream.normal("query", self.shape(self.L, self.D))}
        inputs["key"] = inputs["value"] = inputs["query"]
        if self.S:
            inputs["key"] = stream.normal("key", self.shape(self.S, self.kdim or self.D))
            inputs["value"] = inputs["key"]
        if self.kdim != self.vdim:
            inputs["value"] = stream.normal("value", self.shape(self.S, self.vdim or self.D))
        if self.block:
            inputs["block"] = self.draw_block(stream)
        if self.scores:
            inputs["bias"] = self.draw_scores(stream)
        if self.padding:
            padding = self.padding.mask(self.keys)
            inputs["padding"] = padding[0] if self.B is None else padding
        return inputs

    def shape(self, length: int, width: int) -> tuple[int, ...]:
        """Return the shape of an input of so many tokens."""
        if self.B is None:
            return (length, width)
        return (self.B, length, width) if self.layout == "batch-first" else (length, self.B, width)

    def draw_block(self, stream: Stream) -> np.ndarray:
        """Return a bool mask that never hides key i from query i, so that a causal query sees a key, too."""
        blocked = stream.chance("block", self.mask_shape(self.block), BLOCKED)
        return blocked & ~np.eye(self.L, self.keys, dtype=bool)

    def draw_scores(self, stream: Stream) -> np.ndarray:
        """Return a float mask of unit variance with some -inf."""
        shape = self.mask_shape(self.scores)
        hidden = stream.chance("bias hidden", shape, self.hidden)
        return np.where(hidden, np.float32(-math.inf), stream.normal("bias", shape))

    def mask_shape(self, dimensions: int) -> tuple[int, ...]:
        """Return the shape of a mask of 2 or 3 dimensions."""
        each = ((self.B or 1) * self.H,) if dimensions == 3 else ()
        return (*each, self.L, self.keys)

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return weights and, unless `bias` is off, non-zero biases."""
        return draw(self.layer(), stream, self.weight_std)

    @torch.no_grad()
    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return PyTorch's output (B, L, D), and the weights (B, L, S') or (B, H, L, S') if they are needed.

        Train mode without weights is the one path through SDPA for every mask. Both masks must be bool or
        both float: a bool beside a float one is deprecated.
        """
        layer = self.layer().train(self.mode == "train")
        layer.load_state_dict(to_torch(parameters, precision), assign=True)  # takes over dtype, too
        tensors = to_torch(inputs, precision)
        with fast_path(self.mode == "fast"):
            output, weights = layer(
                tensors["query"],
                tensors["key"],
                tensors["value"],
                key_padding_mask=self.padding_mask(tensors),
                attn_mask=self.attention_mask(tensors),
                need_weights=self.need_weights is not None,
                average_attn_weights=self.need_weights == "averaged",
            )
        computed = {"output": output} | ({"weights": weights} if self.need_weights else {})
        return {name: to_numpy(tensor) for name, tensor in computed.items()}

    def attention_mask(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """Return the triangle and the mask, whichever there are, as one."""
        block, bias = tensors.get("block"), tensors.get("bias")
        if self.causal:
            block = self.triangle() if block is None else self.triangle() | block
        if bias is None:
            return block
        return bias if block is None else bias.masked_fill(block, -math.inf)

    def padding_mask(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """Return the padding, float beside a float mask."""
        if "padding" not in tensors or "bias" not in tensors:
            return tensors.get("padding")
        padding = tensors["padding"]
        return torch.zeros(padding.shape, dtype=tensors["bias"].dtype).masked_fill(padding, -math.inf)

    def layer(self) -> torch.nn.MultiheadAttention:
        """Return the layer with parameters that are still to be loaded."""
        return torch.nn.MultiheadAttention(
            self.D,
            self.H,
            dropout=0,
            bias=self.bias,
            add_bias_kv=self.add_bias_kv,
            add_zero_attn=self.add_zero_attn,
            kdim=self.kdim,
            vdim=self.vdim,
            batch_first=self.layout == "batch-first",
        )

    def triangle(self) -> torch.Tensor:
        """Return bool (L, S), true where a key comes after the query and is ignored."""
        return torch.ones(self.L, self.keys, dtype=torch.bool).triu(diagonal=1)


@contextmanager
def fast_path(enabled: bool) -> Iterator[None]:
    """Let nn.MultiheadAttention take its fast path, or keep it from that; PyTorch's switch is global."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)

"""RotaryEmbedding of ONNX: a rotation of features by given tables, which PyTorch computes."""

from dataclasses import dataclass
from importlib import import_module
from typing import Literal

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.ops.operation import Arrays, Precision
from pyref.ops.rope import Rope
from pyref.ops.tensors import stored, to_numpy, to_torch

# `import torch` does not import this module.
rotary_embedding = import_module("torch.onnx.ops").rotary_embedding


@dataclass(frozen=True, kw_only=True)
class RotaryEmbedding:
    """input (B, H, T, E), or (B, T, H*E) if `merged` -> the same shape.

    The tables hold the cosine and the sine of each of `dim` / 2 pairs. With `table_len` they are
    (N, dim/2), and `positions` drawn from them are (B, T). Without it each token has a row of its
    own, (B, T, dim/2), at positions that begin elsewhere in each batch element.
    """

    batch: int
    num_heads: int
    seq: int
    head_dim: int
    dim: int | None = None
    style: Literal["half", "interleaved"] = "half"
    table_len: int | None = None
    merged: bool = False
    precision: Precision = "float32"

    name = "rotary_embedding"
    function = "torch.onnx.ops.rotary_embedding"

    @property
    def call(self) -> str:
        """The arguments of the function."""
        where = "position_ids (B, T)" if self.table_len else "no position_ids, tables (B, T, dim/2)"
        clauses = [where, f"interleaved={self.style == 'interleaved'}", f"rotary_embedding_dim={self.turned}"]
        if self.merged:
            clauses.append(f"num_heads={self.num_heads}")
        if self.precision == "float64":
            clauses.append("the output is computed in float32 from the inputs rounded to float32")
        return ", ".join(clauses)

    @property
    def config(self) -> dict:
        """The style and the options in use."""
        extras = {
            "dim": (self.dim, None),
            "num_heads": (self.num_heads if self.merged else None, None),
            "precision": (self.precision, "float32"),
        }
        used = {name: value for name, (value, default) in extras.items() if value != default}
        return {"style": self.style} | used

    @property
    def turned(self) -> int:
        """The number of features of a head that turn."""
        return self.dim or self.head_dim

    def draw_inputs(self, stream: Stream) -> Arrays:
        """Return an input of unit variance, the tables of base 100, and the positions."""
        dtype = np.float64 if self.precision == "float64" else np.float32
        shape = (self.batch, self.num_heads, self.seq, self.head_dim)
        if self.merged:
            shape = (self.batch, self.seq, self.num_heads * self.head_dim)
        inputs = {"input": stream.normal("input", shape, 1.0, dtype)}
        inputs |= {name: table.astype(dtype) for name, table in self.tables().items()}
        inputs = {role: stored(array, self.precision) for role, array in inputs.items()}
        if self.table_len:
            words = stream.words("positions", (self.batch, self.seq))
            inputs["positions"] = (words % self.table_len).astype(np.int64)
        return inputs

    def tables(self) -> Arrays:
        """Return "cos" and "sin" in float64."""
        rope = Rope(dim=self.turned, base=100)
        if self.table_len:
            angles = rope.angles(self.table_len, 0, torch.float64)
        else:
            firsts = [3 + 4 * b for b in range(self.batch)]
            angles = torch.stack([rope.angles(self.seq, first, torch.float64) for first in firsts])
        return {"cos": angles.cos().numpy(), "sin": angles.sin().numpy()}

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return an empty state dict: a function has no parameters."""
        return {}

    @torch.no_grad()
    def forward(self, inputs: Arrays, parameters: Arrays, precision: Precision) -> Arrays:
        """Return PyTorch's output, in the shape of the input."""
        tensors = to_torch(inputs, precision)
        output = rotary_embedding(
            tensors["input"],
            tensors["cos"],
            tensors["sin"],
            tensors.get("positions"),
            interleaved=self.style == "interleaved",
            num_heads=self.num_heads if self.merged else 0,
            rotary_embedding_dim=self.turned,
        )
        return {"output": to_numpy(output.contiguous())}

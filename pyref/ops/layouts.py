"""How the state dict of a decoder layer stores the four projections.

pyref.crosscheck.layouts reads the same state dicts in NumPy, on purpose without this module: a
wrong layout here must disagree with it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.ops.operation import Arrays
from pyref.ops.parameters import BIAS_STD

ROLES = ("query", "key", "value")

State = Mapping[str, torch.Tensor]  # a state dict


@dataclass(frozen=True, kw_only=True)
class Widths:
    """A layer's widths: `embed_dim` of query and output, `kdim` of key and value, and its heads."""

    embed_dim: int
    kdim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int


@dataclass(frozen=True)
class Projection:
    """A linear map: weight (out, in) and bias (out,), as torch.nn.functional.linear takes them."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map the last dimension of x."""
        return torch.nn.functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class Layout:
    """One way to store the projections.

    `inputs` names the projections of query, key and value. A single name means one fused
    projection: all query rows, then all key rows, then all value rows. If it is `grouped`, the rows
    come by key/value head: its query heads, its key, its value. `transposed` weights are (in, out),
    as in Conv1D of Hugging Face's GPT-2.
    """

    inputs: tuple[str, ...]
    output: str
    grouped: bool = False
    transposed: bool = False

    def draw(self, widths: Widths, stream: Stream, stds: Mapping[str, float], biased: set[str]) -> Arrays:
        """Draw weights with the deviation of each row's role, and biases for the `biased` roles."""
        arrays: dict[str, np.ndarray] = {}
        output_fan_in = widths.num_heads * widths.head_dim
        for name, rows in self.rows(widths).items():
            fan_in = {"query": widths.embed_dim, "output": output_fan_in}.get(rows[0], widths.kdim)
            std = np.array([stds[role] for role in rows])[:, None]
            if self.transposed:
                arrays[f"{name}.weight"] = stream.normal(f"{name}.weight", (fan_in, len(rows)), std.T)
            else:
                arrays[f"{name}.weight"] = stream.normal(f"{name}.weight", (len(rows), fan_in), std)
            if rows[0] in biased:
                arrays[f"{name}.bias"] = stream.normal(f"{name}.bias", (len(rows),), BIAS_STD)
        return arrays

    def split(self, widths: Widths, state: State) -> dict[str, Projection]:
        """Return the projections of query, key, value and output by role."""
        projections = {}
        for name, rows in self.rows(widths).items():
            weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
            for role in dict.fromkeys(rows):
                own = torch.from_numpy(rows == role)
                projections[role] = Projection(
                    (weight.T if self.transposed else weight)[own], None if bias is None else bias[own]
                )
        return projections

    def rows(self, widths: Widths) -> dict[str, np.ndarray]:
        """Return the role of each row of each stored weight, or of each column if transposed."""
        query = widths.num_heads * widths.head_dim
        key = widths.num_kv_heads * widths.head_dim
        output = {self.output: np.repeat("output", widths.embed_dim)}
        if len(self.inputs) == 3:
            lengths = zip(self.inputs, ROLES, (query, key, key), strict=True)
            return {name: np.repeat(role, length) for name, role, length in lengths} | output
        (name,) = self.inputs
        if self.grouped:
            group = np.repeat(ROLES, (query // widths.num_kv_heads, widths.head_dim, widths.head_dim))
            return {name: np.tile(group, widths.num_kv_heads)} | output
        return {name: np.repeat(ROLES, (query, key, key))} | output


# By the value of `keys` in case.json. "llama" is the layout of most models in Hugging Face
# transformers, "neox" also Falcon's, "fused" also Phi-3's and vLLM's.
LAYOUTS = {
    "llama": Layout(("q_proj", "k_proj", "v_proj"), "o_proj"),
    "gpt2": Layout(("c_attn",), "c_proj", transposed=True),
    "neox": Layout(("query_key_value",), "dense", grouped=True),
    "fused": Layout(("qkv_proj",), "o_proj"),
}


def stds(widths: Widths, scale: float | None) -> dict[str, float]:
    """Return the standard deviation of a weight by role; `parameters.draw` gives the reasons.

    The query's makes up for a scale other than 1/sqrt(E), as T5's initialisation does for a scale
    of 1.
    """
    relative_scale = 1 if scale is None else scale * math.sqrt(widths.head_dim)
    return {
        "query": 1 / math.sqrt(widths.embed_dim) / relative_scale,
        "key": 1 / math.sqrt(widths.kdim),
        "value": 1 / math.sqrt(3 * widths.kdim),
        "output": 1 / math.sqrt(3 * widths.num_heads * widths.head_dim),
    }

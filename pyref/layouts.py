"""How a state dict stores a layer's four projections: by which names, fused, in which order, transposed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pyref.case import Arrays
from pyref.parameters import BIAS_STD
from pyref.pinned import torch
from pyref.stream import Stream

ROLES = ("query", "key", "value")

State = Mapping[str, torch.Tensor]  # a state dict


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Widths of a layer: its query and output D, its key and value kdim, and its heads' E."""

    D: int
    kdim: int
    H: int
    Hk: int
    E: int


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

    `inputs` names those of query, key and value; a single name is one fused projection, whose rows are all
    of the query's, the key's, the value's, or, if `grouped`, those of each key/value head: its query heads,
    its key, its value. `transposed` weights are (in, out), as in Conv1D of Hugging Face's GPT-2.
    """

    inputs: tuple[str, ...]
    output: str
    grouped: bool = False
    transposed: bool = False

    def draw(self, widths: Widths, stream: Stream, stds: Mapping[str, float], biased: set[str]) -> Arrays:
        """Return parameters: each row of a weight with its role's `stds`, biases for the roles `biased`."""
        arrays: dict[str, np.ndarray] = {}
        for name, rows in self.rows(widths).items():
            fan_in = {"query": widths.D, "output": widths.H * widths.E}.get(rows[0], widths.kdim)
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
        """Return for each stored weight the role of each of its rows, its columns if transposed."""
        query, key = widths.H * widths.E, widths.Hk * widths.E
        output = {self.output: np.repeat("output", widths.D)}
        if len(self.inputs) == 3:
            lengths = zip(self.inputs, ROLES, (query, key, key), strict=True)
            return {name: np.repeat(role, length) for name, role, length in lengths} | output
        (name,) = self.inputs
        if self.grouped:
            group = np.repeat(ROLES, (query // widths.Hk, widths.E, widths.E))
            return {name: np.tile(group, widths.Hk)} | output
        return {name: np.repeat(ROLES, (query, key, key))} | output


# By the value of `keys` in case.json. The first is Llama's and most others' in Hugging Face transformers,
# then GPT-2's, GPT-NeoX's and Falcon's, and that of Phi-3 and of vLLM.
LAYOUTS = {
    "llama": Layout(("q_proj", "k_proj", "v_proj"), "o_proj"),
    "gpt2": Layout(("c_attn",), "c_proj", transposed=True),
    "neox": Layout(("query_key_value",), "dense", grouped=True),
    "fused": Layout(("qkv_proj",), "o_proj"),
}


def stds(widths: Widths, scale: float | None) -> dict[str, float]:
    """Return the standard deviation of a weight by role: see `parameters.draw`.

    The query's makes up for a scale that is not 1/sqrt(E), as T5's initialisation does for its scale of 1.
    """
    hot = 1 if scale is None else scale * math.sqrt(widths.E)
    return {
        "query": 1 / math.sqrt(widths.D) / hot,
        "key": 1 / math.sqrt(widths.kdim),
        "value": 1 / math.sqrt(3 * widths.kdim),
        "output": 1 / math.sqrt(3 * widths.H * widths.E),
    }

"""New random cases, and their outputs with every mistake in float32."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from pyref.build import suite
from pyref.build.case import Case
from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.ops.decoder import DecoderAttention
from pyref.ops.mha import MultiheadAttention
from pyref.ops.mha_samples import SampleLayer
from pyref.ops.operation import Arrays, Operation
from pyref.ops.padding import Padding
from pyref.ops.rope import Rope
from pyref.ops.rotary import RotaryEmbedding
from pyref.ops.sdpa import ScaledDotProductAttention
from pyref.ops.tensors import to_numpy
from pyref.planted import MISTAKES, rotary
from pyref.planted.case_attention import as_recorded, plain_attention

COUNT = 72  # cases per seed, and these further ones
PLACED = 8  # functions with a past, valid lengths or positions
ROTARY = 4  # rotations by tables
RIGHT = "right"  # the name in the index of the output without a mistake
LARGEST = 60  # most features of all heads; difftest then has time to replay all pairs of mistakes

Value = TypeVar("Value")
Initial = Literal["scores", "default", "xavier", "small", "unit"]


@dataclass(frozen=True, kw_only=True)
class Initialised:
    """A mixin, placed before a layer's class, that draws weights of another standard deviation.

    "scores" keeps the weights of the committed cases, with scores near 1. "default" is
    torch.nn.Linear's 1/sqrt(3 fan in), "xavier" sqrt(2 / (fan in + fan out)), "small" 0.02 and
    "unit" 1.
    """

    initial: Initial

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return the layer's parameters with resized weights."""
        parameters = super().draw_parameters(stream)
        return {name: self.resized(name, array) for name, array in parameters.items()}

    def resized(self, name: str, array: np.ndarray) -> np.ndarray:
        """Return a projection's weight with its new deviation, and any other array unchanged."""
        if self.initial == "scores" or array.ndim != 2 or name == "relative_bias.weight":
            return array
        rows, columns = array.shape
        stds = {
            "default": (3 * columns) ** -0.5,
            "xavier": (2 / (rows + columns)) ** 0.5,
            "small": 0.02,
            "unit": 1.0,
        }
        unit = array / array.std(axis=1, keepdims=True)
        return (unit * stds[self.initial]).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class FreshMultihead(Initialised, MultiheadAttention):
    """nn.MultiheadAttention of another initialisation."""


@dataclass(frozen=True, kw_only=True)
class FreshMemory(Initialised, SampleLayer):
    """nn.MultiheadAttention of another initialisation, with three different inputs."""


@dataclass(frozen=True, kw_only=True)
class FreshDecoder(Initialised, DecoderAttention):
    """A decoder layer of another initialisation."""


def write(seed: int, folder: Path) -> Counter[str]:
    """Write new cases to `cases` and outputs to `planted`. Return the number of cases per mistake.

    An output file is float32 (mistakes, ...): the mistakes as in the index, then the case's shape.
    """
    drawn = list(cases(seed))
    suite.generate(drawn, folder / "cases")
    planted = folder / "planted"
    planted.mkdir(parents=True, exist_ok=True)
    shown: Counter[str] = Counter(dict.fromkeys(MISTAKES, 0))
    index = {}
    for case in drawn:
        outputs = plant(case)
        index[case.name] = list(outputs)
        file = planted / f"{case.name.replace('/', '-')}.npy"
        np.save(file, np.stack(list(outputs.values())), allow_pickle=False)
        shown.update(name for name in outputs if name != RIGHT)
    lines = [f"  {json.dumps(name)}: {json.dumps(index[name])}" for name in sorted(index)]
    (planted / "index.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="ascii")
    return shown


def plant(case: Case) -> dict[str, np.ndarray]:
    """Return the float32 outputs without a mistake and with every mistake that applies."""
    operation, (inputs, parameters) = case.operation, case.draw()
    ndim = operation.forward(inputs, parameters, "float64")["output"].ndim
    attention = plain_attention(operation, inputs, parameters, "float32")
    mistakes = rotary.MISTAKES if isinstance(operation, RotaryEmbedding) else MISTAKES
    planted = {RIGHT: attention} | {name: mistake(attention) for name, mistake in mistakes.items()}
    outputs = {name: made.compute() for name, made in planted.items() if made is not None}
    for name, output in outputs.items():
        if output.dtype != torch.float32:
            raise TypeError(f"{case.name}: {name} is computed in {output.dtype}, want float32")
    return {name: to_numpy(as_recorded(x, operation, ndim)) for name, x in outputs.items()}


def cases(seed: int) -> Iterator[Case]:
    """Yield the random cases of a seed."""
    for number in range(COUNT + PLACED + ROTARY):
        chance = Chance(seed, number)
        kinds = (
            chance.decoder,
            chance.self_attention,
            chance.function,
            chance.decoder,
            chance.cross_attention,
        )
        operation = kinds[number % len(kinds)]()
        if number >= COUNT:
            operation = chance.placed() if number < COUNT + PLACED else chance.rotary()
        yield Case(f"fresh-{seed}/{number:03}", f"Drawn by chance, from seed {seed}.", operation)


class Chance:
    """Draws one operation at random."""

    def __init__(self, seed: int, number: int) -> None:
        """Seed the generator for one case."""
        self.random = np.random.Generator(np.random.Philox(key=np.array([seed, number], dtype=np.uint64)))

    def among(self, *values: Value) -> Value:
        """Return one of the values."""
        return values[self.random.integers(len(values))]

    def between(self, least: int, most: int) -> int:
        """Return an integer of a range that includes both ends."""
        return int(self.random.integers(least, most + 1))

    def once_in(self, times: int) -> bool:
        """Return true with the probability 1/times."""
        return bool(self.random.integers(times) == 0)

    def heads(self, *numbers: int, wide: bool = False) -> tuple[int, int, int]:
        """Return num_heads, head_dim and embed_dim with scales that can be told apart.

        embed_dim is the width of all heads together, or independent of them if `wide`.
        """
        while True:
            H, E = self.among(*numbers), 2 * self.between(3, 7)
            D = self.between(30, 50) if wide else H * E
            if H * E <= LARGEST and apart(H, E, D):
                return H, E, D

    def initial(self) -> Initial:
        """Return the name of an initialisation."""
        return self.among("scores", "scores", "default", "xavier", "small", "unit")

    def padding(self, batch: int, seq_kv: int) -> Padding:
        """Pad each batch element to another length; only the last one may be full."""
        lengths = [int(n) for n in self.random.permutation(np.arange(1, seq_kv))[:batch]]
        if batch > 1 and self.once_in(2):
            lengths[-1] = seq_kv
        return Padding(self.among("left", "right"), tuple(lengths))

    def self_attention(self) -> Operation:
        """Return an nn.MultiheadAttention with self-attention."""
        (num_heads, _, embed_dim), batch, seq_q = self.heads(4, 5, 6), self.between(3, 5), self.between(9, 13)
        extra = self.once_in(4)
        return FreshMultihead(
            initial=self.initial(),
            batch=batch,
            seq_q=seq_q,
            embed_dim=embed_dim,
            num_heads=num_heads,
            bias=not self.once_in(5),
            causal=self.once_in(2),
            padding=None if self.once_in(3) else self.padding(batch, seq_q),
            input_layout=self.among("batch-first", "sequence-first"),
            add_bias_kv=extra and self.once_in(2),
            add_zero_attn=extra,
            mode=self.among("train", "train", "eval"),
            need_weights=self.among(None, None, "averaged"),
            **self.masks(),
        )

    def masks(self) -> dict:
        """Return the options for a mask of at most one kind."""
        return self.among({}, {}, {"bool_mask_ndim": self.among(2, 3)}, {"float_mask_ndim": self.among(2, 3)})

    def cross_attention(self) -> Operation:
        """Return an nn.MultiheadAttention with cross-attention."""
        (num_heads, _, embed_dim), batch, seq_kv = (
            self.heads(4, 5, 6),
            self.between(3, 5),
            self.between(9, 13),
        )
        widths = {"kdim": self.between(20, 36), "vdim": self.between(20, 36)} if self.once_in(3) else {}
        return (FreshMultihead if widths else self.among(FreshMultihead, FreshMemory))(
            initial=self.initial(),
            batch=batch,
            seq_q=seq_kv if self.once_in(2) else self.between(5, 8),
            seq_kv=seq_kv,
            embed_dim=embed_dim,
            num_heads=num_heads,
            bias=not self.once_in(5),
            causal=self.once_in(5),
            padding=None if self.once_in(3) else self.padding(batch, seq_kv),
            input_layout=self.among("batch-first", "sequence-first"),
            **widths,
            **self.masks(),
        )

    def decoder(self) -> Operation:
        """Return a decoder layer."""
        num_heads, head_dim, embed_dim = self.heads(6, 6, 4, 10, wide=not self.once_in(3))
        batch, seq_kv = self.between(3, 5), self.between(9, 13)
        num_kv_heads = self.among(2, 2, num_heads // 2, 1, num_heads)
        layouts = ("llama", "llama", "neox", "fused")
        past_len = self.among(0, seq_kv - self.between(3, 5))
        position = self.position(head_dim)
        if "alibi" in position and self.once_in(3):
            past_len = seq_kv - 1
        sinks = not position.keys() & {"alibi", "relative_bias"} and self.once_in(4)
        bias = self.once_in(2)
        gpt2 = embed_dim == num_heads * head_dim and num_kv_heads == num_heads
        return FreshDecoder(
            initial=self.initial(),
            batch=batch,
            seq_q=seq_kv - past_len,
            past_len=past_len,
            embed_dim=embed_dim,
            num_heads=num_heads,
            num_kv_heads=num_kv_heads,
            head_dim=head_dim,
            param_layout=self.among(*layouts, "gpt2") if gpt2 else self.among(*layouts),
            bias=bias,
            output_bias=bias and not self.once_in(3),
            causal=not self.once_in(6),
            padding=None if self.once_in(2) else self.padding(batch, seq_kv),
            scale=self.among(None, None, 0.42, 0.66),
            qk_norm=self.among(None, None, 1e-6),
            window=self.among(None, None, None, self.between(3, 5)),
            softcap=None if sinks else self.among(None, None, 1.5, 5.0),
            sinks=sinks,
            **position,
        )

    def position(self, head_dim: int) -> dict:
        """Return the options for rotary positions, ALiBi, a relative bias or none of them."""
        rope = Rope(
            style=self.among("half", "interleaved"),
            dim=self.among(head_dim, 6),
            base=self.among(100, 1000, 10000),
            factor=self.among(1, 1, 2, 4),
        )
        relative = {"relative_bias": self.between(3, 5)}
        return self.among({}, {"rope": rope}, {"rope": rope}, {"alibi": True}, relative)

    def function(self) -> Operation:
        """Return scaled_dot_product_attention or one of its variants."""
        (H, E, _), B, S = self.heads(6, 6, 4, 5), self.between(3, 5), self.between(9, 13)
        L = S if self.once_in(2) else self.between(5, 8)
        shape = self.among((L, S), (H, L, S), (B, 1, L, S), (B, H, L, S))
        scores = self.among(
            {"allow": shape, "fully_masked_rows": self.once_in(2)},
            {"bias": shape, "fully_masked_rows": self.once_in(2)},
            {"causal": True, "alignment": self.among("top-left", "lower-right")},
            {"causal": True, "alignment": "lower-right", "window": self.between(3, 5)},
            {"causal": True, "alibi": True, "alignment": "lower-right"},
            {"alibi": True},
            {"causal": self.once_in(2), "softcap": self.among(1.5, 5.0)},
            {"causal": self.once_in(2), "sinks": True},
        )
        return self.scaled(B, H, L, S, E, scores)

    def placed(self) -> Operation:
        """Return scaled_dot_product_attention with a past, lengths or positions."""
        (H, E, _), B, S, L = (
            self.heads(6, 6, 4, 5),
            self.between(3, 5),
            self.between(9, 13),
            self.between(2, 5),
        )
        P = self.among(0, self.between(2, 5))
        starts = tuple(int(n) for n in self.random.integers(0, S + P - L + 1, size=B))
        lengths = {"key_lengths": tuple(start + L for start in starts)}
        options = self.among(
            {"past_len": P or 3, "causal": True},
            {"past_len": P or 3},
            {"past_len": P, **lengths},
            {"past_len": P, "causal": True, "alignment": "lower-right", **lengths},
            {"past_len": P, "causal": True, "first_positions": starts},
        )
        return self.scaled(B, H, L, S, E, options)

    def scaled(self, B: int, H: int, L: int, S: int, E: int, options: dict) -> Operation:
        """Return the function with these sizes and options, and draw the rest."""
        return ScaledDotProductAttention(
            batch=B,
            num_heads=H,
            seq_q=L,
            seq_kv=S,
            head_dim=E,
            v_head_dim=self.among(E, E + 3),
            num_kv_heads=self.among(None, None, 2) if H % 2 == 0 else None,
            scale=self.among(None, None, 0.42, 0.66),
            **options,
        )

    def rotary(self) -> Operation:
        """Return a rotation by tables."""
        E = 2 * self.between(3, 7)
        return RotaryEmbedding(
            batch=self.between(3, 5),
            num_heads=self.between(2, 5),
            seq=self.between(4, 9),
            head_dim=E,
            dim=self.among(None, 4),
            style=self.among("half", "interleaved"),
            table_len=self.among(None, 20, 30),
            merged=self.once_in(2),
        )


def apart(H: int, E: int, D: int) -> bool:
    """Report whether right and mistaken scales differ pairwise by at least 2 %."""
    scales = [E**-0.5, D**-0.5, 1 / E, H**-0.5, 1 / 8, np.log(2) * E**-0.5, E**0.5, 1.0]
    if H * E != D:
        scales.append((D / H) ** -0.5)
    scales.sort()
    return all(b >= 1.02 * a for a, b in pairwise(scales))

"""New random cases, and what each gives with every mistake, in float32: nothing has been seen before."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from pyref import suite
from pyref.case import Arrays, Case, Operation
from pyref.convert import to_numpy
from pyref.decoder import DecoderAttention
from pyref.multihead import MultiheadAttention
from pyref.padding import Padding
from pyref.pinned import torch
from pyref.planted import MISTAKES
from pyref.planted.plain import as_recorded, plain
from pyref.rope import Rope
from pyref.samples import SampleLayer
from pyref.sdpa import ScaledDotProductAttention
from pyref.stream import Stream

COUNT = 72  # cases
RIGHT = "right"  # stands in the index for the output without a mistake
LARGEST = 60  # width of all heads: all pairs of mistakes can be made on such a case

Value = TypeVar("Value")
Initial = Literal["scores", "default", "xavier", "small", "unit"]


@dataclass(frozen=True, kw_only=True)
class Initialised:
    """To be put before the class of a layer: draws its weights as an initialisation does.

    "scores" are as in the committed cases, for scores near 1; "default" is torch.nn.Linear's standard
    deviation, 1/sqrt(3 fan in), "xavier" sqrt(2 / (fan in + fan out)), "small" 0.02 and "unit" 1.
    """

    initial: Initial

    def draw_parameters(self, stream: Stream) -> Arrays:
        """Return the layer's parameters, with weights of another size."""
        parameters = super().draw_parameters(stream)
        return {name: self.sized(name, array) for name, array in parameters.items()}

    def sized(self, name: str, array: np.ndarray) -> np.ndarray:
        """Return a projection's weight in its size; anything else, and every bias, as it is."""
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
    """nn.MultiheadAttention of another initialisation, with a key and a value of their own."""


@dataclass(frozen=True, kw_only=True)
class FreshDecoder(Initialised, DecoderAttention):
    """A decoder's layer of another initialisation."""


def write(seed: int, folder: Path) -> Counter[str]:
    """Write new cases to `cases` and their outputs to `planted`; return how many cases show each mistake.

    An output file is float32 (mistakes, ...), in the order of the index and in that of the case.
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
    """Return what plain PyTorch gives in float32, right and with every mistake that can be made."""
    operation, (inputs, parameters) = case.operation, case.draw()
    dimensions = operation.forward(inputs, parameters, "float64")["output"].ndim
    attention = plain(operation, inputs, parameters, "float32")
    planted = {RIGHT: attention} | {name: mistake(attention) for name, mistake in MISTAKES.items()}
    outputs = {name: made.compute() for name, made in planted.items() if made is not None}
    for name, output in outputs.items():
        if output.dtype != torch.float32:
            raise TypeError(f"{case.name}: {name} is computed in {output.dtype}, want float32")
    return {name: to_numpy(as_recorded(x, operation, dimensions)) for name, x in outputs.items()}


def cases(seed: int) -> Iterator[Case]:
    """Draw the cases of a seed."""
    for number in range(COUNT):
        chance = Chance(seed, number)
        kinds = (chance.decoder, chance.multihead, chance.function, chance.decoder, chance.memory)
        operation = kinds[number % len(kinds)]()
        yield Case(f"fresh-{seed}/{number:03}", f"Drawn by chance, from seed {seed}.", operation)


class Chance:
    """Draws one operation."""

    def __init__(self, seed: int, number: int) -> None:
        """Begin at the case's own place."""
        self.random = np.random.Generator(np.random.Philox(key=np.array([seed, number], dtype=np.uint64)))

    def among(self, *values: Value) -> Value:
        """Return one of some values."""
        return values[self.random.integers(len(values))]

    def between(self, least: int, most: int) -> int:
        """Return a number of a range, both ends included."""
        return int(self.random.integers(least, most + 1))

    def once_in(self, times: int) -> bool:
        """Return true now and then."""
        return bool(self.random.integers(times) == 0)

    def heads(self, *numbers: int, wide: bool = False) -> tuple[int, int, int]:
        """Return a number of heads, their width and the model's, of which no scale is near another.

        The model is as wide as all heads together, or of a width of its own.
        """
        while True:
            H, E = self.among(*numbers), 2 * self.between(3, 7)
            D = self.between(30, 50) if wide else H * E
            if H * E <= LARGEST and apart(H, E, D):
                return H, E, D

    def initial(self) -> Initial:
        """Return an initialisation."""
        return self.among("scores", "scores", "default", "xavier", "small", "unit")

    def padding(self, B: int, S: int) -> Padding:
        """Pad each batch element to another length, the first in any case."""
        lengths = [int(n) for n in self.random.permutation(np.arange(1, S))[:B]]
        if B > 1 and self.once_in(2):
            lengths[-1] = S
        return Padding(self.among("left", "right"), tuple(lengths))

    def multihead(self) -> Operation:
        """Return self-attention."""
        (H, _, D), B, L = self.heads(4, 5, 6), self.between(3, 5), self.between(9, 13)
        extra = self.once_in(4)
        return FreshMultihead(
            initial=self.initial(),
            B=B,
            L=L,
            D=D,
            H=H,
            bias=not self.once_in(5),
            causal=self.once_in(2),
            padding=None if self.once_in(3) else self.padding(B, L),
            layout=self.among("batch-first", "sequence-first"),
            add_bias_kv=extra and self.once_in(2),
            add_zero_attn=extra,
            mode=self.among("train", "train", "eval"),
            need_weights=self.among(None, None, "averaged"),
            **self.masks(),
        )

    def masks(self) -> dict:
        """Return the dimensions of a mask, of one kind or of none."""
        return self.among({}, {}, {"block": self.among(2, 3)}, {"scores": self.among(2, 3)})

    def memory(self) -> Operation:
        """Return cross-attention."""
        (H, _, D), B, S = self.heads(4, 5, 6), self.between(3, 5), self.between(9, 13)
        widths = {"kdim": self.between(20, 36), "vdim": self.between(20, 36)} if self.once_in(3) else {}
        return (FreshMultihead if widths else self.among(FreshMultihead, FreshMemory))(
            initial=self.initial(),
            B=B,
            L=S if self.once_in(2) else self.between(5, 8),
            S=S,
            D=D,
            H=H,
            bias=not self.once_in(5),
            causal=self.once_in(5),
            padding=None if self.once_in(3) else self.padding(B, S),
            layout=self.among("batch-first", "sequence-first"),
            **widths,
            **self.masks(),
        )

    def decoder(self) -> Operation:
        """Return a decoder's layer."""
        H, E, D = self.heads(6, 6, 4, 10, wide=not self.once_in(3))
        B, S = self.between(3, 5), self.between(9, 13)
        Hk = self.among(2, 2, H // 2, 1, H)
        layouts = ("llama", "llama", "neox", "fused")
        P = self.among(0, S - self.between(3, 5))
        position = self.position(E)
        if "alibi" in position and self.once_in(3):
            P = S - 1
        sinks = not position.keys() & {"alibi", "relative_bias"} and self.once_in(4)
        bias = self.once_in(2)
        return FreshDecoder(
            initial=self.initial(),
            B=B,
            L=S - P,
            P=P,
            D=D,
            H=H,
            Hk=Hk,
            E=E,
            layout=self.among(*layouts, "gpt2") if D == H * E and Hk == H else self.among(*layouts),
            bias=bias,
            output_bias=bias and not self.once_in(3),
            causal=not self.once_in(6),
            padding=None if self.once_in(2) else self.padding(B, S),
            scale=self.among(None, None, 0.42, 0.66),
            qk_norm=self.among(None, None, 1e-6),
            window=self.among(None, None, None, self.between(3, 5)),
            softcap=None if sinks else self.among(None, None, 1.5, 5.0),
            sinks=sinks,
            **position,
        )

    def position(self, E: int) -> dict:
        """Return what tells positions apart."""
        rope = Rope(
            style=self.among("half", "interleaved"),
            dim=self.among(E, 6),
            base=self.among(100, 1000, 10000),
            factor=self.among(1, 1, 2, 4),
        )
        relative = {"relative_bias": self.between(3, 5)}
        return self.among({}, {"rope": rope}, {"rope": rope}, {"alibi": True}, relative)

    def function(self) -> Operation:
        """Return scaled_dot_product_attention, or what stands in for it."""
        (H, E, _), B, S = self.heads(6, 6, 4, 5), self.between(3, 5), self.between(9, 13)
        L = S if self.once_in(2) else self.between(5, 8)
        shape = self.among((L, S), (H, L, S), (B, 1, L, S), (B, H, L, S))
        scores = self.among(
            {"allow": shape, "blank_rows": self.once_in(2)},
            {"bias": shape, "blank_rows": self.once_in(2)},
            {"causal": True, "alignment": self.among("top-left", "lower-right")},
            {"causal": True, "alignment": "lower-right", "window": self.between(3, 5)},
            {"causal": True, "alibi": True, "alignment": "lower-right"},
            {"alibi": True},
            {"causal": self.once_in(2), "softcap": self.among(1.5, 5.0)},
            {"causal": self.once_in(2), "sinks": True},
        )
        return ScaledDotProductAttention(
            B=B,
            H=H,
            L=L,
            S=S,
            E=E,
            Ev=self.among(E, E + 3),
            Hk=self.among(None, None, 2) if H % 2 == 0 else None,
            scale=self.among(None, None, 0.42, 0.66),
            **scores,
        )


def apart(H: int, E: int, D: int) -> bool:
    """Report whether the scales that are mistaken for one another are 2 % apart, pairwise."""
    scales = [E**-0.5, D**-0.5, 1 / E, H**-0.5, 1 / 8, np.log(2) * E**-0.5, E**0.5, 1.0]
    if H * E != D:
        scales.append((D / H) ** -0.5)
    scales.sort()
    return all(b >= 1.02 * a for a, b in pairwise(scales))

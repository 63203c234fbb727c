"""What the ports share: reading a captured case, float32 sums in a chosen order, the command line.

A port is a function of the configuration, the state dict, the inputs and a Plan. A Plan holds the
order of the sums and the one mistake to make, so that difftest can be tried on wrong ports. It also
keeps the outputs of the modules, by which difftest finds the first wrong one.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]
Port = Callable[[dict, Arrays, Arrays, "Plan"], np.ndarray]

# Each order cuts a sum into blocks of so many terms. The library adds the terms inside a block.
BLOCKS = {"library": None, "blocked": 16, "sequential": 1, "reversed": -1}


@dataclass(frozen=True)
class Plan:
    """The order of the sums, the mistake to make ("" for none), and the outputs of modules."""

    order: str = "library"
    mistake: str = ""
    trace: Arrays = field(default_factory=dict)  # by the paths that the modules have in PyTorch
    prefix: str = ""  # of the paths that keep gets

    def makes(self, mistake: str) -> bool:
        """Report whether the port makes a mistake."""
        return self.mistake == mistake

    def inside(self, path: str) -> "Plan":
        """Return the same plan for the parts of a module."""
        return replace(self, prefix=f"{self.prefix}{path}." if path else self.prefix)

    def keep(self, path: str, output: np.ndarray) -> np.ndarray:
        """Keep the output of a module, and return it."""
        self.trace[self.prefix + path] = output
        return output

    def blocks(self, terms: int) -> Iterator[slice]:
        """Yield the terms of a sum, block by block, in the order in which they are added."""
        width = BLOCKS[self.order]
        if width is None:
            yield slice(0, terms)
            return
        starts = range(0, terms, abs(width))
        for start in starts if width > 0 else reversed(starts):
            yield slice(start, start + abs(width))

    def sum(self, x: np.ndarray) -> np.ndarray:
        """Return the sum over the last axis, which stays as an axis of length 1."""
        total = np.float32(0)
        for block in self.blocks(x.shape[-1]):
            total = total + x[..., block].sum(axis=-1, keepdims=True, dtype=np.float32)
        return total

    def mean(self, x: np.ndarray) -> np.ndarray:
        """Return the mean over the last axis, which stays as an axis of length 1."""
        return self.sum(x) / np.float32(x.shape[-1])

    def matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a @ b."""
        total = np.float32(0)
        for block in self.blocks(a.shape[-1]):
            total = total + a[..., block] @ b[..., block, :]
        return total

    def softmax(self, scores: np.ndarray) -> np.ndarray:
        """Return the softmax over the last axis."""
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return weights / self.sum(weights)


def split_heads(x: np.ndarray, heads: int) -> np.ndarray:
    """Return (B, T, H * E) as (B, H, T, E)."""
    B, T, width = x.shape
    return x.reshape(B, T, heads, width // heads).swapaxes(1, 2)


def merge_heads(x: np.ndarray) -> np.ndarray:
    """Return (B, H, T, E) as (B, T, H * E)."""
    B, H, T, E = x.shape
    return x.swapaxes(1, 2).reshape(B, T, H * E)


def read(case: Path) -> tuple[Arrays, Arrays]:
    """Return the state dict and the inputs of a captured case."""
    record = json.loads((case / "case.json").read_text())
    return tuple(
        {name: np.load(case / file) for name, file in record[part].items()}
        for part in ("state_dict", "inputs")
    )


def save_trace(folder: Path, trace: Arrays) -> None:
    """Write the outputs of modules as folder/PATH.npy."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, output in trace.items():
        np.save(folder / f"{path}.npy", output.astype(np.float32))


def main(port: Port, mistakes: dict[str, str]) -> None:
    """Compute the output of a captured case as the command line says."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("case", type=Path, help="folder of the case")
    parser.add_argument("output", type=Path, help="the .npy file to write")
    parser.add_argument("--config", type=Path, required=True, help="the model's config.json")
    parser.add_argument("--trace", type=Path, help="folder for the outputs of the modules", metavar="DIR")
    parser.add_argument("--order", choices=BLOCKS, default="library", help="order of the sums")
    parser.add_argument(
        "--mistake", choices=mistakes, default="", help="a mistake to make", metavar="MISTAKE"
    )
    arguments = parser.parse_args()
    state, inputs = read(arguments.case)
    config = json.loads(arguments.config.read_text())
    plan = Plan(arguments.order, arguments.mistake)
    output = port(config, state, inputs, plan)
    np.save(arguments.output, output.astype(np.float32))
    if arguments.trace:
        save_trace(arguments.trace, plan.trace)

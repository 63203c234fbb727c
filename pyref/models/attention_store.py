"""Cases of the attention modules with their graphs, and the outputs of known mistakes in them."""

import copy
import json
from pathlib import Path

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.capture import capture
from pyref.models import attention, attention_planted
from pyref.models.attention import Settings

Tensor = torch.Tensor


def modules() -> dict[str, attention.Attention]:
    """Return each module by name."""
    return {
        "separate": attention.Attention(Settings(kv_heads=2, rotated=6)),
        "fused": attention.Fused(Settings()),
        "per-head": attention.PerHead(Settings(rotated=4, causal=True)),
        "normed": attention.Attention(Settings(kv_heads=2, rotated=6, normed=True, window=3, biases=False)),
        "relative": attention.Attention(Settings(scale=1.0, causal=False, distances=4, biases=False)),
        "cross": attention.Attention(Settings(causal=False)),
    }


def mistakes(name: str) -> dict[str, attention_planted.Plant]:
    """Return the mistakes that are made in a module."""
    # Per-head splits no heads, and the scale of relative is 1.
    without = {"per-head": "split", "relative": "scale-"}.get(name, "nothing")
    everywhere = {key: plant for key, plant in attention_planted.EVERYWHERE.items() if without not in key}
    return everywhere | attention_planted.OWN[name]


def inputs(name: str) -> dict[str, Tensor]:
    """Return three sequences, the first two of them padded, and the memory of cross attention."""
    stream = Stream(7)
    draw = lambda role, tokens: torch.from_numpy(stream.normal(role, (3, tokens, 20)))  # noqa: E731
    tokens = 8
    padding = torch.arange(tokens) >= torch.tensor([[5], [7], [8]])
    if name == "cross":
        return {"x": draw("x", 6), "padding": padding, "memory": draw("memory", tokens)}
    return {"x": draw("x", tokens), "padding": padding}


def write(folder: Path) -> dict[str, int]:
    """Write a case for each module below `folder`, and NAME.npy and NAME.json with its mistakes."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, module in modules().items():
        shake(module, Stream(len(name)))
        capture(module.eval(), inputs(name), f"attention/{name}", folder)
        outputs = {identity: wrong(name, module, plant) for identity, plant in mistakes(name).items()}
        np.save(folder / f"{name}.npy", np.stack(list(outputs.values())))
        (folder / f"{name}.json").write_text(json.dumps(list(outputs), indent=1) + "\n")
        counts[name] = len(outputs)
    return counts


@torch.no_grad()
def shake(module: torch.nn.Module, stream: Stream) -> None:
    """Draw every parameter, so that each mistake shows."""
    for name, parameter in module.named_parameters():
        drawn = torch.from_numpy(stream.normal(name, tuple(parameter.shape)))
        if "norm" in name:
            parameter.copy_(1 + 0.2 * drawn)
        elif parameter.dim() == 1 or "relative" in name:
            parameter.copy_(0.5 * drawn)
        else:
            parameter.copy_(drawn / 20**0.5)


@torch.no_grad()
def wrong(name: str, module: attention.Attention, plant: attention_planted.Plant) -> np.ndarray:
    """Return the output of a module with a mistake."""
    module = copy.deepcopy(module)
    plant(module)
    return module(**inputs(name)).numpy()

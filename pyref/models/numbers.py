"""Small models whose numbers are wrong by random values, made in eager PyTorch.

Each number of a model has a function that gives it another value. The values are drawn; a file says
which value each output has.
"""

import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.capture import capture
from pyref.models import decoder, encoder, store
from pyref.planted import precision

nn, functional, Tensor = torch.nn, torch.nn.functional, torch.Tensor


@dataclass(frozen=True)
class Multipliers:
    """Factors of a model as Granite has them, and the limit of a clamp as gpt-oss has it."""

    embedding: float = 3.0
    residual: float = 0.4
    logits: float = 2.5
    limit: float = 0.6


class Scaled(decoder.Decoder):
    """A decoder with factors, whose MLP clamps its gate and its other input."""

    def __init__(self, settings: decoder.Settings, by: Multipliers) -> None:
        super().__init__(settings)
        self.by = by
        for layer in self.layers:
            layer.by = by
            layer.mlp = Clamped(settings, by)
            layer.add = layer.add_mlp = SumOf(by)

    def embed(self, input_ids: Tensor) -> Tensor:
        """Return the embeddings of tokens, times their factor."""
        return self.embed_tokens(input_ids) * self.by.embedding

    def cap(self, logits: Tensor) -> Tensor:
        """Divide the logits."""
        return logits / self.by.logits


class SumOf(nn.Module):
    """A sum whose second part has a factor."""

    def __init__(self, by: Multipliers) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        """Return the sum."""
        return x + branch * self.by.residual


class Clamped(decoder.MLP):
    """act(gate) times up, both clamped before."""

    def __init__(self, settings: decoder.Settings, by: Multipliers) -> None:
        super().__init__(settings)
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP of x."""
        gate = self.gate_proj(x).clamp(max=self.by.limit)
        up = self.up_proj(x).clamp(-self.by.limit, self.by.limit)
        return self.down_proj(self.act(gate) * up)


DRAWS = 2  # values of each number at each place

Change = Callable[[nn.Module, float], None]


def set_all(kind: type, name: str) -> Change:
    """Set an attribute of every module of a class."""

    def change(model: nn.Module, value: float) -> None:
        for module in model.modules():
            if isinstance(module, kind):
                setattr(module, name, value)

    return change


def set_setting(name: str) -> Change:
    """Change a setting of a decoder, in all of its modules."""

    def change(model: nn.Module, value: float) -> None:
        for module in model.modules():
            if hasattr(module, "settings"):
                module.settings = replace(module.settings, **{name: value})

    return change


def multiplier(name: str) -> Change:
    """Change a factor of a scaled decoder."""

    def change(model: nn.Module, value: float) -> None:
        for module in model.modules():
            if hasattr(module, "by"):
                module.by = replace(module.by, **{name: value})

    return change


def scaled_embeddings(model: nn.Module, value: float) -> None:
    """Multiply the embeddings of a model whose embeddings have no factor."""
    model.embed = lambda ids: model.embed_tokens(ids) * value


def scaled_branches(model: nn.Module, value: float) -> None:
    """Multiply the branches that a model adds to the residual without a factor."""
    for layer in model.layers:
        layer.add = layer.add_mlp = lambda x, branch: x + branch * value


def moved_positions(model: nn.Module, value: float) -> None:
    """Use the embedding of another position."""
    table = model.embeddings
    table.add_position = lambda x, positions: x + table.position(positions + int(value))


def stretched(model: nn.Module, value: float) -> None:
    """Divide the positions of the rotary embedding."""
    rotary = model.rotary

    def forward(tokens: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        pairs = torch.arange(0, rotary.size, 2, dtype=torch.float64) / rotary.size
        angles = torch.outer(torch.arange(tokens) / value, rotary.base**-pairs).repeat(1, 2)
        return angles.cos().to(dtype), angles.sin().to(dtype)

    rotary.forward = forward


DECODER: dict[str, tuple[float, Change]] = {
    "norm-eps": (1e-5, set_all(decoder.RMSNorm, "eps")),
    "model-scale": (6**-0.5, set_all(decoder.Attention, "scale")),
    "model-rope-base": (1e4, set_all(decoder.Rotary, "base")),
    "model-rope-factor": (1.0, stretched),
    "embedding-factor": (1.0, scaled_embeddings),
    "residual-factor": (1.0, scaled_branches),
}

GEMMA: dict[str, tuple[float, Change]] = {
    "norm-eps": (1e-6, set_all(decoder.RMSNorm, "eps")),
    "model-scale": (6**-0.5, set_all(decoder.Attention, "scale")),
    "model-softcap": (2.0, set_setting("score_cap")),
    "logits-softcap": (4.0, set_setting("logit_cap")),
    "model-window": (4.0, set_setting("window")),
    "embedding-factor": (math.sqrt(24), scaled_embeddings),
}

ENCODER: dict[str, tuple[float, Change]] = {
    "norm-eps": (1e-3, set_all(nn.LayerNorm, "eps")),
    "model-scale": (6**-0.5, set_all(encoder.Attention, "scale")),
    "position-offset": (0.0, moved_positions),
}

SCALED: dict[str, tuple[float, Change]] = {
    "embedding-factor": (3.0, multiplier("embedding")),
    "residual-factor": (0.4, multiplier("residual")),
    "logits-factor": (2.5, multiplier("logits")),
    "clamp-limit": (0.6, multiplier("limit")),
}

USUAL = {"norm-eps": (1e-3, 1e-5, 1e-6, 1e-8, 1e-12), "model-rope-base": (1e3, 1e5, 5e5, 1e6)}

# Numbers that each layer has for itself.
LAYERWISE = ("norm-eps", "model-scale", "model-softcap", "clamp-limit")

# The path of a part that each layer has, by model, and how to reach it.
PARTS = {
    "llama": ("layers.*.post_attention_layernorm", lambda layer: layer.post_attention_layernorm),
    "gemma": ("layers.*.input_layernorm", lambda layer: layer.input_layernorm),
    "bert": ("layers.*.output_norm", lambda layer: layer.output_norm),
}


def models() -> dict[str, tuple[nn.Module, dict[str, tuple[float, Change]]]]:
    """Return each model by name, with its numbers."""
    known = store.models()
    return {
        "llama": (known["llama"][0], DECODER),
        "gemma": (known["gemma"][0], GEMMA),
        "bert": (known["bert"][0], ENCODER),
        "scaled": (Scaled(decoder.Settings(), Multipliers()), SCALED),
    }


def draw(name: str, right: float, at: str) -> float:
    """Return a wrong value: up to 20 times as large or as small, a usual one, or a whole number."""
    part, usual = np.random.default_rng(list(at.encode())).random(2)
    if usual < 0.3 and name in USUAL:
        return USUAL[name][int(part * len(USUAL[name]))]
    match name:
        case "model-window":
            return float([3, 5, 6][int(part * 3)])
        case "position-offset":
            return float(3 + int(part * 7))
        case "model-rope-base":
            return 10 ** (1 + 6 * part)
        case "norm-eps":
            return 10 ** (-8 + 7 * part)
        case "model-rope-factor":
            return 0.5 * 64**part
        case "clamp-limit":
            return right * 20 ** (-part)  # no element reaches a much larger limit
    return right * 20 ** (2 * part - 1)


@dataclass(frozen=True)
class Plant:
    """A number of a model with another value, in one part, or everywhere if the path is ""."""

    number: str
    right: float
    value: float
    where: str
    change: Callable[[nn.Module], None]


def plants(name: str, numbers: dict[str, tuple[float, Change]], draws: int) -> Iterator[Plant]:
    """Yield wrong values of each number of a model."""
    for number, (right, change) in numbers.items():
        places: list[tuple[str, Callable[[nn.Module], list[nn.Module]]]] = [("", lambda model: [model])]
        if number in LAYERWISE:
            places.append(("layers.1", lambda model: [model.layers[1]]))
        if number == "norm-eps":
            where, part = PARTS[name]
            places.append((where, lambda model, part=part: [part(layer) for layer in model.layers]))
        for where, parts in places:
            for i in range(draws):
                value = draw(number, right, f"{name} {number} {where} {i}")
                if value != right:
                    yield Plant(number, right, value, where, in_parts(change, parts, value))


def in_parts(change: Change, parts: Callable[[nn.Module], list[nn.Module]], value: float) -> Callable:
    """Return a function that sets a number in some parts of a model."""

    def planted(model: nn.Module) -> None:
        for part in parts(model):
            change(part, value)

    return planted


def write(folder: Path, draws: int = DRAWS) -> dict[str, int]:
    """Write NAME-numbers.npy and .json with wrong values of each model below `folder`.

    A case of a model that has none yet is written, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, (model, numbers) in models().items():
        store.shake(model, Stream(len(name)))
        model.eval()
        if not (folder / "models" / name).exists():
            capture(model, store.inputs(), f"models/{name}", folder)
        planted = list(plants(name, numbers, draws))
        np.save(folder / f"{name}-numbers.npy", np.stack([wrong(model, plant) for plant in planted]))
        told = [{"number": p.number, "right": p.right, "value": p.value, "where": p.where} for p in planted]
        (folder / f"{name}-numbers.json").write_text(json.dumps(told, indent=1) + "\n")
        counts[name] = len(planted)
    model, _ = models()["scaled"]
    store.shake(model, Stream(len("scaled")))
    for word, dtype in (("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        np.save(folder / f"scaled-{word}.npy", in_precision(model.eval(), dtype))
    for word, rounding in (("tf32", precision.tf32), ("tf32-truncated", precision.truncated(11))):
        with RoundedFactors(rounding):
            np.save(folder / f"scaled-{word}.npy", in_precision(model.eval(), torch.float32))
    return counts


class RoundedFactors(torch.overrides.TorchFunctionMode):
    """Round the factors of matrix products, as a CUDA device does with TensorFloat-32."""

    PRODUCTS = (functional.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__)

    def __init__(self, rounding: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.rounding = rounding

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """Round the two factors of a product."""
        if function in self.PRODUCTS:
            args = *map(self.rounding, args[:2]), *args[2:]
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def in_precision(model: nn.Module, dtype: torch.dtype) -> np.ndarray:
    """Return two outputs in a lower precision: the right one, and one with norm weights of one."""
    low = copy.deepcopy(model).to(dtype)
    right = low(**store.inputs()).float()
    for module in low.modules():
        if isinstance(module, decoder.RMSNorm):
            module.weight.fill_(1)
    return torch.stack([right, low(**store.inputs()).float()]).numpy()


@torch.no_grad()
def wrong(model: nn.Module, plant: Plant) -> np.ndarray:
    """Return the output of a model with a wrong number."""
    model = copy.deepcopy(model)
    plant.change(model)
    return model(**store.inputs()).numpy()

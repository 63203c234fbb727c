"""Cases of the small models with their graphs, and the outputs of every known mistake in them."""

import copy
import json
from pathlib import Path

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.capture import capture
from pyref.models import (
    decoder,
    deep,
    encoder,
    fused,
    gpt,
    mixed,
    planted,
    planted_assorted,
    planted_layers,
    planted_mixed,
    planted_sequence,
    planted_vision,
    sequence,
    upscaler,
    vision,
)

Tensor = torch.Tensor


def models() -> dict[str, tuple[torch.nn.Module, dict[str, planted.Plant]]]:
    """Return each model by name, with its mistakes."""
    gemma = decoder.Settings(
        activation="gelu", offset=1.0, scaled=True, window=4, score_cap=2.0, logit_cap=4.0, eps=1e-6
    )
    return {
        "llama": (decoder.Decoder(decoder.Settings()), planted.DECODER | planted_layers.DECODER),
        "gemma": (decoder.Decoder(gemma), planted.GEMMA),
        "bert": (encoder.Encoder(encoder.Settings()), planted.ENCODER | planted_layers.ENCODER),
        "gpt": (gpt.GPT(gpt.Settings(scaled_by_layer=True)), planted_layers.GPT),
        "neox": (gpt.GPT(gpt.Settings(parallel=True, head_bias=True)), planted_layers.NEOX),
        "mixed": (mixed.Mixed(mixed.Settings()), planted_mixed.SOFTMAX),
        "grouped": (
            mixed.Mixed(mixed.Settings(grouped=True, layers=2, multiplier=1.0, local=(0, 1), rotated=(1, 1))),
            planted_mixed.GROUPED,
        ),
        "pyramid": (vision.Pyramid(), planted_vision.PYRAMID),
        "patches": (vision.Patches(), planted_vision.PATCHES),
        "recurrent": (sequence.Recurrent(), planted_sequence.RECURRENT),
        "state_space": (sequence.StateSpace(), planted_sequence.STATE_SPACE),
        "deep": (deep.Sentences(), planted_assorted.DEEP),
        "fused": (fused.Fused(), planted_assorted.FUSED),
        "upscaler": (upscaler.Upscaler(), planted_assorted.UPSCALER),
    }


def write(folder: Path) -> dict[str, int]:
    """Write a case for each model below `folder`, and NAME.npy and NAME.json with its mistakes."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, (model, mistakes) in models().items():
        shake(model, Stream(len(name)))
        model.eval()
        capture(model, inputs(name), f"models/{name}", folder)
        outputs = {identity: wrong(model, plant, name) for identity, plant in mistakes.items()}
        np.save(folder / f"{name}.npy", np.stack(list(outputs.values())))
        (folder / f"{name}.json").write_text(json.dumps(list(outputs), indent=1) + "\n")
        counts[name] = len(outputs)
    return counts


def inputs(name: str = "llama") -> dict[str, Tensor]:
    """Return the inputs of a model: two sequences of seven tokens, images, or sequences of numbers.

    The first sequence of tokens is padded.
    """
    stream = Stream(7)
    if name in ("pyramid", "patches"):
        return {"pixel_values": normal(stream, "pixels", (2, 3, 8, 8))}
    if name == "upscaler":
        times = torch.tensor([3.0, 11.0])
        return {"pixel_values": normal(stream, "pixels", (2, 3, 8, 8)), "timestep": times}
    if name == "recurrent":
        states = {role: normal(stream, role, (2, 3, 4)) for role in ("hidden", "cells")}
        return {"x": normal(stream, "x", (3, 6, 5))} | states
    ids = torch.tensor([[3, 14, 15, 9, 26, 5, 3], [27, 18, 2, 8, 1, 8, 28]])
    if name == "state_space":
        return {"input_ids": ids}
    return {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 0, 0], [1] * 7])}


def normal(stream: Stream, name: str, shape: tuple[int, ...]) -> Tensor:
    """Draw a tensor."""
    return torch.from_numpy(stream.normal(name, shape).astype(np.float32))


@torch.no_grad()
def shake(model: torch.nn.Module, stream: Stream) -> None:
    """Draw every parameter so that each mistake shows: no weight of a norm is one, no bias zero."""
    for name, parameter in model.named_parameters():
        drawn = torch.from_numpy(stream.normal(name, tuple(parameter.shape)).astype(np.float32))
        if parameter.dim() == 2:
            size = 0.3 if "embed" in name else parameter.shape[1] ** -0.5
            parameter.copy_(size * drawn)
        elif parameter.dim() > 2:
            fan = parameter.shape[1] if parameter.dim() == 3 else parameter[0].numel()
            parameter.copy_(fan**-0.5 * drawn)
        else:
            middle = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(middle + 0.2 * drawn)
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point() and name.endswith(("running_mean", "running_var")):
            drawn = torch.from_numpy(stream.normal(name, tuple(buffer.shape)).astype(np.float32))
            buffer.copy_(0.3 * drawn if name.endswith("mean") else 0.5 + drawn.abs())


@torch.no_grad()
def wrong(model: torch.nn.Module, plant: planted.Plant, name: str = "llama") -> np.ndarray:
    """Return the output of a model with a mistake."""
    model = copy.deepcopy(model)
    plant(model)
    return model(**inputs(name)).numpy()

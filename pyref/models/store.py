"""Cases of the small models with their graphs, and the outputs of every known mistake in them."""

import copy
import json
from pathlib import Path

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.capture import capture
from pyref.models import decoder, encoder, planted

Tensor = torch.Tensor


def models() -> dict[str, tuple[torch.nn.Module, dict[str, planted.Plant]]]:
    """Return each model by name, with its mistakes."""
    gemma = decoder.Settings(
        activation="gelu", offset=1.0, scaled=True, window=4, score_cap=2.0, logit_cap=4.0, eps=1e-6
    )
    return {
        "llama": (decoder.Decoder(decoder.Settings()), planted.DECODER),
        "gemma": (decoder.Decoder(gemma), planted.GEMMA),
        "bert": (encoder.Encoder(encoder.Settings()), planted.ENCODER),
    }


def write(folder: Path) -> dict[str, int]:
    """Write a case for each model below `folder`, and NAME.npy and NAME.json with its mistakes."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, (model, mistakes) in models().items():
        shake(model, Stream(len(name)))
        model.eval()
        capture(model, inputs(), f"models/{name}", folder)
        outputs = {identity: wrong(model, plant) for identity, plant in mistakes.items()}
        np.save(folder / f"{name}.npy", np.stack(list(outputs.values())))
        (folder / f"{name}.json").write_text(json.dumps(list(outputs), indent=1) + "\n")
        counts[name] = len(outputs)
    return counts


def inputs() -> dict[str, Tensor]:
    """Return two sequences of seven tokens, the first of them padded."""
    ids = torch.tensor([[3, 14, 15, 9, 26, 5, 3], [27, 18, 2, 8, 1, 8, 28]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0], [1] * 7])
    return {"input_ids": ids, "attention_mask": mask}


@torch.no_grad()
def shake(model: torch.nn.Module, stream: Stream) -> None:
    """Draw every parameter so that each mistake shows: no weight of a norm is one, no bias zero."""
    for name, parameter in model.named_parameters():
        drawn = torch.from_numpy(stream.normal(name, tuple(parameter.shape)).astype(np.float32))
        if parameter.dim() == 2:
            size = 0.3 if "embed" in name else parameter.shape[1] ** -0.5
            parameter.copy_(size * drawn)
        else:
            middle = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(middle + 0.2 * drawn)


@torch.no_grad()
def wrong(model: torch.nn.Module, plant: planted.Plant) -> np.ndarray:
    """Return the output of a model with a mistake."""
    model = copy.deepcopy(model)
    plant(model)
    return model(**inputs()).numpy()

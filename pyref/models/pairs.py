"""Two mistakes at once in the small models, each made in eager PyTorch as it is alone."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.models import planted, store

COUNTS = {"llama": 12, "bert": 8, "gemma": 4}


def write(folder: Path) -> dict[str, int]:
    """Write NAME-pairs.npy and .json, the outputs and the ids of some pairs, and count them."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, count in COUNTS.items():
        drawn = outputs(name, count)
        np.save(folder / f"{name}-pairs.npy", np.stack([output for _, output in drawn]))
        ids = [list(pair) for pair, _ in drawn]
        (folder / f"{name}-pairs.json").write_text(json.dumps(ids, indent=1) + "\n")
        counts[name] = len(drawn)
    return counts


@torch.no_grad()
def outputs(name: str, count: int, seed: int = 1) -> list[tuple[tuple[str, str], np.ndarray]]:
    """Return so many pairs of mistakes of a model with their outputs.

    A pair is left out if its output is the right one, or that of one of its mistakes.
    """
    model, mistakes = store.models()[name]
    store.shake(model, Stream(len(name)))
    model.eval()
    alone = {identity: store.wrong(model, plant, name) for identity, plant in mistakes.items()}
    right = store.wrong(model, lambda _: None, name)
    pairs = list(combinations(mistakes, 2))
    order = np.argsort(Stream(seed).normal(name, (len(pairs),)))
    made: list[tuple[tuple[str, str], np.ndarray]] = []
    for place in order:
        first, second = pairs[place]
        output = store.wrong(model, both(mistakes[first], mistakes[second]), name)
        others = (right, alone[first], alone[second])
        if np.isfinite(output).all() and not any(np.allclose(output, o, 1e-4, 1e-4) for o in others):
            made.append((pairs[place], output))
        if len(made) == count:
            break
    return made


def both(first: planted.Plant, second: planted.Plant) -> planted.Plant:
    """Return a plant that makes two mistakes."""

    def plant(model: torch.nn.Module) -> None:
        first(model)
        second(model)

    return plant

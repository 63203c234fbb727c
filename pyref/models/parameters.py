"""Small models whose parameters stand in wrong places, made by their state dicts.

The last plants of each model are no known mistake: difftest must give them no name.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.models import store

Tensor = torch.Tensor
State = dict[str, Tensor]


@dataclass(frozen=True)
class Plant:
    """A change of a state dict. `title` holds the words by which difftest must name it."""

    identity: str
    title: str
    change: Callable[[State], State]


def exchanged(first: str, second: str, layers: int = 0) -> Plant:
    """Exchange the parameters of two modules, or of two modules of every layer."""

    def change(state: State) -> State:
        new = dict(state)
        for a, b in pairs(first, second, layers):
            for key in state:
                if key.startswith(a):
                    other = b + key.removeprefix(a)
                    new[key], new[other] = state[other], state[key]
        return new

    return Plant("parameters-exchanged", f"the parameters of {first} and {second} exchanged", change)


def copied(source: str, to: str) -> Plant:
    """Use the parameters of one module for another, too."""

    def change(state: State) -> State:
        return {
            key: state[source + key.removeprefix(to)] if key.startswith(to) else value
            for key, value in state.items()
        }

    return Plant("parameters-of-another", f"the parameters of {source} in {to}", change)


def pairs(first: str, second: str, layers: int) -> Iterator[tuple[str, str]]:
    """Yield the two paths, in each layer where * stands for its number."""
    for i in range(layers or 1):
        yield first.replace("*", str(i)), second.replace("*", str(i))


def set_to(identity: str, word: str, key: str, value: float, layers: int = 0) -> Plant:
    """Fill a parameter, or one of every layer, with a number."""

    def change(state: State) -> State:
        keys = {a for a, _ in pairs(key, key, layers)}
        return {k: torch.full_like(v, value) if k in keys else v for k, v in state.items()}

    return Plant(identity, f"{word} for {key}", change)


def multiplied(key: str, factor: float) -> Plant:
    """Multiply a parameter by a number."""
    return Plant("parameter-factor", f"factor of {key}", lambda state: state | {key: state[key] * factor})


def unnamed(key: str, seed: int, size: float) -> Plant:
    """Add other numbers to a parameter, as large as `size` times its own."""

    def change(state: State) -> State:
        noise = Stream(seed).normal(key, tuple(state[key].shape)).astype(np.float32)
        return state | {key: state[key] + size * state[key].std() * torch.from_numpy(noise)}

    return Plant("", "", change)


PLANTS: dict[str, list[Plant]] = {
    "llama": [
        exchanged("layers.*.self_attn.k_proj.weight", "layers.*.self_attn.v_proj.weight", 3),
        exchanged("layers.0.self_attn.q_proj.weight", "layers.2.self_attn.o_proj.weight"),
        exchanged("layers.0.mlp", "layers.2.mlp"),
        exchanged("layers.1", "layers.2"),
        exchanged("layers.1.input_layernorm.weight", "norm.weight"),
        copied("layers.2.self_attn", "layers.0.self_attn"),
        set_to("parameter-zeros", "zeros", "layers.1.self_attn.k_proj.weight", 0),
        set_to("parameter-ones", "ones", "layers.2.mlp.up_proj.weight", 1),
        multiplied("layers.1.mlp.gate_proj.weight", 0.7),
        multiplied("layers.2.mlp.up_proj.weight", 0.003),
        unnamed("layers.1.mlp.up_proj.weight", 1, 0.01),
        unnamed("layers.0.self_attn.q_proj.weight", 2, 1.0),
        unnamed("lm_head.weight", 3, 0.1),
        unnamed("embed_tokens.weight", 4, 0.3),
    ],
    "bert": [
        exchanged("layers.0.attention.query", "layers.1.attention.output"),
        exchanged("layers.*.attention.output", "layers.*.attention.value", 2),
        exchanged("layers.1.attention.key.bias", "layers.1.attention.value.bias"),
        set_to("parameter-zeros", "zeros", "layers.*.attention.value.bias", 0, 2),
        multiplied("layers.0.up.weight", 1.3),
        unnamed("layers.0.attention.value.weight", 5, 0.5),
        unnamed("layers.1.up.bias", 6, 0.5),
        unnamed("embeddings.norm.weight", 7, 0.2),
    ],
}


def write(folder: Path) -> dict[str, int]:
    """Write NAME-parameters.npy and .json, the outputs of each plant, and count them."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, plants in PLANTS.items():
        np.save(folder / f"{name}-parameters.npy", outputs(name))
        told = [{"id": plant.identity, "title": plant.title} for plant in plants]
        (folder / f"{name}-parameters.json").write_text(json.dumps(told, indent=1) + "\n")
        counts[name] = len(plants)
    return counts


@torch.no_grad()
def outputs(name: str) -> np.ndarray:
    """Return the outputs of a model with each change of its state dict."""
    model = store.models()[name][0].eval()
    store.shake(model, Stream(len(name)))
    right = {key: value.clone() for key, value in model.state_dict().items()}
    made = []
    for plant in PLANTS[name]:
        model.load_state_dict(plant.change(right))
        made.append(model(**store.inputs()).numpy())
    return np.stack(made)

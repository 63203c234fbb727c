"""The decoder layer: norms, rotary positions, a cache, biases by distance, sinks.

Tensors are (B, T, heads, E). Positions count from the first cached key. Every query attends by
itself over the keys that it sees.
"""

import numpy as np

from pyref.crosscheck import layouts
from pyref.crosscheck.rope import rotate

Arrays = dict[str, np.ndarray]


def compute(config: dict, inputs: Arrays, parameters: Arrays) -> Arrays:
    """Return "output" (B, L, D)."""
    q, k, v = prepare(config, inputs, parameters)
    context, group = np.zeros(q.shape), q.shape[2] // k.shape[2]
    for b, i, h in np.ndindex(q.shape[:3]):
        position = cached(inputs) + i
        keys = visible(config, inputs, b, position, k.shape[1])
        if len(keys) > 0:
            products = k[b, keys, h // group] @ q[b, i, h]
            scores = score(config, parameters, h, keys - position, products)
            context[b, i, h] = weigh(scores, parameters, h) @ v[b, keys, h // group]
    return {"output": layouts.output(config, context, parameters)}


def cached(inputs: Arrays) -> int:
    """Return the number of keys in the cache."""
    return inputs["past_key"].shape[2] if "past_key" in inputs else 0


def prepare(config: dict, inputs: Arrays, parameters: Arrays) -> list[np.ndarray]:
    """Return queries (B, L, H, E), keys and values (B, P + S, Hk, E), normed and rotated."""
    q, k, v = layouts.project(config, inputs, parameters)
    if "qk_norm" in config:
        epsilon = config["qk_norm"]["eps"]
        q = unit(q, epsilon) * parameters["q_norm.weight"]
        k = unit(k, epsilon) * parameters["k_norm.weight"]
    if "rope" in config:
        positions = cached(inputs) + np.arange(q.shape[1])
        q, k = rotate(q, positions, **config["rope"]), rotate(k, positions, **config["rope"])
    if cached(inputs):
        k = np.concatenate([inputs["past_key"].swapaxes(1, 2), k], axis=1)
        v = np.concatenate([inputs["past_value"].swapaxes(1, 2), v], axis=1)
    return [q, k, v]


def unit(x: np.ndarray, epsilon: float) -> np.ndarray:
    """Divide each vector by its root mean square."""
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + epsilon)


def visible(config: dict, inputs: Arrays, b: int, position: int, S: int) -> np.ndarray:
    """Return which of S keys the query at `position` sees."""
    reach = config.get("window", position + S)
    first, last = max(position - reach + 1, 0), min(position + reach - 1, S - 1)
    if config["causality"] == "top-left":
        last = min(last, position)
    keys = np.arange(first, last + 1)
    return keys[~inputs["padding"][b, keys]] if "padding" in inputs else keys


def score(
    config: dict, parameters: Arrays, h: int, distances: np.ndarray, products: np.ndarray
) -> np.ndarray:
    """Return the scores of keys, from their products with the query and their distances to it."""
    _, _, E = layouts.heads(config)
    scores = products * config.get("scale", E**-0.5)
    if "softcap" in config:
        scores = config["softcap"] * np.tanh(scores / config["softcap"])
    if config.get("alibi"):
        scores = scores - slope(h, config["num_heads"]) * np.abs(distances)
    if "relative_bias" in config:
        farthest = config["relative_bias"]
        rows = [min(max(distance, -farthest), farthest) + farthest for distance in distances]
        scores = scores + parameters["relative_bias.weight"][rows, h]
    return scores


def slope(h: int, H: int) -> float:
    """Return ALiBi's slope: whole steps up to a power of two, then odd half steps for the rest."""
    power = 1
    while 2 * power <= H:
        power *= 2
    steps = h + 1 if h < power else h - power + 0.5
    return 0.5 ** (8 / power * steps)


def weigh(scores: np.ndarray, parameters: Arrays, h: int) -> np.ndarray:
    """Return the weights of the keys; with a sink their sum is below one."""
    sink = parameters["sinks"][h] if "sinks" in parameters else -np.inf
    largest = max(scores.max(), sink)
    exps = np.exp(scores - largest)
    return exps / (exps.sum() + np.exp(sink - largest))

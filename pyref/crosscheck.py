"""An independent computation of a case, in NumPy and float64: PyTorch can be wrong, or misused.

It shares nothing with the PyTorch side. It reads the files of a written case as any reader would, splits
heads with einsum, and attends query by query over the keys that the query may see, so that no mask is ever
added to a score and no empty row is ever divided.
"""

import json
from pathlib import Path

import numpy as np

TOLERANCE = 1e-12  # of the largest element: some thousand float64 roundings, and any mistake is far above


def verify(folder: Path) -> None:
    """Raise ValueError unless the truth in a case's folder agrees with this computation."""
    difference = deviation(folder)
    if not difference <= TOLERANCE:
        raise ValueError(
            f"{folder.parent.name}/{folder.name}: pytorch's float64 result is {difference:.1e} away from"
            f" the numpy cross-check, relative to its largest element; at most {TOLERANCE:.0e} is allowed"
        )


def deviation(folder: Path) -> float:
    """Return the largest difference from the truth, relative to the largest element of the truth."""
    case = json.loads((folder / "case.json").read_text(encoding="ascii"))
    truth = np.load(folder / case["expected"]["truth"])
    output = compute(case["config"], read(folder, case["inputs"]), read(folder, case.get("state_dict", {})))
    largest = np.abs(truth).max()
    return float(np.abs(output - truth).max() / largest) if np.isfinite(largest) else np.inf


def read(folder: Path, files: dict[str, str]) -> dict[str, np.ndarray]:
    """Return arrays by name, floats as float64."""
    arrays = {name: np.load(folder / file) for name, file in files.items()}
    return {name: a if a.dtype == np.bool_ else a.astype(np.float64) for name, a in arrays.items()}


def compute(config: dict, inputs: dict[str, np.ndarray], parameters: dict[str, np.ndarray]) -> np.ndarray:
    """Return the output: (B, H, L, Ev) of the function, (B, L, D) of a layer."""
    q, k, v = project(config, inputs, parameters)
    context = attend(q, k, v, visible(config, inputs, q, k), inputs.get("bias"))
    if not parameters:
        return context
    weight = parameters["W_O"] if config["keys"] == "seed" else parameters["out_proj.weight"]
    heads = weight.reshape(len(weight), config["num_heads"], -1)
    return np.einsum("bhle,dhe->bld", context, heads) + parameters.get("out_proj.bias", 0)


def project(
    config: dict, inputs: dict[str, np.ndarray], parameters: dict[str, np.ndarray]
) -> tuple[np.ndarray, ...]:
    """Return queries (B, H, L, E), keys (B, H, S, E) and values (B, H, S, Ev); a function is given them."""
    roles = [inputs["query"], inputs["key"], inputs["value"]]
    if not parameters:
        return tuple(roles)
    H = config["num_heads"]
    weights = [weight.reshape(H, -1, weight.shape[1]) for weight in input_weights(config, parameters)]
    biases = parameters.get("in_proj_bias", np.zeros(3 * config["embed_dim"])).reshape(3, 1, H, 1, -1)
    return tuple(
        np.einsum("bti,hei->bhte", x, weight) + bias
        for x, weight, bias in zip(roles, weights, biases, strict=True)
    )


def input_weights(config: dict, parameters: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return the weights (D, width) of query, key and value under whichever names they have."""
    if "in_proj_weight" in parameters:
        return np.split(parameters["in_proj_weight"], 3)
    names = ("W_Q", "W_K", "W_V")
    if config["keys"] == "torch":
        names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    return [parameters[name] for name in names]


def visible(config: dict, inputs: dict[str, np.ndarray], q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return bool (B, H, L, S), true where a query may see a key."""
    (B, H, L, _), S = q.shape, k.shape[2]
    sees = np.ones((B, H, L, S), dtype=bool)
    if config["causality"] == "top-left":
        sees &= np.arange(L)[:, None] >= np.arange(S)[None, :]
    if "allow" in inputs:
        sees &= inputs["allow"]
    if "bias" in inputs:
        sees &= inputs["bias"] > -np.inf
    if "padding" in inputs:
        sees &= ~inputs["padding"][:, None, None, :]
    return sees


def attend(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, sees: np.ndarray, bias: np.ndarray | None
) -> np.ndarray:
    """Return the context (B, H, L, Ev); zero where a query sees no key."""
    B, H, L, E = q.shape
    context = np.zeros((B, H, L, v.shape[-1]))
    for b, h, i in np.ndindex(B, H, L):
        keys = np.flatnonzero(sees[b, h, i])
        if len(keys) == 0:
            continue
        scores = k[b, h, keys] @ q[b, h, i] / np.sqrt(E)
        if bias is not None:
            scores += bias[h, i, keys]
        weights = np.exp(scores - scores.max())
        context[b, h, i] = weights @ v[b, h, keys] / weights.sum()
    return context

"""A rotation by tables, token by token, as a product of complex numbers."""

import numpy as np


def compute(config: dict, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the output in the shape of the input, (B, H, T, E) or (B, T, H*E)."""
    x, turns = inputs["input"], inputs["cos"] + 1j * inputs["sin"]
    heads = x.reshape(*x.shape[:2], config["num_heads"], -1) if "num_heads" in config else x.swapaxes(1, 2)
    result = heads.copy()  # (B, T, H, E)
    for b, t in np.ndindex(heads.shape[:2]):
        turn = turns[inputs["positions"][b, t]] if "positions" in inputs else turns[b, t]
        for i, factor in enumerate(turn):
            pair = [2 * i, 2 * i + 1] if config["style"] == "interleaved" else [i, i + len(turn)]
            turned = (heads[b, t][:, pair] @ [1, 1j]) * factor
            result[b, t][:, pair] = np.stack([turned.real, turned.imag], axis=-1)
    return {"output": result.reshape(x.shape) if "num_heads" in config else result.swapaxes(1, 2)}

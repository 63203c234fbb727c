"""The state dict layouts of decoder layers, each read as its models read it.

pyref.ops.layouts describes the same layouts for PyTorch. This second reading is deliberate and
shares no code with it, so that a mistake in either shows.
"""

import numpy as np

Arrays = dict[str, np.ndarray]


def project(config: dict, inputs: Arrays, state: Arrays) -> list[np.ndarray]:
    """Return queries (B, L, H, E), keys and values (B, S, Hk, E)."""
    H, Hk, E = heads(config)
    match config["keys"]:
        case "llama":
            parts = [
                linear(inputs[role], state, f"{role[0]}_proj", "oi") for role in ("query", "key", "value")
            ]
        case "gpt2":
            parts = np.split(linear(inputs["query"], state, "c_attn", "io"), 3, axis=-1)
        case "fused":
            parts = np.split(linear(inputs["query"], state, "qkv_proj", "oi"), [H * E, (H + Hk) * E], axis=-1)
        case "neox":
            together = linear(inputs["query"], state, "query_key_value", "oi")
            groups = together.reshape(*together.shape[:2], Hk, H // Hk + 2, E)
            parts = np.split(groups, [H // Hk, H // Hk + 1], axis=3)
    return [part.reshape(*part.shape[:2], -1, E) for part in parts]


def output(config: dict, context: np.ndarray, state: Arrays) -> np.ndarray:
    """Return the output (B, L, D) of a context (B, L, H, E)."""
    name, order = {"gpt2": ("c_proj", "io"), "neox": ("dense", "oi")}.get(config["keys"], ("o_proj", "oi"))
    return linear(context.reshape(*context.shape[:2], -1), state, name, order)


def linear(x: np.ndarray, state: Arrays, name: str, order: str) -> np.ndarray:
    """Map x (B, T, in) to (B, T, out) by a weight in the given order, "oi" or "io"."""
    return np.einsum(f"bti,{order}->bto", x, state[f"{name}.weight"]) + state.get(f"{name}.bias", 0)


def heads(config: dict) -> tuple[int, int, int]:
    """Return the numbers of query heads and key/value heads, and the width of a head."""
    H = config["num_heads"]
    return H, config.get("num_kv_heads", H), config.get("head_dim", config["embed_dim"] // H)

"""nn.MultiheadAttention and the seed layer: projections around attention."""

import numpy as np

from pyref.crosscheck.attention import Attention, causal


def compute(
    config: dict, inputs: dict[str, np.ndarray], parameters: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the output in the input layout, and the weights (B, L, S') or (B, H, L, S')."""
    context, weights = layer(config, inputs, parameters).attend()
    W = parameters["W_O"] if config["keys"] == "seed" else parameters["out_proj.weight"]
    heads = W.reshape(len(W), config["num_heads"], -1)
    output = np.einsum("bhle,dhe->bld", context, heads) + parameters.get("out_proj.bias", 0)
    if config.get("need_weights") == "averaged":
        weights = weights.mean(axis=1)
    match config.get("input_layout"):
        case "sequence-first":
            output = output.swapaxes(0, 1)
        case "unbatched":
            output, weights = output[0], weights[0]
    return {"output": output, "weights": weights}


def layer(config: dict, inputs: dict[str, np.ndarray], parameters: dict[str, np.ndarray]) -> Attention:
    """Return the attention inside the layer, with leading dimensions (B, H)."""
    q, k, v = project(config, inputs, parameters)
    (B, H, L, E), S = q.shape, k.shape[2]
    bias = np.broadcast_to(per_head(inputs.get("bias"), B, H, 0.0), (B, H, L, S))
    block = per_head(inputs.get("block"), B, H, False)
    padding = np.atleast_2d(inputs.get("padding", np.zeros(S, dtype=bool)))[:, None, None, :]
    sees = causal(config, L, S) & (bias > -np.inf) & ~block & ~padding
    extra = extra_keys(config, parameters)
    width = ((0, 0), (0, 0), (0, 0), (0, len(extra)))
    return Attention(
        q=q,
        k=append(k, [key for key, _ in extra]),
        v=append(v, [value for _, value in extra]),
        sees=np.pad(sees, width, constant_values=True),
        added=np.pad(bias, width),
        scale=1 / np.sqrt(E),
        empty=np.nan if config["empty_row"] == "nan" else 0.0,
    )


def project(
    config: dict, inputs: dict[str, np.ndarray], parameters: dict[str, np.ndarray]
) -> tuple[np.ndarray, ...]:
    """Return queries, keys and values (B, H, T, E)."""
    H = config["num_heads"]
    roles = [batch_first(inputs[role], config) for role in ("query", "key", "value")]
    weights = [weight.reshape(H, -1, weight.shape[1]) for weight in input_weights(config, parameters)]
    biases = parameters.get("in_proj_bias", np.zeros(3 * config["embed_dim"])).reshape(3, 1, H, 1, -1)
    return tuple(
        np.einsum("bti,hei->bhte", x, weight) + bias
        for x, weight, bias in zip(roles, weights, biases, strict=True)
    )


def batch_first(x: np.ndarray, config: dict) -> np.ndarray:
    """Return an input as (B, T, width)."""
    match config.get("input_layout"):
        case "sequence-first":
            return x.swapaxes(0, 1)
        case "unbatched":
            return x[None]
    return x


def input_weights(config: dict, parameters: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return the weights (D, width) of query, key and value under any of their names."""
    if "in_proj_weight" in parameters:
        return np.split(parameters["in_proj_weight"], 3)
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    if config["keys"] == "seed":
        names = ("W_Q", "W_K", "W_V")
    return [parameters[name] for name in names]


def per_head(mask: np.ndarray | None, B: int, H: int, absent: float | bool) -> np.ndarray:
    """Return a mask (L, S) or (B*H, L, S), or `absent`, broadcastable to (B, H, L, S)."""
    if mask is None:
        return np.array(absent)
    return mask.reshape(B, H, *mask.shape[1:]) if mask.ndim == 3 else mask


def extra_keys(config: dict, parameters: dict[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the keys and values (D) that the layer adds: the learned ones, then zeros."""
    extra = []
    if config.get("bias_kv"):
        extra.append((parameters["bias_k"].ravel(), parameters["bias_v"].ravel()))
    if config.get("add_zero_attn"):
        extra.append((np.zeros(config["embed_dim"]), np.zeros(config["embed_dim"])))
    return extra


def append(rows: np.ndarray, extra: list[np.ndarray]) -> np.ndarray:
    """Append rows (D), shared by all batch elements, to keys or values (B, H, S, E)."""
    B, H, _, E = rows.shape
    more = [np.broadcast_to(row.reshape(H, 1, E), (B, H, 1, E)) for row in extra]
    return np.concatenate([rows, *more], axis=2)

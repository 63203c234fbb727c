"""Attention in NumPy and float32, which difftest tests in a separate process.

    difftest -- python pyref/examples/numpy_attention.py

Tensors are (..., H, T, E). B is the batch, H the heads, Hk the key/value heads, L the queries, S
the keys, E the width of a head.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from subject import serve

Arrays = dict[str, np.ndarray]


def sdpa(
    query, key, value, *, config: dict, allow=None, bias=None, sinks=None,
    past_key=None, past_value=None, key_lengths=None, first_positions=None,
) -> np.ndarray:  # fmt: skip
    """Return scaled_dot_product_attention, (..., H, L, Ev)."""
    if past_key is not None:
        key, value = np.concatenate([past_key, key], axis=-2), np.concatenate([past_value, value], axis=-2)
    if first_positions is not None:
        config = config | {"first_position": first_positions[:, None, None, None].astype(np.float32)}
    scores = visible(config, query.shape[-2], key.shape[-2])
    if key_lengths is not None:
        valid = np.arange(key.shape[-2]) < key_lengths[:, None, None, None]
        scores = np.where(valid, scores, np.float32(-np.inf))
    if allow is not None:
        scores = np.where(allow, scores, -np.inf)
    if bias is not None:
        scores = scores + bias
    if config["enable_gqa"]:
        key, value = repeat_kv(key, query.shape[-3]), repeat_kv(value, query.shape[-3])
    return attend(query, key, value, scores, config, sinks)[0]


def mha(
    query, key, value, *, config: dict, state_dict: Arrays,
    block=None, padding=None, bias=None, past_key=None, past_value=None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the output of a layer in its input layout, and attention weights if it needs them."""
    state = {name.removeprefix(config["prefix"]): array for name, array in state_dict.items()}
    query, key, value = (batch_first(x, config) for x in (query, key, value))
    q, k, v = project(config, state, query, key, value)
    if config["qk_norm"]:
        q, k = (
            norm(x, state[f"{name}_norm.weight"], **config["qk_norm"]) for x, name in ((q, "q"), (k, "k"))
        )
    if config["rope"]:
        q, k = (rotate(x, config["first_position"], **config["rope"]) for x in (q, k))
    if past_key is not None:
        k, v = np.concatenate([past_key, k], axis=2), np.concatenate([past_value, v], axis=2)
    added = masks(config, q.shape[:3], k.shape[2], block, padding, bias)
    if config["relative_bias"]:
        added = added + relative(config, state, q.shape[2], k.shape[2])
    k, v, added = append_bias_kv(config, state, k, v, added)
    H = config["num_heads"]
    context, weights = attend(q, repeat_kv(k, H), repeat_kv(v, H), added, config, state.get("sinks"))
    output = finish(config, state, context.swapaxes(1, 2))
    return in_layout(config, output, weights)


def rope(input, cos, sin, *, config: dict, positions=None) -> np.ndarray:
    """Return features rotated by tables, in the shape of the input."""
    if positions is not None:
        cos, sin = cos[positions], sin[positions]
    merged, x = config["num_heads"], input
    if merged:
        x = heads(input, input.shape[-1] // merged)
    x = x.copy()  # (B, H, T, E)
    cos, sin, dim = cos[:, None], sin[:, None], config["dim"]
    one, other = pairs(config["style"], dim)
    a, b = x[..., one].copy(), x[..., other].copy()
    x[..., one], x[..., other] = a * cos - b * sin, b * cos + a * sin
    return x.swapaxes(1, 2).reshape(input.shape) if merged else x


def attend(q, k, v, added, config: dict, sinks=None) -> tuple[np.ndarray, np.ndarray]:
    """Return context and attention weights; `added` is -inf where a key is hidden from a query."""
    scores = (q * np.float32(config["scale"])) @ k.swapaxes(-1, -2)
    if config["softcap"]:
        cap = np.float32(config["softcap"])
        scores = cap * np.tanh(scores / cap)
    if config["alibi"]:
        ahead = distances(config, *scores.shape[-2:])
        scores = scores - slopes(scores.shape[-3])[:, None, None] * np.abs(ahead)
    scores = (scores + added).astype(np.float32)
    largest = scores.max(axis=-1, keepdims=True)
    if sinks is not None:
        largest = np.maximum(largest, sinks[:, None, None])
    fully_masked = ~(scores > -np.inf).any(axis=-1, keepdims=True)
    largest = np.where(fully_masked, np.float32(0), largest)
    if config.get("softmax_precision") == "float16":
        scores, largest = scores.astype(np.float16), largest.astype(np.float16)
    weights = np.exp(scores - largest)
    total = weights.sum(axis=-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(sinks[:, None, None] - largest)
    empty = np.float32(np.nan if config["empty_row"] == "nan" else 0)
    weights = np.where(fully_masked, empty, weights / np.where(fully_masked, np.float32(1), total))
    weights = weights.astype(v.dtype)
    return weights @ v, weights


def distances(config: dict, L: int, S: int) -> np.ndarray:
    """Return (L, S), or (B, 1, L, S): the position of the key minus the position of the query."""
    return np.arange(S, dtype=np.float32) - (
        np.arange(L, dtype=np.float32)[:, None] + config["first_position"]
    )


def visible(config: dict, L: int, S: int) -> np.ndarray:
    """Return (L, S), or (B, 1, L, S): 0 where causality and window show a key, -inf elsewhere."""
    ahead = distances(config, L, S)
    sees = np.ones(ahead.shape, dtype=bool)
    if config["causality"] != "none":
        sees &= ahead <= 0
    if config["window"]:
        sees &= np.abs(ahead) < config["window"]
    return np.where(sees, np.float32(0), np.float32(-np.inf))


def slopes(H: int) -> np.ndarray:
    """Return ALiBi's slope of each head."""
    n = 2 ** (H.bit_length() - 1)
    exponents = [-8 * (h + 1) / n if h < n else -4 * (2 * (h - n) + 1) / n for h in range(H)]
    return np.exp2(np.array(exponents)).astype(np.float32)


def repeat_kv(x: np.ndarray, H: int) -> np.ndarray:
    """Repeat each head of keys or values for its query heads."""
    return np.repeat(x, H // x.shape[-3], axis=-3)


def batch_first(x: np.ndarray, config: dict) -> np.ndarray:
    """Return an input as (B, T, width)."""
    match config["input_layout"]:
        case "sequence-first":
            return x.swapaxes(0, 1)
        case "unbatched":
            return x[None]
    return x


def in_layout(config: dict, output: np.ndarray, weights: np.ndarray):
    """Return output and weights in the input layout of the case."""
    if config["need_weights"] == "averaged":
        weights = weights.mean(axis=1)
    match config["input_layout"]:
        case "sequence-first":
            output = output.swapaxes(0, 1)
        case "unbatched":
            output, weights = output[0], weights[0]
    return (output, weights) if config["need_weights"] else output


def heads(x: np.ndarray, E: int) -> np.ndarray:
    """Cut (B, T, heads * E) into (B, heads, T, E)."""
    return x.reshape(*x.shape[:2], -1, E).swapaxes(1, 2)


def linear(x: np.ndarray, weight: np.ndarray, bias=None) -> np.ndarray:
    """Return x W^T + b."""
    y = x @ weight.T
    return y if bias is None else y + bias


def project(config: dict, state: Arrays, query, key, value) -> list[np.ndarray]:
    """Return queries (B, H, L, E), keys and values (B, Hk, S, E)."""
    H, Hk, E = config["num_heads"], config["num_kv_heads"], config["head_dim"]
    weights, biases = projections(config, state, [H * E, (H + Hk) * E])
    inputs = (query, key, value)
    return [heads(linear(*x), E) for x in zip(inputs, weights, biases, strict=True)]


def projections(config: dict, state: Arrays, cuts: list[int]) -> tuple[list, list]:
    """Return the weights (out, in) and biases of query, key and value from any layout."""
    match config["keys"]:
        case "torch" | "torch-separate":
            biases = split(state.get("in_proj_bias"), 3)
            if "in_proj_weight" in state:
                return split(state["in_proj_weight"], 3), biases
            return [state[f"{x}_proj_weight"] for x in "qkv"], biases
        case "seed":
            return [state[f"W_{x}"] for x in "QKV"], [None] * 3
        case "llama":
            return [state[f"{x}_proj.weight"] for x in "qkv"], [state.get(f"{x}_proj.bias") for x in "qkv"]
        case "gpt2":
            return split(state["c_attn.weight"].T, 3), split(state.get("c_attn.bias"), 3)
        case "fused":
            return split(state["qkv_proj.weight"], cuts), split(state.get("qkv_proj.bias"), cuts)
        case "neox":
            return [by_group(config, state.get(f"query_key_value.{name}")) for name in ("weight", "bias")]
    raise NotImplementedError(f"state dicts in the layout {config['keys']}")


def split(x: np.ndarray | None, cuts) -> list:
    """Return the parts of an array, or three times None."""
    return [None] * 3 if x is None else np.split(x, cuts)


def by_group(config: dict, x: np.ndarray | None) -> list:
    """Return the rows of query, key and value from an array grouped by key/value head."""
    if x is None:
        return [None] * 3
    Hk, E = config["num_kv_heads"], config["head_dim"]
    groups = x.reshape(Hk, -1, E, *x.shape[1:])
    return [part.reshape(-1, *x.shape[1:]) for part in np.split(groups, [-2, -1], axis=1)]


def finish(config: dict, state: Arrays, context: np.ndarray) -> np.ndarray:
    """Apply the output projection to a context (B, L, H, E)."""
    context = context.reshape(*context.shape[:2], -1)
    match config["keys"]:
        case "seed":
            return linear(context, state["W_O"])
        case "gpt2":
            return linear(context, state["c_proj.weight"].T, state.get("c_proj.bias"))
    name = {"torch": "out_proj", "torch-separate": "out_proj", "neox": "dense"}.get(config["keys"], "o_proj")
    return linear(context, state[f"{name}.weight"], state.get(f"{name}.bias"))


def norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """Divide x by its root mean square, and multiply by a weight."""
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(eps)) * weight


def rotate(x: np.ndarray, first: int, style: str, dim: int, base: float, factor: float) -> np.ndarray:
    """Rotate pairs of the first `dim` features of x (B, H, T, E) by their positions' angles."""
    positions = (first + np.arange(x.shape[2])) / factor
    angles = positions[:, None] * base ** (-np.arange(0, dim, 2) / dim)
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    x = x.copy()
    one, other = pairs(style, dim)
    a, b = x[..., one].copy(), x[..., other].copy()
    x[..., one], x[..., other] = a * cos - b * sin, b * cos + a * sin
    return x


def pairs(style: str, dim: int) -> tuple[slice, slice]:
    """Return the first and the second features of all pairs."""
    if style == "half":
        return slice(0, dim // 2), slice(dim // 2, dim)
    return slice(0, dim, 2), slice(1, dim, 2)


def masks(config: dict, rows: tuple[int, int, int], S: int, block, padding, bias) -> np.ndarray:
    """Return the sum of all masks (B, H, L, S): 0 or a bias, and -inf for a hidden key."""
    added = visible(config, rows[2], S)
    if block is not None:
        added = np.where(per_head(block, rows, S), -np.inf, added)
    if bias is not None:
        added = added + per_head(bias, rows, S)
    if padding is not None:
        added = np.where(np.atleast_2d(padding)[:, None, None, :], -np.inf, added)
    return added.astype(np.float32)


def per_head(mask: np.ndarray, rows: tuple[int, int, int], S: int) -> np.ndarray:
    """Return a mask (L, S) unchanged, and a mask (B*H, L, S) as (B, H, L, S)."""
    return mask if mask.ndim == 2 else mask.reshape(*rows, S)


def relative(config: dict, state: Arrays, L: int, S: int) -> np.ndarray:
    """Return the learned biases (H, L, S) by head and clipped distance."""
    R = config["relative_bias"]
    rows = np.clip(distances(config, L, S), -R, R).astype(int) + R
    return state["relative_bias.weight"][rows].transpose(2, 0, 1)


def append_bias_kv(config: dict, state: Arrays, k, v, added) -> list[np.ndarray]:
    """Append bias_k and bias_v, then a zero key; every query sees them. Extend `added` by zeros."""
    B, Hk, _, E = k.shape
    extra = []
    if config["bias_kv"]:
        extra.append([np.broadcast_to(heads(state[name], E), (B, Hk, 1, E)) for name in ("bias_k", "bias_v")])
    if config["add_zero_attn"]:
        extra.append([np.zeros((B, Hk, 1, E), dtype=np.float32)] * 2)
    for key, value in extra:
        k, v = np.concatenate([k, key], axis=2), np.concatenate([v, value], axis=2)
        added = np.concatenate([added, np.zeros((*added.shape[:-1], 1), dtype=np.float32)], axis=-1)
    return [k, v, added]


if __name__ == "__main__":
    serve(sdpa=sdpa, mha=mha, rope=rope, name="numpy attention", version="1.0")

"""Llama in NumPy and float32, and fifteen ways to get it wrong.

python pyref/examples/models/llama.py cases/mine/llama output.npy --config config.json
"""

import numpy as np
from port import Arrays, Plan, main, merge_heads, split_heads

MISTAKES = {
    "offset": "the norms multiply by 1 + weight, as Gemma's do",
    "tied": "the head uses the token embeddings",
    "gelu": "the gate goes through GELU for SiLU",
    "relu": "the gate goes through ReLU for SiLU",
    "exchanged": "gate and up are exchanged",
    "eps": "the epsilon of the norms is 1e-3",
    "base": "the base of the rotary embedding is 500000",
    "scaled": "the embeddings are multiplied by sqrt(D), as Gemma's are",
    "unnormed": "the final norm is left out",
    "residual": "the residual is taken behind the norm",
    "interleaved": "the rotary embedding turns neighbours, not halves",
    "tiled": "the key and value heads repeat as 0 1 0 1 for 0 0 1 1",
    "unscaled": "the scores are not divided by sqrt(E)",
    "acausal": "there is no causal mask",
    "reordered": "the layers are loaded in reverse order",
}


def llama(config: dict, state: Arrays, inputs: Arrays, plan: Plan) -> np.ndarray:
    """Return the logits, or the hidden state if there is no head."""
    ids = inputs["input_ids"]
    prefix = "model." if "model.norm.weight" in state else ""
    embeddings = state[f"{prefix}embed_tokens.weight"]
    x = plan.keep(f"{prefix}embed_tokens", embeddings[ids])
    if plan.makes("scaled"):
        x = x * np.float32(embeddings.shape[1] ** 0.5)
    hidden = hide(inputs.get("attention_mask"), ids.shape, plan)
    layers = range(config["num_hidden_layers"])
    for place, n in enumerate(reversed(layers) if plan.makes("reordered") else layers):
        path = f"{prefix}layers.{place}"
        x = layer(config, below(state, f"{prefix}layers.{n}."), x, hidden, plan.inside(path))
        plan.keep(path, x)
    if not plan.makes("unnormed"):
        x = plan.keep(f"{prefix}norm", norm(config, x, state[f"{prefix}norm.weight"], plan))
    if "lm_head.weight" not in state:
        return x
    head = embeddings if plan.makes("tied") else state["lm_head.weight"]
    return plan.keep("lm_head", plan.matmul(x, head.T))


def below(state: Arrays, prefix: str) -> Arrays:
    """Return the parameters whose names start with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}


def hide(mask: np.ndarray | None, shape: tuple[int, int], plan: Plan) -> np.ndarray:
    """Return (B, 1, T, T): true where a key is hidden from a query."""
    B, T = shape
    causal = np.triu(np.ones((T, T), dtype=bool), k=1) & (not plan.makes("acausal"))
    padded = np.zeros((B, T), dtype=bool) if mask is None else mask == 0
    return causal | padded[:, None, None, :]


def layer(config: dict, state: Arrays, x: np.ndarray, hidden: np.ndarray, plan: Plan) -> np.ndarray:
    """Return x behind attention and MLP, each with its residual."""
    normed = plan.keep("input_layernorm", norm(config, x, state["input_layernorm.weight"], plan))
    attended = plan.keep("self_attn", attention(config, state, normed, hidden, plan.inside("self_attn")))
    x = (normed if plan.makes("residual") else x) + attended
    weight = state["post_attention_layernorm.weight"]
    normed = plan.keep("post_attention_layernorm", norm(config, x, weight, plan))
    inner = plan.keep("mlp", mlp(state, normed, plan.inside("mlp")))
    return (normed if plan.makes("residual") else x) + inner


def norm(config: dict, x: np.ndarray, weight: np.ndarray, plan: Plan) -> np.ndarray:
    """Return RMSNorm of x."""
    eps = np.float32(1e-3 if plan.makes("eps") else config["rms_norm_eps"])
    if plan.makes("offset"):
        weight = 1 + weight
    return x / np.sqrt(plan.mean(x * x) + eps) * weight


def attention(config: dict, state: Arrays, x: np.ndarray, hidden: np.ndarray, plan: Plan) -> np.ndarray:
    """Return attention with rotary embedding and shared key and value heads."""
    H, Hk = config["num_attention_heads"], config["num_key_value_heads"]
    q, k, v = (
        split_heads(plan.keep(name, plan.matmul(x, state[f"self_attn.{name}.weight"].T)), heads)
        for name, heads in (("q_proj", H), ("k_proj", Hk), ("v_proj", Hk))
    )
    base = 500000 if plan.makes("base") else theta(config)
    q, k = rotate(q, base, plan), rotate(k, base, plan)
    shared = np.arange(H) % Hk if plan.makes("tiled") else np.arange(H) // (H // Hk)
    k, v = k[:, shared], v[:, shared]
    scores = plan.matmul(q, k.swapaxes(-1, -2))
    if not plan.makes("unscaled"):
        scores = scores / np.float32(q.shape[-1] ** 0.5)
    weights = plan.softmax(np.where(hidden, np.float32(-1e9), scores))
    context = merge_heads(plan.matmul(weights, v))
    return plan.keep("o_proj", plan.matmul(context, state["self_attn.o_proj.weight"].T))


def theta(config: dict) -> float:
    """Return the base of the rotary embedding, which newer configurations keep in a dict."""
    return (config.get("rope_parameters") or config)["rope_theta"]


def rotate(x: np.ndarray, base: float, plan: Plan) -> np.ndarray:
    """Return x with feature i and feature i + E/2 of each position turned by its angle."""
    T, E = x.shape[-2:]
    angles = np.arange(T)[:, None] * float(base) ** (-np.arange(0, E, 2) / E)
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    if plan.makes("interleaved"):
        a, b = x[..., 0::2], x[..., 1::2]
        return np.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(x.shape)
    a, b = x[..., : E // 2], x[..., E // 2 :]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def mlp(state: Arrays, x: np.ndarray, plan: Plan) -> np.ndarray:
    """Return the gated MLP."""
    gate, up = (
        plan.keep(name, plan.matmul(x, state[f"mlp.{name}.weight"].T)) for name in ("gate_proj", "up_proj")
    )
    if plan.makes("exchanged"):
        gate, up = up, gate
    return plan.keep("down_proj", plan.matmul(activation(gate, plan) * up, state["mlp.down_proj.weight"].T))


def activation(x: np.ndarray, plan: Plan) -> np.ndarray:
    """Return SiLU of x."""
    if plan.makes("relu"):
        return np.maximum(x, 0)
    if plan.makes("gelu"):
        inner = np.float32((2 / np.pi) ** 0.5) * (x + np.float32(0.044715) * x * x * x)
        return np.float32(0.5) * x * (1 + np.tanh(inner))
    return x / (1 + np.exp(-x))


if __name__ == "__main__":
    main(llama, MISTAKES)

"""GPT-2 in NumPy and float32, and fifteen ways to get it wrong.

    python pyref/examples/models/gpt2.py cases/mine/gpt2 output.npy --config config.json

GPT-2 stores the weights of its linear layers as (in, out).
"""

import math

import numpy as np
from port import Arrays, Plan, main, merge_heads, split_heads

MISTAKES = {
    "gain": "the logits are divided by sqrt(D), as T5's are",
    "eps": "the epsilon of the norms is 1e-3",
    "erf": "GELU uses erf for tanh",
    "quick": "GELU is x * sigmoid(1.702 x)",
    "relu": "the activation is ReLU for GELU",
    "grouped": "query, key and value of each head lie side by side in c_attn",
    "transposed": "the square weights are read as (out, in)",
    "shifted": "positions start at 1",
    "unplaced": "there are no position embeddings",
    "parallel": "MLP and attention read the same input",
    "exchanged": "the two norms of a layer are exchanged",
    "unnormed": "the final norm is left out",
    "rms": "LayerNorm does not subtract the mean",
    "unbiased": "the MLP leaves out its biases",
    "acausal": "there is no causal mask",
}


def gpt2(config: dict, state: Arrays, inputs: Arrays, plan: Plan) -> np.ndarray:
    """Return the logits."""
    ids = inputs["input_ids"]
    T = ids.shape[1]
    prefix = "transformer." if "transformer.wte.weight" in state else ""
    whole, plan = plan, plan.inside(prefix.rstrip("."))
    state = {name.removeprefix(prefix): array for name, array in state.items()}
    x = plan.keep("wte", state["wte.weight"][ids])
    if not plan.makes("unplaced"):
        first = 1 if plan.makes("shifted") else 0
        x = x + plan.keep("wpe", state["wpe.weight"][None, first : first + T])
    hidden = np.triu(np.ones((T, T), dtype=bool), k=1) & (not plan.makes("acausal"))
    if "attention_mask" in inputs:
        hidden = hidden | (inputs["attention_mask"] == 0)[:, None, None, :]
    for n in range(config["n_layer"]):
        x = plan.keep(f"h.{n}", layer(config, state, f"h.{n}.", x, hidden, plan))
    if not plan.makes("unnormed"):
        x = norm(config, state, "ln_f", x, plan)
    logits = whole.keep("lm_head", plan.matmul(x, state["wte.weight"].T))
    return logits / np.float32(x.shape[-1] ** 0.5) if plan.makes("gain") else logits


def layer(
    config: dict, state: Arrays, name: str, x: np.ndarray, hidden: np.ndarray, plan: Plan
) -> np.ndarray:
    """Return x behind attention and MLP, each with its norm and its residual."""
    first, second = ("ln_2", "ln_1") if plan.makes("exchanged") else ("ln_1", "ln_2")
    attended = x + attention(config, state, name, norm(config, state, name + first, x, plan), hidden, plan)
    source = x if plan.makes("parallel") else attended
    return attended + mlp(state, name, norm(config, state, name + second, source, plan), plan)


def norm(config: dict, state: Arrays, name: str, x: np.ndarray, plan: Plan) -> np.ndarray:
    """Return LayerNorm of x."""
    eps = np.float32(1e-3 if plan.makes("eps") else config["layer_norm_epsilon"])
    centred = x if plan.makes("rms") else x - plan.mean(x)
    normed = centred / np.sqrt(plan.mean(centred * centred) + eps)
    return plan.keep(name, normed * state[f"{name}.weight"] + state[f"{name}.bias"])


def linear(state: Arrays, name: str, x: np.ndarray, plan: Plan) -> np.ndarray:
    """Return x through a linear layer whose weight is (in, out)."""
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    if plan.makes("transposed") and weight.shape[0] == weight.shape[1]:
        weight = weight.T
    y = plan.matmul(x, weight)
    return plan.keep(name, y if plan.makes("unbiased") and ".mlp." in name else y + bias)


def attention(
    config: dict, state: Arrays, name: str, x: np.ndarray, hidden: np.ndarray, plan: Plan
) -> np.ndarray:
    """Return multi-head attention."""
    H = config["n_head"]
    qkv = linear(state, f"{name}attn.c_attn", x, plan)
    if plan.makes("grouped"):
        q, k, v = np.split(split_heads(qkv, H), 3, axis=-1)
    else:
        q, k, v = (split_heads(part, H) for part in np.split(qkv, 3, axis=-1))
    scores = plan.matmul(q, k.swapaxes(-1, -2)) / np.float32(q.shape[-1] ** 0.5)
    weights = plan.softmax(np.where(hidden, np.float32(-1e9), scores))
    projected = linear(state, f"{name}attn.c_proj", merge_heads(plan.matmul(weights, v)), plan)
    return plan.keep(f"{name}attn", projected)


def mlp(state: Arrays, name: str, x: np.ndarray, plan: Plan) -> np.ndarray:
    """Return the two linear layers with GELU between them."""
    inner = plan.keep(f"{name}mlp.act", activation(linear(state, f"{name}mlp.c_fc", x, plan), plan))
    return plan.keep(f"{name}mlp", linear(state, f"{name}mlp.c_proj", inner, plan))


def activation(x: np.ndarray, plan: Plan) -> np.ndarray:
    """Return GELU of x in its tanh form."""
    if plan.makes("relu"):
        return np.maximum(x, 0)
    if plan.makes("quick"):
        return x / (1 + np.exp(np.float32(-1.702) * x))
    if plan.makes("erf"):
        return np.float32(0.5) * x * (1 + np.vectorize(math.erf)(x / 2**0.5).astype(np.float32))
    inner = np.float32((2 / np.pi) ** 0.5) * (x + np.float32(0.044715) * x * x * x)
    return np.float32(0.5) * x * (1 + np.tanh(inner))


if __name__ == "__main__":
    main(gpt2, MISTAKES)

"""BERT in NumPy and float32, and fifteen ways to get it wrong.

python pyref/examples/models/bert.py cases/mine/bert output.npy --config config.json
"""

import math

import numpy as np
from port import Arrays, Plan, main, merge_heads, split_heads

MISTAKES = {
    "eps": "the epsilon of the norms is 1e-3",
    "tanh": "GELU uses tanh for erf",
    "relu": "the activation is ReLU for GELU",
    "shifted": "positions start at 2, as RoBERTa's do",
    "untyped": "there are no token type embeddings",
    "unnormed": "the norm of the embeddings is left out",
    "prenorm": "each norm stands in front of its layer, inside the residual",
    "rms": "LayerNorm does not subtract the mean",
    "sample": "LayerNorm divides by the unbiased variance",
    "exchanged": "the two norms of a layer are exchanged",
    "unbiased": "the projections of attention leave out their biases",
    "padded": "padded keys are visible",
    "causal": "there is a causal mask",
    "unmerged": "the heads are merged without the transpose",
    "reordered": "the layers are loaded in reverse order",
}


def bert(config: dict, state: Arrays, inputs: Arrays, plan: Plan) -> np.ndarray:
    """Return the last hidden state."""
    ids = inputs["input_ids"]
    prefix = "bert." if "bert.embeddings.word_embeddings.weight" in state else ""
    state = {name.removeprefix(prefix): array for name, array in state.items()}
    plan = plan.inside(prefix.rstrip("."))
    x = embed(config, state, ids, inputs.get("token_type_ids", np.zeros_like(ids)), plan)
    hidden = hide(inputs.get("attention_mask"), ids.shape, plan)
    layers = range(config["num_hidden_layers"])
    for place, n in enumerate(reversed(layers) if plan.makes("reordered") else layers):
        path, own = f"encoder.layer.{place}", below(state, f"encoder.layer.{n}.")
        x = plan.keep(path, layer(config, own, "", x, hidden, plan.inside(path)))
    return x


def below(state: Arrays, prefix: str) -> Arrays:
    """Return the parameters whose names start with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}


def embed(config: dict, state: Arrays, ids: np.ndarray, types: np.ndarray, plan: Plan) -> np.ndarray:
    """Return the sum of the embeddings of word, position and token type, normed."""
    first = 2 if plan.makes("shifted") else 0
    x = plan.keep("embeddings.word_embeddings", state["embeddings.word_embeddings.weight"][ids])
    places = state["embeddings.position_embeddings.weight"][None, first : first + ids.shape[1]]
    x = x + plan.keep("embeddings.position_embeddings", places)
    if not plan.makes("untyped"):
        typed = state["embeddings.token_type_embeddings.weight"][types]
        x = x + plan.keep("embeddings.token_type_embeddings", typed)
    if not plan.makes("unnormed"):
        x = norm(config, state, "embeddings.LayerNorm", x, plan)
    return plan.keep("embeddings", x)


def hide(mask: np.ndarray | None, shape: tuple[int, int], plan: Plan) -> np.ndarray:
    """Return (B, 1, T, T): true where a key is hidden from a query."""
    B, T = shape
    later = np.triu(np.ones((T, T), dtype=bool), k=1) & plan.makes("causal")
    padded = np.zeros((B, T), dtype=bool) if mask is None or plan.makes("padded") else mask == 0
    return later | padded[:, None, None, :]


def layer(
    config: dict, state: Arrays, name: str, x: np.ndarray, hidden: np.ndarray, plan: Plan
) -> np.ndarray:
    """Return x behind attention and MLP, with a norm behind each residual."""
    norms = [f"{name}attention.output.LayerNorm", f"{name}output.LayerNorm"]
    if plan.makes("exchanged"):
        norms.reverse()
    if plan.makes("prenorm"):
        x = x + attention(config, state, name, norm(config, state, norms[0], x, plan), hidden, plan)
        return x + mlp(state, name, norm(config, state, norms[1], x, plan), plan)
    x = norm(config, state, norms[0], x + attention(config, state, name, x, hidden, plan), plan)
    return norm(config, state, norms[1], x + mlp(state, name, x, plan), plan)


def norm(config: dict, state: Arrays, name: str, x: np.ndarray, plan: Plan) -> np.ndarray:
    """Return LayerNorm of x."""
    eps = np.float32(1e-3 if plan.makes("eps") else config["layer_norm_eps"])
    centred = x if plan.makes("rms") else x - plan.mean(x)
    variance = plan.mean(centred * centred)
    if plan.makes("sample"):
        variance = variance * np.float32(x.shape[-1] / (x.shape[-1] - 1))
    normed = centred / np.sqrt(variance + eps)
    return plan.keep(name, normed * state[f"{name}.weight"] + state[f"{name}.bias"])


def linear(state: Arrays, name: str, x: np.ndarray, plan: Plan) -> np.ndarray:
    """Return x through a linear layer whose weight is (out, in)."""
    return plan.keep(name, plan.matmul(x, state[f"{name}.weight"].T) + state[f"{name}.bias"])


def attention(
    config: dict, state: Arrays, name: str, x: np.ndarray, hidden: np.ndarray, plan: Plan
) -> np.ndarray:
    """Return multi-head attention, projected."""
    if plan.makes("unbiased"):
        parts = ("self.query", "self.key", "self.value", "output.dense")
        biases = [f"{name}attention.{part}.bias" for part in parts]
        state = state | {bias: 0 * state[bias] for bias in biases}
    q, k, v = (
        split_heads(linear(state, f"{name}attention.self.{part}", x, plan), config["num_attention_heads"])
        for part in ("query", "key", "value")
    )
    scores = plan.matmul(q, k.swapaxes(-1, -2)) / np.float32(q.shape[-1] ** 0.5)
    weights = plan.softmax(np.where(hidden, np.float32(-1e9), scores))
    context = plan.matmul(weights, v)
    context = context.reshape(x.shape) if plan.makes("unmerged") else merge_heads(context)
    plan.keep(f"{name}attention.self", context)
    return linear(state, f"{name}attention.output.dense", context, plan)


def mlp(state: Arrays, name: str, x: np.ndarray, plan: Plan) -> np.ndarray:
    """Return the two linear layers with GELU between them."""
    inner = activation(linear(state, f"{name}intermediate.dense", x, plan), plan)
    plan.keep(f"{name}intermediate", inner)
    return linear(state, f"{name}output.dense", inner, plan)


def activation(x: np.ndarray, plan: Plan) -> np.ndarray:
    """Return GELU of x in its erf form."""
    if plan.makes("relu"):
        return np.maximum(x, 0)
    if plan.makes("tanh"):
        inner = np.float32((2 / np.pi) ** 0.5) * (x + np.float32(0.044715) * x * x * x)
        return np.float32(0.5) * x * (1 + np.tanh(inner))
    return np.float32(0.5) * x * (1 + np.vectorize(math.erf)(x / 2**0.5).astype(np.float32))


if __name__ == "__main__":
    main(bert, MISTAKES)

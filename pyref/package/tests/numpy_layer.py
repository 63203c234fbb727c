"""The layer of the cases seed/* in NumPy, and mistakes in it. It shares no code with difftest."""

import numpy as np

MISTAKES = (
    "causal-missing",
    "scale-missing",
    "key-value-swapped",
    "heads-merge-untransposed",
    "softmax-over-queries",
    "weights-transposed",
    "output-float16",
)


def layer(case, causal: bool = True, mistake: str = "") -> np.ndarray:
    """Return the layer's output, with or without its causal mask, or with a mistake of MISTAKES."""
    query, state, heads = case.inputs["query"], case.state_dict, case.config["num_heads"]
    if mistake == "weights-transposed":
        state = {name: weight.T for name, weight in state.items()}
    q, k, v = (
        (query @ state[name].T).reshape(*query.shape[:2], heads, -1).swapaxes(1, 2)
        for name in ("W_Q", "W_K", "W_V")
    )
    if mistake == "key-value-swapped":
        k, v = v, k
    scores = q @ k.swapaxes(2, 3)
    if mistake != "scale-missing":
        scores = scores / np.float32(np.sqrt(q.shape[-1]))
    if causal and mistake != "causal-missing":
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    axis = -2 if mistake == "softmax-over-queries" else -1
    weights = np.exp(scores - scores.max(axis, keepdims=True))
    weights /= weights.sum(axis, keepdims=True)
    context = weights @ v
    if mistake != "heads-merge-untransposed":
        context = context.swapaxes(1, 2)
    output = context.reshape(query.shape) @ state["W_O"].T
    return output.astype(np.float16) if mistake == "output-float16" else output

"""Attention query by query, and scaled_dot_product_attention."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Attention:
    """One attention. The leading dimensions (...) agree everywhere; the last one is the heads."""

    q: np.ndarray  # (..., L, E)
    k: np.ndarray  # (..., S, E)
    v: np.ndarray  # (..., S, Ev)
    sees: np.ndarray  # (..., L, S), true where a query sees a key
    added: np.ndarray  # (..., L, S), added to the scaled and capped scores
    scale: float
    softcap: float | None = None
    sinks: np.ndarray | None = None  # (H), one more logit per head, without a value
    empty: float = 0.0  # the context of a query that sees no key

    def attend(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the context (..., L, Ev) and the weights (..., L, S)."""
        context = np.full((*self.sees.shape[:-1], self.v.shape[-1]), self.empty)
        weights = np.full(self.sees.shape, self.empty)
        for index in np.ndindex(self.sees.shape[:-1]):
            keys = np.flatnonzero(self.sees[index])
            if len(keys) == 0:
                continue
            weights[index] = 0
            weights[index][keys] = softmax(self.logits(index, keys), self.sink(index))
            context[index] = weights[index][keys] @ self.v[index[:-1]][keys]
        return context, weights

    def logits(self, index: tuple[int, ...], keys: np.ndarray) -> np.ndarray:
        """Return one query's logits for some keys; the index is (..., query)."""
        scores = self.k[index[:-1]][keys] @ self.q[index] * self.scale
        if self.softcap is not None:
            scores = self.softcap * np.tanh(scores / self.softcap)
        return scores + self.added[index][keys]

    def sink(self, index: tuple[int, ...]) -> float:
        """Return the logit of a query's sink, -inf without sinks: its weight is then zero."""
        return -np.inf if self.sinks is None else self.sinks[index[-2]]


def softmax(logits: np.ndarray, sink: float) -> np.ndarray:
    """Return the softmax of the logits and a sink, without the sink's weight."""
    largest = max(logits.max(), sink)
    exps = np.exp(logits - largest)
    return exps / (exps.sum() + np.exp(sink - largest))


def compute(config: dict, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the output (..., L, Ev) of the function."""
    return {"output": function(config, inputs).attend()[0]}


def function(config: dict, inputs: dict[str, np.ndarray]) -> Attention:
    """Return the attention of an SDPA case."""
    q, k, v = inputs["query"], inputs["key"], inputs["value"]
    if config.get("enable_gqa"):
        H, Hk = q.shape[-3], k.shape[-3]
        group = np.arange(H) // (H // Hk)
        k, v = k[..., group, :, :], v[..., group, :, :]
    if "past_key" in inputs:
        past = {role: inputs[f"past_{role}"] for role in ("key", "value")}
        if config.get("enable_gqa"):
            past = {role: x[..., group, :, :] for role, x in past.items()}
        k, v = np.concatenate([past["key"], k], axis=-2), np.concatenate([past["value"], v], axis=-2)
    leading = np.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)))
    L, S = q.shape[-2], k.shape[-2]
    ahead = np.arange(S)[None, :] - (first(config, inputs, L, S) + np.arange(L)[:, None])
    bias = np.broadcast_to(inputs.get("bias", 0.0), (*leading, L, S))
    near = np.abs(ahead) < config.get("window", np.inf)
    causal = (ahead <= 0) | (config["causality"] == "none")
    sees = causal & near & inputs.get("allow", True) & valid(inputs, S) & (bias > -np.inf)
    return Attention(
        q=np.broadcast_to(q, (*leading, *q.shape[-2:])),
        k=np.broadcast_to(k, (*leading, *k.shape[-2:])),
        v=np.broadcast_to(v, (*leading, *v.shape[-2:])),
        sees=sees,
        added=bias + alibi(config, leading[-1], ahead),
        scale=1 / np.sqrt(q.shape[-1]) if config["scale"] is None else config["scale"],
        softcap=config.get("softcap"),
        sinks=inputs.get("sinks"),
        empty=np.nan if config["empty_row"] == "nan" else 0.0,
    )


def first(config: dict, inputs: dict[str, np.ndarray], L: int, S: int) -> int | np.ndarray:
    """Return the key at which query 0 stands, or (B, 1, 1, 1); lower-right aligns the last two."""
    if "first_positions" in inputs:
        return inputs["first_positions"].reshape(-1, 1, 1, 1)
    if config["causality"] == "lower-right":
        return inputs["key_lengths"].reshape(-1, 1, 1, 1) - L if "key_lengths" in inputs else S - L
    return inputs["past_key"].shape[-2] if "past_key" in inputs else 0


def causal(config: dict, L: int, S: int) -> np.ndarray:
    """Return bool (L, S), true where causality lets a query of a layer see a key."""
    return np.tri(L, S, dtype=bool) | (config["causality"] == "none")


def valid(inputs: dict[str, np.ndarray], S: int) -> bool | np.ndarray:
    """Return bool (B, 1, 1, S), true for the valid keys of each batch element."""
    if "key_lengths" not in inputs:
        return True
    return np.arange(S) < inputs["key_lengths"].reshape(-1, 1, 1, 1)


def alibi(config: dict, H: int, ahead: np.ndarray) -> np.ndarray | float:
    """Return ALiBi's bias on the logits, (H, L, S) or with the leading dimensions of `ahead`."""
    if not config.get("alibi"):
        return 0.0
    return -slopes(H)[:, None, None] * np.abs(ahead)


def slopes(H: int) -> np.ndarray:
    """Return ALiBi's slope of each head (Press, Smith and Lewis, 2022).

    The published rule halves the slope from head to head: 8 heads have 1/2, 1/4, ..., 1/256.
    Between two powers of two, the heads beyond the smaller take every other slope of the larger.
    """
    power = 2 ** (H.bit_length() - 1)
    own = np.exp2(-8 / power * np.arange(1, power + 1))
    between = np.exp2(-4 / power * np.arange(1, 2 * (H - power), 2))
    return np.concatenate([own, between])

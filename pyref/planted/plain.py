"""Attention in plain steps, each of which a mistake can take the place of: PyTorch, nothing fused.

It shares nothing with the rest of pyref, which goes through PyTorch's own functions, and nothing with Go.
"""

import copy
import math
from dataclasses import dataclass, field, replace
from types import MethodType

from pyref.case import Arrays, Operation, Precision
from pyref.convert import to_torch
from pyref.pinned import torch
from pyref.planted.state import INPUTS, Parameters, separated


@dataclass(frozen=True, kw_only=True)
class Rope:
    """Rotary positions, with the fields of case.json."""

    style: str
    dim: int
    base: float
    factor: float


@dataclass(kw_only=True)
class PlainAttention:
    """A case of either operation. `compute` runs its steps; `changed` gives one that runs another step.

    A layer's inputs are (B, T, D), a function's (B, H, T, E), and a function has no weights. Masks are
    (B or 1, H or 1, L, S) with `padding` (B, S). The first query stands at key position `offset`.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    H: int
    Hk: int
    scale: float
    causal: bool
    empty_row: str
    offset: int = 0
    weights: Parameters = field(default_factory=dict)
    biases: Parameters = field(default_factory=dict)
    norms: Parameters = field(default_factory=dict)
    eps: float = 0.0
    rope: Rope | None = None
    past_key: torch.Tensor | None = None
    past_value: torch.Tensor | None = None
    learned_key: torch.Tensor | None = None
    learned_value: torch.Tensor | None = None
    zero_key: bool = False
    softcap: float | None = None
    bias: torch.Tensor | None = None
    alibi: bool = False
    relative: torch.Tensor | None = None
    sinks: torch.Tensor | None = None
    window: int | None = None
    padding: torch.Tensor | None = None
    allow: torch.Tensor | None = None

    def changed(self, **parts: object) -> "PlainAttention":
        """Return a copy with other fields or steps; a step is a function of the copy, as a method is."""
        copied = copy.copy(self)
        for name, step in vars(self).items():
            if isinstance(step, MethodType):  # of an earlier change: it belongs to the copy now
                setattr(copied, name, MethodType(step.__func__, copied))
        for name, part in parts.items():
            if not hasattr(self, name):
                raise AttributeError(f"{name}, want a field or a step of PlainAttention")
            setattr(copied, name, MethodType(part, copied) if callable(part) else part)
        return copied

    def reweighted(self, **weights: torch.Tensor) -> "PlainAttention":
        """Return a copy with some weights replaced, by role."""
        return self.changed(weights=self.weights | weights)

    def rebiased(self, **biases: torch.Tensor) -> "PlainAttention":
        """Return a copy with some biases replaced, by role."""
        return self.changed(biases=self.biases | biases)

    def rope_with(self, **fields: object) -> "PlainAttention":
        """Return a copy with other rotary positions."""
        return self.changed(rope=replace(self.rope, **fields))

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.query.dtype

    @property
    def is_layer(self) -> bool:
        """Whether there are projections around the heads."""
        return bool(self.weights)

    @property
    def B(self) -> int:
        """The number of batch elements."""
        return len(self.query)

    @property
    def L(self) -> int:
        """The number of queries."""
        return self.query.shape[-2]

    @property
    def P(self) -> int:
        """The number of keys in the cache."""
        return 0 if self.past_key is None else self.past_key.shape[-2]

    @property
    def S(self) -> int:
        """The number of keys that stand at a position: the cache's and the given ones."""
        return self.P + self.key.shape[-2]

    @property
    def E(self) -> int:
        """The width of a head's queries."""
        return len(self.weights["query"]) // self.H if self.is_layer else self.query.shape[-1]

    @property
    def is_self_attention(self) -> bool:
        """Whether a layer's keys and values are made of its queries' input."""
        same = self.query is self.key and self.query is self.value
        return self.is_layer and same

    @property
    def hides(self) -> bool:
        """Whether some query does not see some key."""
        return not bool(self.seen().all())

    @property
    def empty(self) -> bool:
        """Whether some query sees no key at all."""
        return not bool(self.seen_with_extras(self.extras).any(-1).all())

    @property
    def extras(self) -> int:
        """The number of learned and zero keys behind the others."""
        return (self.learned_key is not None) + self.zero_key

    @torch.no_grad()
    def compute(self) -> torch.Tensor:
        """Return the output: (B, L, D) of a layer, (B, H, L, Ev) of a function."""
        q, k, v = self.heads()
        k, v = self.remember(k, v)
        k, v = self.extend(k, v)
        k, v = self.share(k), self.share(v)
        scores = self.score(q, k)
        seen = self.seen_with_extras(scores.shape[-1] - self.S)
        weights = self.attend(scores, seen)
        context = self.mix(weights, v)
        if not self.is_layer:
            return self.finish(context)
        return self.finish(self.output(self.merge(context)))

    def heads(self) -> tuple[torch.Tensor, ...]:
        """Return queries (B, H, L, E), keys and values (B, Hk, T, E) of the new tokens."""
        query, key, value = self.read(self.query), self.read(self.key), self.read(self.value)
        if not self.is_layer:
            return query, key, value
        q = self.split(self.project(query, "query"), self.H)
        k = self.split(self.project(key, "key"), self.Hk)
        v = self.split(self.project(value, "value"), self.Hk)
        return self.prepare(q, k, v)

    def read(self, x: torch.Tensor) -> torch.Tensor:
        """Return an input as it is read from its file."""
        return x

    def project(self, x: torch.Tensor, role: str) -> torch.Tensor:
        """Return x W^T + b."""
        projected = x @ self.weights[role].T
        return projected + self.biases[role] if role in self.biases else projected

    def split(self, x: torch.Tensor, H: int) -> torch.Tensor:
        """Cut (B, T, H*E) into heads (B, H, T, E)."""
        B, T, width = x.shape
        return x.view(B, T, H, width // H).transpose(1, 2)

    def prepare(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Norm and rotate queries and keys."""
        q, k = self.norm(q, "query"), self.norm(k, "key")
        return self.rotate(q, "query"), self.rotate(k, "key"), v

    def norm(self, x: torch.Tensor, role: str) -> torch.Tensor:
        """Divide each head's vector by its root mean square."""
        if not self.norms:
            return x
        return x / torch.sqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.norms[role]

    def rotate(self, x: torch.Tensor, role: str) -> torch.Tensor:
        """Rotate (B, H, T, E) by its positions."""
        return x if self.rope is None else self.turn(x, self.angles(self.positions(x, role)))

    def positions(self, x: torch.Tensor, role: str) -> torch.Tensor:
        """Return the positions of new tokens: (T), or (H, T) if they depend on the head."""
        return torch.arange(self.P, self.P + x.shape[-2], dtype=self.dtype)

    def angles(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the angle of each pair at each position."""
        return (positions / self.rope.factor)[..., None] * self.rope.base ** -self.exponents()

    def exponents(self) -> torch.Tensor:
        """Return by which power of the base each pair turns more slowly than the first."""
        return torch.arange(0, self.rope.dim, 2, dtype=self.dtype) / self.rope.dim

    def turn(self, x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
        """Rotate the pairs of the first features; the rest stays."""
        cos, sin = self.tables(angles)
        r = self.rope.dim
        if self.rope.style == "half":
            x1, x2 = x[..., : r // 2], x[..., r // 2 : r]
            rotated = torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin], dim=-1)
        else:
            x1, x2 = x[..., 0:r:2], x[..., 1:r:2]
            rotated = torch.stack([x1 * cos - x2 * sin, x2 * cos + x1 * sin], dim=-1).flatten(-2)
        return torch.cat([rotated, x[..., r:]], dim=-1)

    def tables(self, angles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosine and sine."""
        return angles.cos(), angles.sin()

    def remember(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the cache before the new keys and values."""
        if self.past_key is None:
            return k, v
        return torch.cat([self.past_key, k], dim=2), torch.cat([self.past_value, v], dim=2)

    def extend(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the learned, then the zero key behind the others."""
        if self.learned_key is not None:
            learned = (x.view(1, self.Hk, 1, -1) for x in (self.learned_key, self.learned_value))
            k, v = (
                torch.cat([x, y.expand(self.B, -1, -1, -1)], 2) for x, y in zip((k, v), learned, strict=True)
            )
        if self.zero_key:
            k, v = (torch.cat([x, torch.zeros_like(x[:, :, :1])], dim=2) for x in (k, v))
        return k, v

    def share(self, x: torch.Tensor) -> torch.Tensor:
        """Give each query head its key or value head: (B, Hk, S, E) to (B, H, S, E)."""
        return x.repeat_interleave(self.H // self.Hk, dim=1)

    def score(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """Return the scores (B, H, L, S'), nothing hidden; extra keys have no position and no bias."""
        scores = self.scaled(q @ k.mT)
        added = self.added()
        extra = scores.shape[-1] - added.shape[-1]
        return scores + torch.nn.functional.pad(added, (0, extra))

    def scaled(self, products: torch.Tensor) -> torch.Tensor:
        """Scale, then cap."""
        return self.cap(products * self.scale)

    def cap(self, scores: torch.Tensor) -> torch.Tensor:
        """Bend the scaled scores."""
        return scores if self.softcap is None else self.softcap * torch.tanh(scores / self.softcap)

    def added(self) -> torch.Tensor:
        """Return what is added to the scores (B or 1, H or 1, L, S)."""
        added = torch.zeros(1, 1, self.L, self.S, dtype=self.dtype)
        if self.bias is not None:
            added = added + self.bias_added()
        if self.alibi:
            added = added - self.slopes()[:, None, None] * self.alibi_distance().abs()
        if self.relative is not None:
            added = added + self.relative[self.relative_index()].permute(2, 0, 1)
        return added

    def bias_added(self) -> torch.Tensor:
        """Return the float mask; what it hides is up to `seen`."""
        return self.bias.masked_fill(self.bias == -math.inf, 0)

    def slopes(self) -> torch.Tensor:
        """Return ALiBi's slopes (H)."""
        return torch.tensor(slopes(self.H), dtype=self.dtype)

    def distance(self) -> torch.Tensor:
        """Return (L, S): by how many positions a key comes after a query."""
        return torch.arange(self.S) - (self.offset + torch.arange(self.L))[:, None]

    def local_distance(self) -> torch.Tensor:
        """Return the distance to a query that is counted from 0, whatever comes before it."""
        return self.distance() + self.offset

    def alibi_distance(self) -> torch.Tensor:
        """Return the distance that ALiBi counts."""
        return self.distance()

    def relative_index(self) -> torch.Tensor:
        """Return (L, S): the row of the relative bias."""
        reach = len(self.relative) // 2
        return self.distance().clamp(-reach, reach) + reach

    def seen_with_extras(self, extra: int) -> torch.Tensor:
        """Return what is seen, with extra keys behind the others that everyone sees."""
        return torch.nn.functional.pad(self.seen(), (0, extra), value=True)

    def seen(self) -> torch.Tensor:
        """Return bool (B, H, L, S), true where a query sees a key."""
        seen = torch.ones(self.B, self.H, self.L, self.S, dtype=torch.bool)
        if self.causal:
            seen = seen & self.causal_seen()
        if self.window is not None:
            seen = seen & self.window_seen()
        if self.padding is not None:
            seen = seen & self.padding_seen()
        if self.allow is not None:
            seen = seen & self.allow
        if self.bias is not None:
            seen = seen & (self.bias != -math.inf)
        return seen

    def causal_seen(self) -> torch.Tensor:
        """Return bool (L, S), false for keys that come after the query."""
        return self.distance() <= 0

    def window_seen(self) -> torch.Tensor:
        """Return bool (L, S), false for keys outside the window."""
        return self.distance().abs() < self.window

    def padding_seen(self) -> torch.Tensor:
        """Return bool (B, 1, 1, S), false for filler."""
        return ~self.padding[:, None, None, :]

    def attend(self, scores: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Return the weights (B, H, L, S')."""
        return self.softmax(self.hide(scores, seen))

    def hide(self, scores: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Make the scores of hidden keys -inf."""
        return scores.masked_fill(~seen, -math.inf)

    def softmax(self, scores: torch.Tensor) -> torch.Tensor:
        """Normalise over the keys and the sink; a row without keys is what the case says."""
        weights = torch.softmax(self.with_sink(scores), dim=-1)[..., : scores.shape[-1]]
        if self.empty_row == "zero":
            empty = (scores == -math.inf).all(-1, keepdim=True)
            weights = weights.masked_fill(empty, 0)
        return weights

    def with_sink(self, scores: torch.Tensor) -> torch.Tensor:
        """Put each head's sink behind its scores, as one more logit."""
        if self.sinks is None:
            return scores
        return torch.cat([scores, self.sinks[:, None, None].expand(*scores.shape[:-1], 1)], dim=-1)

    def mix(self, weights: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Return the context (B, H, L, Ev)."""
        return weights @ v

    def merge(self, context: torch.Tensor) -> torch.Tensor:
        """Put the heads (B, H, L, E) side by side (B, L, H*E)."""
        return context.transpose(1, 2).flatten(-2)

    def output(self, merged: torch.Tensor) -> torch.Tensor:
        """Project back to the width of the model."""
        return self.project(merged, "output")

    def finish(self, result: torch.Tensor) -> torch.Tensor:
        """Return the result as it is written to its file."""
        return result


def slopes(H: int) -> list[float]:
    """Return ALiBi's slopes: 2^-8/n, 2^-16/n, ... for a power of two n, and what the paper does between."""
    n = 2 ** int(math.log2(H))
    series = [2 ** (-8 * h / n) for h in range(1, n + 1)]
    finer = [2 ** (-8 * h / (2 * n)) for h in range(1, 2 * n, 2)]
    return series + finer[: H - n]


def plain(
    operation: Operation, inputs: Arrays, parameters: Arrays, precision: Precision = "float64"
) -> PlainAttention:
    """Return the attention of a case as its case.json describes it, to be computed in a precision."""
    config, tensors = operation.config, to_torch(inputs, precision)
    if operation.name == "multi_head_attention":
        prefix = config.get("prefix", "")
        state = {name.removeprefix(prefix): x for name, x in to_torch(parameters, precision).items()}
        return layer(config, tensors, state)
    return function(config, tensors)


def function(config: dict, tensors: Parameters) -> PlainAttention:
    """Return scaled_dot_product_attention; every tensor gets four dimensions."""
    query, key, value = (
        tensors[role][(None,) * (4 - tensors[role].ndim)] for role in ("query", "key", "value")
    )
    query = query.expand(len(key), -1, -1, -1)
    S, (H, L, E) = key.shape[-2], query.shape[1:]
    masks = {name: tensors[name] for name in ("allow", "bias") if name in tensors}
    return PlainAttention(
        query=query,
        key=key,
        value=value,
        H=H,
        Hk=key.shape[1],
        scale=E**-0.5 if config["scale"] is None else config["scale"],
        causal=config["causality"] != "none",
        offset=S - L if config["causality"] == "lower-right" else 0,
        empty_row=config["empty_row"],
        **common(config, tensors),
        **{name: mask[(None,) * (4 - mask.ndim)] for name, mask in masks.items()},
    )


def layer(config: dict, tensors: Parameters, state: Parameters) -> PlainAttention:
    """Return multi_head_attention; what is ordered otherwise becomes (B, T, D)."""
    H = config["num_heads"]
    Hk, E = config.get("num_kv_heads", H), config.get("head_dim", config["embed_dim"] // H)
    weights, biases = separated(state, config["keys"], H, Hk, E)
    order = config.get("input_layout", "batch-first")
    # One tensor for several roles stays one, which is how self-attention is told.
    arranged = {id(x): batch_first(x, order) for x in tensors.values()}
    query, key, value = (arranged[id(tensors[role])] for role in INPUTS)
    masks = {name: tensors[name] for name in ("block", "bias") if name in tensors}
    masks = {name: x.unflatten(0, (-1, H)) if x.ndim == 3 else x[None, None] for name, x in masks.items()}
    if "block" in masks:
        masks["allow"] = ~masks.pop("block")
    if "padding" in tensors:
        masks["padding"] = tensors["padding"].view(len(query), -1)
    past = tensors.get("past_key")
    return PlainAttention(
        query=query,
        key=key,
        value=value,
        H=H,
        Hk=Hk,
        scale=config.get("scale", E**-0.5),
        causal=config["causality"] != "none",
        offset=0 if past is None else past.shape[-2],
        empty_row=config["empty_row"],
        weights=weights,
        biases=biases,
        norms={"query": state["q_norm.weight"], "key": state["k_norm.weight"]} if "qk_norm" in config else {},
        eps=config.get("qk_norm", {}).get("eps", 0.0),
        rope=Rope(**config["rope"]) if "rope" in config else None,
        past_key=past,
        past_value=tensors.get("past_value"),
        learned_key=state.get("bias_k"),
        learned_value=state.get("bias_v"),
        zero_key=config.get("add_zero_attn", False),
        relative=state.get("relative_bias.weight"),
        **common(config, state),
        **masks,
    )


def common(config: dict, tensors: Parameters) -> dict:
    """Return what both operations have under the same name."""
    return {
        "softcap": config.get("softcap"),
        "alibi": config.get("alibi", False),
        "window": config.get("window"),
        "sinks": tensors.get("sinks"),
    }


def batch_first(x: torch.Tensor, order: str) -> torch.Tensor:
    """Return a layer's input as (B, T, D)."""
    if order == "unbatched":
        return x[None]
    return x.transpose(0, 1) if order == "sequence-first" else x


def as_recorded(result: torch.Tensor, operation: Operation, dimensions: int) -> torch.Tensor:
    """Return a result in the order and with the number of dimensions of the case's own."""
    if operation.config.get("input_layout") == "sequence-first":
        return result.transpose(0, 1)
    return result[0] if dimensions < result.ndim else result

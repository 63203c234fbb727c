"""Attention in plain steps of PyTorch, nothing fused. A mistake overrides a step or a field.

Apart from reading state dicts it shares no code with pyref.ops, which calls PyTorch's own
functions, and none with Go.
"""

import math
from dataclasses import dataclass, field

from pyref.build.pinned_torch import torch
from pyref.planted.state_dict import Parameters


@dataclass(frozen=True, kw_only=True)
class Rope:
    """Rotary positions, with the fields of case.json."""

    style: str
    dim: int
    base: float
    factor: float


@dataclass(kw_only=True)
class PlainAttention:
    """The attention of a case. `compute` runs the steps, which are the methods below it.

    A layer's inputs are (B, T, D). A function's inputs are (B, H, T, E), and it has no weights.
    Masks are (B or 1, H or 1, L, S), `padding` is (B, S). The first query stands at the key
    position `first_position`, which is (B, 1, 1, 1) if it differs by batch element.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    num_heads: int
    num_kv_heads: int
    scale: float
    causal: bool
    empty_row: str
    first_position: int | torch.Tensor = 0
    weights: Parameters = field(default_factory=dict)
    biases: Parameters = field(default_factory=dict)
    norm_weights: Parameters = field(default_factory=dict)
    norm_eps: float = 0.0
    rope: Rope | None = None
    past_key: torch.Tensor | None = None
    past_value: torch.Tensor | None = None
    bias_k: torch.Tensor | None = None
    bias_v: torch.Tensor | None = None
    add_zero_attn: bool = False
    softcap: float | None = None
    bias: torch.Tensor | None = None
    alibi: bool = False
    relative_bias: torch.Tensor | None = None
    sinks: torch.Tensor | None = None
    window: int | None = None
    padding: torch.Tensor | None = None
    allow: torch.Tensor | None = None

    def using(self, subclass: type["PlainAttention"]) -> "PlainAttention":
        """Return the same attention with the steps of a subclass.

        AttributeError if the subclass has a step that no attention has, TypeError if it would lose
        a step of this one.
        """
        unknown = [
            name for name in vars(subclass) if not name.startswith("_") and not hasattr(PlainAttention, name)
        ]
        if unknown:
            raise AttributeError(f"{', '.join(unknown)}: want steps of PlainAttention")
        if not issubclass(subclass, type(self)):
            raise TypeError(f"{subclass.__name__}: want a subclass of {type(self).__name__}")
        return subclass(**vars(self))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of all arithmetic."""
        return self.query.dtype

    @property
    def is_layer(self) -> bool:
        """Whether there are projections around the heads."""
        return bool(self.weights)

    @property
    def batch(self) -> int:
        """The number of batch elements."""
        return len(self.query)

    @property
    def seq_q(self) -> int:
        """The number of queries."""
        return self.query.shape[-2]

    @property
    def past_len(self) -> int:
        """The number of keys in the cache."""
        return 0 if self.past_key is None else self.past_key.shape[-2]

    @property
    def seq_kv(self) -> int:
        """The number of keys that have a position, in the cache and in the input."""
        return self.past_len + self.key.shape[-2]

    @property
    def head_dim(self) -> int:
        """The width of a head's queries."""
        return len(self.weights["query"]) // self.num_heads if self.is_layer else self.query.shape[-1]

    @property
    def is_self_attention(self) -> bool:
        """Whether a layer's key and value are its query."""
        same = self.query is self.key and self.query is self.value
        return self.is_layer and same

    @property
    def shifted(self) -> bool:
        """Whether some query does not stand at the key of its own index."""
        return bool(torch.as_tensor(self.first_position).any())

    @property
    def shifted_alike(self) -> bool:
        """Whether queries stand equally far from their index everywhere, and not at it."""
        return self.shifted and not isinstance(self.first_position, torch.Tensor)

    @property
    def masks_keys(self) -> bool:
        """Whether some query does not see some key."""
        return not bool(self.visible().all())

    @property
    def has_fully_masked_rows(self) -> bool:
        """Whether some query sees no key."""
        return not bool(self.visible_with_extra(self.extra_keys).any(-1).all())

    @property
    def extra_keys(self) -> int:
        """The number of learned and zero keys after the others."""
        return (self.bias_k is not None) + self.add_zero_attn

    @torch.no_grad()
    def compute(self) -> torch.Tensor:
        """Return the output: (B, L, D) of a layer, (B, H, L, Ev) of a function."""
        q, k, v = self.project_heads()
        k, v = self.concat_past(k, v)
        k, v = self.append_bias_kv(k, v)
        k, v = self.append_zero_kv(k, v)
        k, v = self.repeat_kv(k), self.repeat_kv(v)
        scores = self.scores(q, k)
        visible = self.visible_with_extra(scores.shape[-1] - self.seq_kv)
        attn = self.attention_weights(scores, visible)
        context = self.context(attn, v)
        if not self.is_layer:
            return self.write_output(context)
        return self.write_output(self.out_proj(self.merge_heads(context)))

    def project_heads(self) -> tuple[torch.Tensor, ...]:
        """Return queries (B, H, L, E), keys and values (B, Hk, T, E) of the new tokens."""
        query, key, value = (self.read_input(x) for x in (self.query, self.key, self.value))
        if not self.is_layer:
            return query, key, value
        q = self.split_heads(self.project(query, "query"), self.num_heads)
        k = self.split_heads(self.project(key, "key"), self.num_kv_heads)
        v = self.split_heads(self.project(value, "value"), self.num_kv_heads)
        return self.norm_and_rotate(q, k, v)

    def read_input(self, x: torch.Tensor) -> torch.Tensor:
        """Return an input as read from its file."""
        return x

    def project(self, x: torch.Tensor, role: str) -> torch.Tensor:
        """Return x W^T + b."""
        projected = x @ self.weights[role].T
        return projected + self.biases[role] if role in self.biases else projected

    def split_heads(self, x: torch.Tensor, num_heads: int) -> torch.Tensor:
        """Cut (B, T, H*E) into heads (B, H, T, E)."""
        B, T, width = x.shape
        return x.view(B, T, num_heads, width // num_heads).transpose(1, 2)

    def norm_and_rotate(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Norm and rotate queries and keys."""
        q, k = self.rms_norm(q, "query"), self.rms_norm(k, "key")
        return self.rotate(q, "query"), self.rotate(k, "key"), v

    def rms_norm(self, x: torch.Tensor, role: str) -> torch.Tensor:
        """Divide each head's vector by its root mean square, and multiply by the norm's weight."""
        if not self.norm_weights:
            return x
        return x / torch.sqrt(x.square().mean(-1, keepdim=True) + self.norm_eps) * self.norm_weights[role]

    def rotate(self, x: torch.Tensor, role: str) -> torch.Tensor:
        """Rotate (B, H, T, E) by its positions."""
        if self.rope is None:
            return x
        return self.apply_rotary_pos_emb(x, self.angles(self.positions(x, role)))

    def positions(self, x: torch.Tensor, role: str) -> torch.Tensor:
        """Return the positions of new tokens: (T), or (H, T) if they depend on the head."""
        return torch.arange(self.past_len, self.past_len + x.shape[-2], dtype=self.dtype)

    def angles(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the angle of each pair at each position."""
        return (positions / self.rope.factor)[..., None] * self.rope.base ** -self.exponents()

    def exponents(self) -> torch.Tensor:
        """Return the negative exponent of the base for each pair."""
        return torch.arange(0, self.rope.dim, 2, dtype=self.dtype) / self.rope.dim

    def apply_rotary_pos_emb(self, x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
        """Rotate the pairs of the first features, and keep the other features."""
        cos, sin = self.cos_sin(angles)
        dim = self.rope.dim
        if self.rope.style == "half":
            x1, x2 = x[..., : dim // 2], x[..., dim // 2 : dim]
            rotated = torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin], dim=-1)
        else:
            x1, x2 = x[..., 0:dim:2], x[..., 1:dim:2]
            rotated = torch.stack([x1 * cos - x2 * sin, x2 * cos + x1 * sin], dim=-1).flatten(-2)
        return torch.cat([rotated, x[..., dim:]], dim=-1)

    def cos_sin(self, angles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosine and sine of the angles."""
        return angles.cos(), angles.sin()

    def concat_past(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the past key and value before the new ones."""
        if self.past_key is None:
            return k, v
        return torch.cat([self.past_key, k], dim=2), torch.cat([self.past_value, v], dim=2)

    def append_bias_kv(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the learned key and value, bias_k and bias_v, to every batch element."""
        if self.bias_k is None:
            return k, v
        learned = (x.view(1, self.num_kv_heads, 1, -1) for x in (self.bias_k, self.bias_v))
        bias_k, bias_v = (x.expand(self.batch, -1, -1, -1) for x in learned)
        return torch.cat([k, bias_k], dim=2), torch.cat([v, bias_v], dim=2)

    def append_zero_kv(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Append a key and a value of zeros if the layer has add_zero_attn."""
        if not self.add_zero_attn:
            return k, v
        return append_zeros(k, 1), append_zeros(v, 1)

    def repeat_kv(self, x: torch.Tensor) -> torch.Tensor:
        """Repeat each key or value head for its query heads: (B, Hk, S, E) to (B, H, S, E)."""
        return x.repeat_interleave(self.num_heads // self.num_kv_heads, dim=1)

    def scores(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """Return the scores (B, H, L, S') before masking. Extra keys get no bias."""
        scores = self.scale_and_cap(q @ k.mT)
        bias = self.score_bias()
        extra = scores.shape[-1] - bias.shape[-1]
        return scores + torch.nn.functional.pad(bias, (0, extra))

    def scale_and_cap(self, products: torch.Tensor) -> torch.Tensor:
        """Scale the products, then apply softcap."""
        return self.cap(products * self.scale)

    def cap(self, scores: torch.Tensor) -> torch.Tensor:
        """Apply softcap to the scores."""
        return scores if self.softcap is None else self.softcap * torch.tanh(scores / self.softcap)

    def score_bias(self) -> torch.Tensor:
        """Return the sum of float mask, ALiBi and relative bias (B or 1, H or 1, L, S)."""
        bias = torch.zeros(1, 1, self.seq_q, self.seq_kv, dtype=self.dtype)
        if self.bias is not None:
            bias = bias + self.float_mask()
        if self.alibi:
            bias = bias - self.alibi_slopes()[:, None, None] * self.alibi_distance().abs()
        if self.relative_bias is not None:
            bias = bias + self.relative_bias[self.relative_bucket()].permute(2, 0, 1)
        return bias

    def float_mask(self) -> torch.Tensor:
        """Return the float mask with zero for -inf, which `visible` deals with."""
        return self.bias.masked_fill(self.bias == -math.inf, 0)

    def alibi_slopes(self) -> torch.Tensor:
        """Return ALiBi's slopes (H)."""
        return torch.tensor(slopes(self.num_heads), dtype=self.dtype)

    def distance(self) -> torch.Tensor:
        """Return (L, S) or (B, 1, L, S): the position of the key minus the query's."""
        return torch.arange(self.seq_kv) - (self.first_position + torch.arange(self.seq_q)[:, None])

    def distance_without_past(self) -> torch.Tensor:
        """Return the distance to queries that count from 0, whatever comes before them."""
        return self.distance() + self.first_position

    def alibi_distance(self) -> torch.Tensor:
        """Return the distance in ALiBi's bias."""
        return self.distance()

    def relative_bucket(self) -> torch.Tensor:
        """Return (L, S): the row of the relative bias."""
        farthest = len(self.relative_bias) // 2
        return self.distance().clamp(-farthest, farthest) + farthest

    def visible_with_extra(self, extra: int) -> torch.Tensor:
        """Return `visible` with some extra keys appended that every query sees."""
        return torch.nn.functional.pad(self.visible(), (0, extra), value=True)

    def visible(self) -> torch.Tensor:
        """Return bool (B, H, L, S), true where a query sees a key."""
        visible = torch.ones(self.batch, self.num_heads, self.seq_q, self.seq_kv, dtype=torch.bool)
        if self.causal:
            visible = visible & self.causal_visible()
        if self.window is not None:
            visible = visible & self.window_visible()
        if self.padding is not None:
            visible = visible & self.padding_visible()
        if self.allow is not None:
            visible = visible & self.allow
        if self.bias is not None:
            visible = visible & (self.bias != -math.inf)
        return visible

    def causal_visible(self) -> torch.Tensor:
        """Return bool (L, S), false for keys after the query."""
        return self.distance() <= 0

    def window_visible(self) -> torch.Tensor:
        """Return bool (L, S), false for keys outside the window."""
        return self.distance().abs() < self.window

    def padding_visible(self) -> torch.Tensor:
        """Return bool (B, 1, 1, S), false for filler."""
        return ~self.padding[:, None, None, :]

    def attention_weights(self, scores: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """Return the attention weights (B, H, L, S')."""
        return self.softmax(self.mask_scores(scores, visible))

    def mask_scores(self, scores: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """Replace the scores of hidden keys by -inf."""
        return scores.masked_fill(~visible, -math.inf)

    def softmax(self, scores: torch.Tensor) -> torch.Tensor:
        """Normalise over the keys and the sink. `empty_row` decides about fully masked rows."""
        attn = torch.softmax(self.append_sink(scores), dim=-1)[..., : scores.shape[-1]]
        if self.empty_row == "zero":
            fully_masked = (scores == -math.inf).all(-1, keepdim=True)
            attn = attn.masked_fill(fully_masked, 0)
        return attn

    def append_sink(self, scores: torch.Tensor) -> torch.Tensor:
        """Append each head's sink to its scores, as one more logit."""
        if self.sinks is None:
            return scores
        return torch.cat([scores, self.sinks[:, None, None].expand(*scores.shape[:-1], 1)], dim=-1)

    def context(self, attn: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Return attn @ v, the context (B, H, L, Ev)."""
        return attn @ v

    def merge_heads(self, context: torch.Tensor) -> torch.Tensor:
        """Put the heads (B, H, L, E) side by side (B, L, H*E)."""
        return context.transpose(1, 2).flatten(-2)

    def out_proj(self, merged: torch.Tensor) -> torch.Tensor:
        """Project back to the width of the model."""
        return self.project(merged, "output")

    def write_output(self, output: torch.Tensor) -> torch.Tensor:
        """Return the output as written to its file."""
        return output


Wrong = PlainAttention | None  # the attention with a mistake, None if the mistake does not apply


def append_zeros(x: torch.Tensor, count: int) -> torch.Tensor:
    """Append keys or values of zeros to (B, H, S, E)."""
    return torch.cat([x, x.new_zeros(*x.shape[:2], count, x.shape[3])], dim=2)


def slopes(num_heads: int) -> list[float]:
    """Return ALiBi's slopes, 2^(-8h/n) for a power of two n.

    Heads beyond the power of two take every other slope of the next power, as in the paper.
    """
    n = 2 ** int(math.log2(num_heads))
    series = [2 ** (-8 * h / n) for h in range(1, n + 1)]
    finer = [2 ** (-8 * h / (2 * n)) for h in range(1, 2 * n, 2)]
    return series + finer[: num_heads - n]

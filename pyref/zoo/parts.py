"""The parts that decoders share: settings, norms, rotations, attention, gated MLPs."""

from pyref.build.pinned_torch import torch

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor
Tables = tuple[Tensor, Tensor]


class Config(dict):
    """Settings, which are attributes under their names in transformers."""

    def __getattr__(self, name: str) -> object:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __deepcopy__(self, memo: dict) -> "Config":
        return Config(self)

    def theta(self, kind: str = "") -> float:
        """Return the rotary base, of a kind of layer if the model has several."""
        rope = self["rope_parameters"]
        return (rope[kind] if kind else rope)["rope_theta"]


class RMSNorm(nn.Module):
    """x over its root mean square, times a weight to which `offset` is added."""

    def __init__(self, width: int, eps: float, offset: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps, self.offset = eps, offset

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised x."""
        normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
        return normed * (self.weight + self.offset) if self.offset else normed * self.weight


class CenteredNorm(nn.Module):
    """A LayerNorm without a bias."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised x."""
        return functional.layer_norm(x, self.weight.shape, self.weight, None, self.eps)


def tables(tokens: int, size: int, base: float, dtype: torch.dtype, pairs: str = "half") -> Tables:
    """Return the cosine and sine (tokens, size) of each position.

    `pairs` is "half" if feature i turns with feature i + size/2, and "next" if it turns with i + 1.
    """
    frequencies = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.outer(torch.arange(tokens, dtype=torch.float64), frequencies)
    angles = torch.cat([angles, angles], -1) if pairs == "half" else angles.repeat_interleave(2, -1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the features i and i + E/2 of (B, H, T, E)."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin


def rotate_next(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the features 2i and 2i + 1 of (B, H, T, E)."""
    turned = torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)
    return x * cos + turned * sin


def seen(attention_mask: Tensor, window: int = 0) -> Tensor:
    """Return the keys (B, 1, T, T) that each query sees; a window of 0 hides none."""
    position = torch.arange(attention_mask.shape[1])
    away = position[:, None] - position
    near = (away >= 0) & (away < window) if window else away >= 0
    return near & attention_mask.bool()[:, None, None]


def heads_of(x: Tensor, size: int) -> Tensor:
    """Return the heads (B, H, T, E) of (B, T, H E)."""
    return x.view(*x.shape[:2], -1, size).transpose(1, 2)


def repeated(x: Tensor, heads: int) -> Tensor:
    """Give every query head its key or value head."""
    batch, own, tokens, size = x.shape
    return x[:, :, None].expand(batch, own, heads // own, tokens, size).reshape(batch, heads, tokens, size)


def attend(query: Tensor, key: Tensor, value: Tensor, visible: Tensor, scale: float) -> Tensor:
    """Return the attention of all heads, side by side: (B, T, H E)."""
    scores = (query @ key.transpose(2, 3) * scale).masked_fill(~visible, torch.finfo(query.dtype).min)
    return (torch.softmax(scores, dim=-1) @ value).transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Self-attention with grouped key and value heads."""

    turn = staticmethod(rotate)

    def __init__(self, c: Config, bias: bool = False) -> None:
        super().__init__()
        self.size, self.scale = c.head_dim, c.get("attention_multiplier", c.head_dim**-0.5)
        self.heads, kv_heads = c.num_attention_heads, c.num_key_value_heads
        self.q_proj = nn.Linear(c.hidden_size, self.heads * self.size, bias=bias)
        self.k_proj = nn.Linear(c.hidden_size, kv_heads * self.size, bias=bias)
        self.v_proj = nn.Linear(c.hidden_size, kv_heads * self.size, bias=bias)
        self.o_proj = nn.Linear(self.heads * self.size, c.hidden_size, bias=bias)

    def forward(self, x: Tensor, angles: Tables | None, visible: Tensor) -> Tensor:
        """Return the attention over the visible keys. Without angles nothing is rotated."""
        query, key = self.query_and_key(x)
        if angles:
            query, key = self.turn(query, *angles), self.turn(key, *angles)
        key, value = (repeated(part, self.heads) for part in (key, heads_of(self.v_proj(x), self.size)))
        return self.o_proj(self.attend(query, key, value, visible))

    def query_and_key(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return queries and keys (B, H, T, E) before their rotation."""
        return heads_of(self.q_proj(x), self.size), heads_of(self.k_proj(x), self.size)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, visible: Tensor) -> Tensor:
        """Return the heads of the attention, side by side."""
        return attend(query, key, value, visible, self.scale)


class HeadNormAttention(Attention):
    """Attention that normalises each head of its queries and keys."""

    def __init__(self, c: Config, eps: float, offset: float = 0.0) -> None:
        super().__init__(c)
        self.q_norm, self.k_norm = (RMSNorm(self.size, eps, offset) for _ in range(2))

    def query_and_key(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return normalised queries and keys (B, H, T, E)."""
        split = (*x.shape[:2], -1, self.size)
        query, key = self.q_norm(self.q_proj(x).view(split)), self.k_norm(self.k_proj(x).view(split))
        return query.transpose(1, 2), key.transpose(1, 2)


class WideNormAttention(Attention):
    """Attention that normalises its queries and keys over all heads."""

    def __init__(self, c: Config) -> None:
        super().__init__(c)
        self.q_norm = RMSNorm(self.heads * self.size, c.rms_norm_eps)
        self.k_norm = RMSNorm(c.num_key_value_heads * self.size, c.rms_norm_eps)

    def query_and_key(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return normalised queries and keys (B, H, T, E)."""
        query, key = self.q_norm(self.q_proj(x)), self.k_norm(self.k_proj(x))
        return heads_of(query, self.size), heads_of(key, self.size)


class GatedMLP(nn.Module):
    """act(gate) times up."""

    def __init__(self, width: int, inner: int, act: nn.Module | None = None) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)
        self.act_fn = act or nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP of x."""
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class Body(nn.Module):
    """Token ids (B, T) to normalised hidden states (B, T, width), by layers of several kinds."""

    def __init__(self, c: Config, layers: list[nn.Module], norm: nn.Module) -> None:
        super().__init__()
        self.c = c
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.layers, self.norm = nn.ModuleList(layers), norm

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the hidden states; attention_mask (B, T) is 0 where a token is padding."""
        x = self.embed_tokens(input_ids)
        if factor := self.c.get("embedding_multiplier"):
            x = x * factor
        angles, visible = self.angles(input_ids.shape[1], x.dtype), self.visible(attention_mask)
        for layer, kind in zip(self.layers, self.kinds(), strict=True):
            x = layer(x, angles[kind], visible[kind])
        return self.norm(x)

    def kinds(self) -> list[str]:
        """Return the kind of each layer."""
        return self.c.get("layer_types") or ["full_attention"] * self.c.num_hidden_layers

    def angles(self, tokens: int, dtype: torch.dtype) -> dict[str, Tables | None]:
        """Return the rotary tables of each kind of layer."""
        own = tables(tokens, self.c.head_dim, self.c.theta(), dtype)
        return dict.fromkeys(("full_attention", "sliding_attention"), own)

    def visible(self, attention_mask: Tensor) -> dict[str, Tensor]:
        """Return the keys that each query sees in each kind of layer."""
        window = self.c.get("sliding_window", 0)
        return {
            "full_attention": seen(attention_mask),
            "sliding_attention": seen(attention_mask, window) if window else None,
        }


class CausalLM(nn.Module):
    """Token ids (B, T) to logits (B, T, vocabulary)."""

    def __init__(self, c: Config, body: nn.Module) -> None:
        super().__init__()
        self.config, self.model = dict(c), body
        self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)
        if c.tie_word_embeddings:
            self.lm_head.weight = body.embed_tokens.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits."""
        return self.scaled(self.lm_head(self.model(input_ids, attention_mask)))

    def scaled(self, logits: Tensor) -> Tensor:
        """Return the logits with the model's factor."""
        return logits


def plain(model_type: str, **more: object) -> Config:
    """Return settings of a decoder. No two sizes are equal, and heads do not add to the width."""
    return Config(
        {
            "model_type": model_type,
            "vocab_size": 31,
            "hidden_size": 40,
            "intermediate_size": 52,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 6,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"},
            "tie_word_embeddings": False,
        }
        | more
    )

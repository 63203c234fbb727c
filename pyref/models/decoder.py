"""A decoder as Llama has it and, by its settings, as Gemma has it."""

import math
from dataclasses import dataclass

from pyref.build.pinned_torch import torch

nn = torch.nn
Tensor = torch.Tensor


@dataclass(frozen=True)
class Settings:
    """The sizes and the options of a decoder."""

    vocabulary: int = 31
    width: int = 24
    inner: int = 40
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 6
    base: float = 10000.0
    eps: float = 1e-5
    activation: str = "silu"
    offset: float = 0.0  # added to the weights of the norms
    scaled: bool = False  # embeddings times sqrt(width)
    window: int = 0
    score_cap: float = 0.0
    logit_cap: float = 0.0


class RMSNorm(nn.Module):
    """x over its root mean square, times a weight."""

    def __init__(self, width: int, settings: Settings) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps, self.offset = settings.eps, settings.offset

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised x."""
        normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
        return normed * (self.weight + self.offset) if self.offset else normed * self.weight


class Rotary(nn.Module):
    """The cosine and sine of each position, for pairs of one feature from each half."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.size, self.base = settings.head_size, settings.base

    def forward(self, tokens: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the tables (tokens, head size)."""
        frequencies = self.base ** (-torch.arange(0, self.size, 2, dtype=torch.float64) / self.size)
        angles = torch.outer(torch.arange(tokens, dtype=torch.float64), frequencies)
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the features of (B, H, T, E)."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin


class Attention(nn.Module):
    """Self-attention with grouped key and value heads."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        size, width = settings.head_size, settings.width
        self.settings, self.scale = settings, size**-0.5
        self.q_proj = nn.Linear(width, settings.heads * size, bias=False)
        self.k_proj = nn.Linear(width, settings.kv_heads * size, bias=False)
        self.v_proj = nn.Linear(width, settings.kv_heads * size, bias=False)
        self.o_proj = nn.Linear(settings.heads * size, width, bias=False)

    def forward(self, x: Tensor, tables: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
        """Return the attention over the keys that `seen` (B, 1, T, T) shows."""
        batch, tokens, _ = x.shape
        split = (batch, tokens, -1, self.settings.head_size)
        query = self.turn_query(self.q_proj(x).view(split).transpose(1, 2), tables)
        key = self.turn_key(self.k_proj(x).view(split).transpose(1, 2), tables)
        value = self.v_proj(x).view(split).transpose(1, 2)
        key, value = self.repeat(key), self.repeat(value)
        scores = query @ key.transpose(2, 3) * self.scale
        if self.settings.score_cap:
            scores = self.settings.score_cap * torch.tanh(scores / self.settings.score_cap)
        scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
        context = torch.softmax(scores, dim=-1) @ value
        return self.o_proj(self.merge(context, (batch, tokens, -1)))

    def turn_query(self, query: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
        """Rotate the queries."""
        return rotate(query, *tables)

    def turn_key(self, key: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
        """Rotate the keys."""
        return rotate(key, *tables)

    def repeat(self, x: Tensor) -> Tensor:
        """Give every query head its key or value head."""
        batch, heads, tokens, size = x.shape
        times = self.settings.heads // heads
        return x[:, :, None].expand(batch, heads, times, tokens, size).reshape(batch, -1, tokens, size)

    def merge(self, context: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Put the heads of a token side by side."""
        return context.transpose(1, 2).reshape(shape)


class MLP(nn.Module):
    """act(gate) times up."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(settings.width, settings.inner, bias=False)
        self.up_proj = nn.Linear(settings.width, settings.inner, bias=False)
        self.down_proj = nn.Linear(settings.inner, settings.width, bias=False)
        self.act = nn.SiLU() if settings.activation == "silu" else nn.GELU(approximate="tanh")

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP of x."""
        return self.down_proj(self.act(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Attention and MLP, each behind a norm and inside a sum."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(settings.width, settings)
        self.self_attn = Attention(settings)
        self.post_attention_layernorm = RMSNorm(settings.width, settings)
        self.mlp = MLP(settings)

    def forward(self, x: Tensor, tables: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
        """Return the layer's output."""
        x = self.add(x, self.self_attn(self.input_layernorm(x), tables, seen))
        return self.add_mlp(x, self.mlp(self.post_attention_layernorm(x)))

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        """Add the output of attention."""
        return x + branch

    def add_mlp(self, x: Tensor, branch: Tensor) -> Tensor:
        """Add the output of the MLP."""
        return x + branch


class Decoder(nn.Module):
    """Token ids (B, T) to logits (B, T, vocabulary)."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.embed_tokens = nn.Embedding(settings.vocabulary, settings.width)
        self.rotary = Rotary(settings)
        self.layers = nn.ModuleList(Layer(settings) for _ in range(settings.layers))
        self.norm = RMSNorm(settings.width, settings)
        self.lm_head = nn.Linear(settings.width, settings.vocabulary, bias=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits; attention_mask (B, T) is 0 where a token is padding."""
        tokens = input_ids.shape[1]
        x = self.embed(input_ids)
        tables, seen = self.rotary(tokens, x.dtype), self.seen(attention_mask)
        for layer in self.layers:
            x = layer(x, tables, seen)
        logits = self.lm_head(self.norm(x))
        return self.cap(logits)

    def embed(self, input_ids: Tensor) -> Tensor:
        """Return the embeddings of tokens."""
        x = self.embed_tokens(input_ids)
        return x * math.sqrt(self.settings.width) if self.settings.scaled else x

    def seen(self, attention_mask: Tensor) -> Tensor:
        """Return the keys (B, 1, T, T) that each query sees."""
        return self.causal(attention_mask.shape[1]) & attention_mask.bool()[:, None, None]

    def causal(self, tokens: int) -> Tensor:
        """Return the keys (T, T) that are not later than a query, and in its window."""
        position = torch.arange(tokens)
        away = position[:, None] - position
        return (away >= 0) & (away < self.settings.window) if self.settings.window else away >= 0

    def cap(self, logits: Tensor) -> Tensor:
        """Bend the logits, if the model does."""
        c = self.settings.logit_cap
        return c * torch.tanh(logits / c) if c else logits

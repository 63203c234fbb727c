"""Attention modules as models have them: three ways to hold the projections, and their options."""

from dataclasses import dataclass

from pyref.build.pinned_torch import torch

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor


@dataclass(frozen=True)
class Settings:
    """The sizes and the options of attention."""

    width: int = 20
    heads: int = 4
    kv_heads: int = 4
    size: int = 6  # of a head
    biases: bool = True
    scale: float = 6**-0.5
    rotated: int = 0  # features of a head
    normed: bool = False  # queries and keys
    causal: bool = True
    window: int = 0
    distances: int = 0  # of a table of biases; 0 for none


class Attention(nn.Module):
    """Attention with q_proj, k_proj, v_proj and o_proj."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = s = settings
        self.hold(s.width, s.heads * s.size, s.kv_heads * s.size)
        if s.normed:
            self.q_norm = nn.Parameter(torch.ones(s.size))
            self.k_norm = nn.Parameter(torch.ones(s.size))
        if s.distances:
            self.relative = nn.Embedding(2 * s.distances + 1, s.heads)

    def hold(self, width: int, inner: int, keys: int) -> None:
        """Make the projections."""
        biases = self.settings.biases
        self.q_proj = nn.Linear(width, inner, bias=biases)
        self.k_proj = nn.Linear(width, keys, bias=biases)
        self.v_proj = nn.Linear(width, keys, bias=biases)
        self.o_proj = nn.Linear(inner, width, bias=biases)

    def project(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values as (B, H, T, E)."""
        return (
            self.split(self.q_proj(x)),
            self.split(self.k_proj(memory)),
            self.split(self.v_proj(memory)),
        )

    def finish(self, merged: Tensor) -> Tensor:
        """Apply the output projection."""
        return self.o_proj(merged)

    def split(self, x: Tensor) -> Tensor:
        """Split the features of (B, T, H*E) into heads."""
        return x.view(*x.shape[:2], -1, self.settings.size).transpose(1, 2)

    def merge(self, context: Tensor) -> Tensor:
        """Put the heads of (B, H, T, E) side by side."""
        return context.transpose(1, 2).reshape(context.shape[0], context.shape[2], -1)

    def norm(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Divide queries and keys by their root mean squares."""
        if not self.settings.normed:
            return query, key
        return rms(query) * self.q_norm, rms(key) * self.k_norm

    def turn(self, x: Tensor) -> Tensor:
        """Rotate the first features of each head by the position."""
        size = self.settings.rotated
        if not size:
            return x
        cos, sin = tables(x.shape[2], size, x.dtype)
        first, rest = x[..., :size], x[..., size:]
        half = torch.cat([-first[..., size // 2 :], first[..., : size // 2]], dim=-1)
        return torch.cat([first * cos + half * sin, rest], dim=-1)

    def place(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotate queries and keys."""
        return self.turn(query), self.turn(key), value

    def repeat(self, x: Tensor) -> Tensor:
        """Give every query head its key or value head."""
        times = self.settings.heads // x.shape[1]
        return x if times == 1 else x.repeat_interleave(times, dim=1)

    def seen(self, queries: int, padding: Tensor) -> Tensor:
        """Return which keys each query sees, (B, 1, L, S); padding (B, S) hides keys."""
        distance = torch.arange(queries)[:, None] - torch.arange(padding.shape[1])
        seen = ~padding[:, None, None, :]
        if self.settings.causal:
            seen = seen & (distance >= 0)
        if self.settings.window:
            seen = seen & (distance < self.settings.window)
        return seen.expand(-1, 1, queries, -1)

    def bias(self, queries: int, keys: int) -> Tensor | None:
        """Return the biases by distance, (1, H, L, S), or None."""
        if not self.settings.distances:
            return None
        distance = torch.arange(keys) - torch.arange(queries)[:, None]
        reach = self.settings.distances
        return self.relative(distance.clamp(-reach, reach) + reach).permute(2, 0, 1)[None]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor, bias: Tensor | None) -> Tensor:
        """Return the context."""
        mask = seen if bias is None else bias.masked_fill(~seen, float("-inf"))
        return functional.scaled_dot_product_attention(query, key, value, mask, scale=self.settings.scale)

    def forward(self, x: Tensor, padding: Tensor, memory: Tensor | None = None) -> Tensor:
        """Return the attention of x to the memory, or to itself."""
        query, key, value = self.project(x, x if memory is None else memory)
        query, key = self.norm(query, key)
        query, key, value = self.place(query, key, value)
        key, value = self.repeat(key), self.repeat(value)
        seen, bias = self.seen(query.shape[2], padding), self.bias(query.shape[2], key.shape[2])
        return self.finish(self.merge(self.attend(query, key, value, seen, bias)))


class Fused(Attention):
    """One projection [query; key; value], stored (in, out) as GPT-2 has it."""

    def hold(self, width: int, inner: int, keys: int) -> None:
        """Make the projections."""
        self.c_attn = nn.ParameterDict(
            {"weight": torch.zeros(width, inner + 2 * keys), "bias": torch.zeros(inner + 2 * keys)}
        )
        self.c_proj = nn.ParameterDict({"weight": torch.zeros(inner, width), "bias": torch.zeros(width)})

    def project(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values as (B, H, T, E)."""
        inner = self.settings.heads * self.settings.size
        query, key, value = conv1d(x, self.c_attn).split(inner, dim=-1)
        return self.split(query), self.split(key), self.split(value)

    def finish(self, merged: Tensor) -> Tensor:
        """Apply the output projection."""
        return conv1d(merged, self.c_proj)


def conv1d(x: Tensor, parameters: nn.ParameterDict) -> Tensor:
    """Return a linear layer whose weight is (in, out)."""
    flat = torch.addmm(parameters["bias"], x.reshape(-1, x.shape[-1]), parameters["weight"])
    return flat.view(*x.shape[:-1], -1)


class PerHead(Attention):
    """One projection, the query, key and value of a head next to each other, as in GPT-NeoX."""

    def hold(self, width: int, inner: int, keys: int) -> None:
        """Make the projections."""
        self.query_key_value = nn.Linear(width, 3 * inner)
        self.dense = nn.Linear(inner, width)

    def project(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values as (B, H, T, E)."""
        fused = self.query_key_value(x).view(*x.shape[:2], self.settings.heads, 3 * self.settings.size)
        query, key, value = fused.transpose(1, 2).chunk(3, dim=-1)
        return query, key, value

    def finish(self, merged: Tensor) -> Tensor:
        """Apply the output projection."""
        return self.dense(merged)


def rms(x: Tensor) -> Tensor:
    """Return x over its root mean square."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def tables(tokens: int, size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the cosine and sine of each position, for pairs of one feature from each half."""
    frequencies = 10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.outer(torch.arange(tokens, dtype=torch.float64), frequencies)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)

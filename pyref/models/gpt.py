"""A decoder as GPT-2 has it and, by its settings, as GPT-NeoX has it: learned positions, biases."""

from dataclasses import dataclass

from pyref.build.pinned_torch import torch

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor


@dataclass(frozen=True)
class Settings:
    """The sizes and the options of a decoder."""

    vocabulary: int = 29
    positions: int = 16
    width: int = 24
    inner: int = 40
    layers: int = 3
    heads: int = 4
    eps: float = 1e-5
    parallel: bool = False  # attention and MLP take the same input
    head_bias: bool = False
    scaled_by_layer: bool = False  # attention scores divided by the number of the layer


class Conv1D(nn.Module):
    """A linear layer whose weight is stored as (in, out)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return x W + b."""
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], -1)


class Attention(nn.Module):
    """Causal self-attention with a fused projection."""

    def __init__(self, settings: Settings, layer: int) -> None:
        super().__init__()
        self.heads, self.scale = settings.heads, (settings.width // settings.heads) ** -0.5
        if settings.scaled_by_layer:
            self.scale /= layer + 1
        self.c_attn = Conv1D(settings.width, 3 * settings.width)
        self.c_proj = Conv1D(settings.width, settings.width)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the attention of x."""
        parts = self.c_attn(x).split(x.shape[-1], dim=-1)
        query, key, value = (part.view(*x.shape[:2], self.heads, -1).transpose(1, 2) for part in parts)
        scores = (query @ key.transpose(2, 3) * self.scale).masked_fill(~seen, torch.finfo(x.dtype).min)
        context = torch.softmax(scores, dim=-1) @ value
        return self.c_proj(context.transpose(1, 2).reshape(x.shape))


class MLP(nn.Module):
    """Two layers around GELU."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.c_fc = Conv1D(settings.width, settings.inner)
        self.act = nn.GELU(approximate="tanh")
        self.c_proj = Conv1D(settings.inner, settings.width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP of x."""
        return self.c_proj(self.act(self.c_fc(x)))


class Layer(nn.Module):
    """Attention and MLP, each behind a norm and inside a sum."""

    def __init__(self, settings: Settings, layer: int) -> None:
        super().__init__()
        self.parallel = settings.parallel
        self.ln_1 = nn.LayerNorm(settings.width, settings.eps)
        self.attn = Attention(settings, layer)
        self.ln_2 = nn.LayerNorm(settings.width, settings.eps)
        self.mlp = MLP(settings)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the layer's output."""
        attended = self.attn(self.ln_1(x), seen)
        if self.parallel:
            return self.mlp(self.ln_2(x)) + attended + x
        x = attended + x
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Token ids (B, T) to logits (B, T, vocabulary)."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.wte = nn.Embedding(settings.vocabulary, settings.width)
        self.wpe = nn.Embedding(settings.positions, settings.width)
        self.h = nn.ModuleList(Layer(settings, i) for i in range(settings.layers))
        self.ln_f = nn.LayerNorm(settings.width, settings.eps)
        self.lm_head = nn.Linear(settings.width, settings.vocabulary, bias=settings.head_bias)
        if not settings.head_bias:
            self.lm_head.weight = self.wte.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits; attention_mask (B, T) is 0 where a token is padding."""
        tokens = input_ids.shape[1]
        seen = torch.ones(tokens, tokens, dtype=torch.bool).tril() & attention_mask.bool()[:, None, None]
        x = self.wte(input_ids) + self.wpe(self.positions(attention_mask))
        for layer in self.h:
            x = layer(x, seen)
        return self.head(self.ln_f(x))

    def positions(self, attention_mask: Tensor) -> Tensor:
        """Return the position of each token (B, T), not counting padding."""
        return (attention_mask.cumsum(1) - 1).clamp(min=0)

    def head(self, x: Tensor) -> Tensor:
        """Return the logits of hidden states."""
        return self.lm_head(x)

"""An encoder as BERT has it: learned positions, token types, norms behind the sums, biases."""

from dataclasses import dataclass

from pyref.build.pinned_torch import torch

nn = torch.nn
Tensor = torch.Tensor


@dataclass(frozen=True)
class Settings:
    """The sizes of an encoder."""

    vocabulary: int = 31
    positions: int = 16
    width: int = 24
    inner: int = 40
    layers: int = 2
    heads: int = 4
    eps: float = 1e-3


class Embeddings(nn.Module):
    """The sum of token, position and token type, normalised."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.word = nn.Embedding(settings.vocabulary, settings.width)
        self.position = nn.Embedding(settings.positions, settings.width)
        self.token_type = nn.Embedding(2, settings.width)
        self.norm = nn.LayerNorm(settings.width, settings.eps)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the embeddings (B, T, width)."""
        x = self.add_type(self.word(input_ids), torch.zeros_like(input_ids))
        return self.norm(self.add_position(x, torch.arange(input_ids.shape[1])))

    def add_type(self, x: Tensor, types: Tensor) -> Tensor:
        """Add the embedding of the token types."""
        return x + self.token_type(types)

    def add_position(self, x: Tensor, positions: Tensor) -> Tensor:
        """Add the embedding of the positions."""
        return x + self.position(positions)


class Attention(nn.Module):
    """Self-attention over all keys that are no padding."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width = settings.width
        self.heads, self.scale = settings.heads, (width // settings.heads) ** -0.5
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the attention of x."""
        query, key, value = (self.split(layer(x)) for layer in (self.query, self.key, self.value))
        scores = (query @ key.transpose(2, 3) * self.scale).masked_fill(~seen, -torch.inf)
        return self.output(self.merge(torch.softmax(scores, dim=-1) @ value))

    def split(self, x: Tensor) -> Tensor:
        """Return the heads (B, H, T, E)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def merge(self, context: Tensor) -> Tensor:
        """Return the heads side by side."""
        return context.transpose(1, 2).flatten(2)


class Layer(nn.Module):
    """Attention and MLP, each inside a sum and before a norm."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.attention = Attention(settings)
        self.attention_norm = nn.LayerNorm(settings.width, settings.eps)
        self.up = nn.Linear(settings.width, settings.inner)
        self.act = nn.GELU()
        self.down = nn.Linear(settings.inner, settings.width)
        self.output_norm = nn.LayerNorm(settings.width, settings.eps)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the layer's output."""
        x = self.attention_norm(self.attention(x, seen) + x)
        return self.output_norm(self.down(self.act(self.up(x))) + x)


class Encoder(nn.Module):
    """Token ids (B, T) to hidden states (B, T, width)."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.embeddings = Embeddings(settings)
        self.layers = nn.ModuleList(Layer(settings) for _ in range(settings.layers))
        self.head = nn.Linear(settings.width, settings.vocabulary)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits of every token; attention_mask (B, T) is 0 where a token is padding."""
        x, seen = self.embeddings(input_ids), attention_mask.bool()[:, None, None]
        for layer in self.layers:
            x = layer(x, seen)
        return self.head(x)

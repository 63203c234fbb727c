"""An encoder of sentences with eleven layers, whose positions start at two."""

from pyref.build.pinned_torch import torch

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor


class Layer(nn.Module):
    """x plus an activated linear layer with a multiplier."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        return x + functional.silu(self.scale(self.gate(x)))

    def scale(self, x: Tensor) -> Tensor:
        """Multiply the gate."""
        return x * 0.4


class Sentences(nn.Module):
    """Token ids (B, T) to the mean (B, width) of the tokens that are no padding."""

    def __init__(self, vocabulary: int = 31, width: int = 8) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, width)
        self.embed_positions = nn.Embedding(12, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(11))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the embedding of each sentence; attention_mask is 0 where a token is padding."""
        x = self.embed_tokens(input_ids) + self.embed_positions(self.positions(input_ids.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.pool(x, attention_mask[..., None].to(x.dtype))

    def positions(self, tokens: int) -> Tensor:
        """Return the rows of the table of positions."""
        return torch.arange(tokens) + 2

    def pool(self, x: Tensor, kept: Tensor) -> Tensor:
        """Return the mean of the kept tokens."""
        return (x * kept).sum(1) / kept.sum(1)

"""BERT: learned positions, token types, norms behind the sums, a label for each token."""

from dataclasses import asdict, dataclass

from pyref.build.pinned_torch import torch

nn = torch.nn
Tensor = torch.Tensor


@dataclass(frozen=True)
class Settings:
    """The settings, under their names in transformers."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    layer_norm_eps: float
    num_labels: int
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    model_type: str = "bert"

    def norm(self) -> nn.LayerNorm:
        """Return a new norm."""
        return nn.LayerNorm(self.hidden_size, self.layer_norm_eps)


class Embeddings(nn.Module):
    """The normalised sum of token, token type and position."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(s.vocab_size, s.hidden_size)
        self.position_embeddings = nn.Embedding(s.max_position_embeddings, s.hidden_size)
        self.token_type_embeddings = nn.Embedding(s.type_vocab_size, s.hidden_size)
        self.LayerNorm = s.norm()

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the embeddings (B, T, width)."""
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        return self.LayerNorm(x + self.position_embeddings(torch.arange(input_ids.shape[1])))


class SelfAttention(nn.Module):
    """Attention over all keys that are no padding, before its output projection."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.heads, self.scale = s.num_attention_heads, (s.hidden_size // s.num_attention_heads) ** -0.5
        self.query, self.key, self.value = (nn.Linear(s.hidden_size, s.hidden_size) for _ in range(3))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the merged heads."""
        query, key, value = (
            layer(x).view(*x.shape[:2], self.heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = (query @ key.transpose(2, 3) * self.scale).masked_fill(~seen, -torch.inf)
        return (torch.softmax(scores, dim=-1) @ value).transpose(1, 2).flatten(2)


class Output(nn.Module):
    """A linear layer, a sum and a norm."""

    def __init__(self, wide: int, s: Settings) -> None:
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(wide, s.hidden_size), s.norm()

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return the norm of the sum."""
        return self.LayerNorm(self.dense(x) + residual)


class Attention(nn.Module):
    """Attention with its output."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.self, self.output = SelfAttention(s), Output(s.hidden_size, s)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the attention of x, in a sum with x."""
        return self.output(self.self(x, seen), x)


class Intermediate(nn.Module):
    """The first half of the MLP."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.dense, self.act = nn.Linear(s.hidden_size, s.intermediate_size), nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated linear layer."""
        return self.act(self.dense(x))


class Layer(nn.Module):
    """Attention and MLP, each inside a sum and before a norm."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.attention, self.intermediate = Attention(s), Intermediate(s)
        self.output = Output(s.intermediate_size, s)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the layer's output."""
        x = self.attention(x, seen)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    """All layers."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(s) for _ in range(s.num_hidden_layers))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the last hidden states."""
        for layer in self.layer:
            x = layer(x, seen)
        return x


class Bert(nn.Module):
    """Token ids (B, T) to hidden states (B, T, width)."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.embeddings, self.encoder = Embeddings(s), Encoder(s)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the hidden states; attention_mask (B, T) is 0 where a token is padding."""
        x = self.embeddings(input_ids, token_type_ids)
        return self.encoder(x, attention_mask.bool()[:, None, None])


class BertForTokenClassification(nn.Module):
    """Token ids (B, T) to the logits of each token's labels."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.config, self.bert = asdict(settings), Bert(settings)
        self.classifier = nn.Linear(settings.hidden_size, settings.num_labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the logits."""
        return self.classifier(self.bert(input_ids, attention_mask, token_type_ids))

"""Encoders out of BERT's parts, and others: RoBERTa, sentence embeddings, ModernBERT, OPT."""

from dataclasses import asdict, replace

from pyref.build.pinned_torch import torch
from pyref.zoo import bert, parts
from pyref.zoo.parts import CenteredNorm, Config, Tables

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor


class SentenceEmbedding(nn.Module):
    """BERT, the mean over the tokens that are no padding, and rows of length one."""

    def __init__(self, settings: bert.Settings) -> None:
        super().__init__()
        self.config, self.bert = asdict(settings), bert.Bert(settings)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the embedding (B, width) of each sequence."""
        x = self.bert(input_ids, attention_mask, token_type_ids)
        there = attention_mask[..., None].expand(x.shape).to(x.dtype)
        return functional.normalize((x * there).sum(1) / there.sum(1).clamp(min=1e-9), p=2, dim=1)


class RobertaEmbeddings(bert.Embeddings):
    """Positions count the tokens that are no padding, from the padding's id + 1."""

    pad = 1

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Return the embeddings (B, T, width). Without token types all are 0."""
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        there = (input_ids != self.pad).long()
        positions = there.cumsum(dim=1) * there + self.pad
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(types)
        return self.LayerNorm(x + self.position_embeddings(positions))


class ClassificationHead(nn.Module):
    """The first token, a linear layer, tanh and a linear layer."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.dense, self.out_proj = nn.Linear(width, width), nn.Linear(width, labels)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits (B, labels) of (B, T, width)."""
        return self.out_proj(torch.tanh(self.dense(features[:, 0])))


class RobertaForSequenceClassification(nn.Module):
    """RoBERTa with one label for each sequence."""

    def __init__(self, settings: bert.Settings) -> None:
        super().__init__()
        settings = replace(settings, model_type="roberta", type_vocab_size=1)
        self.config = asdict(settings) | {"pad_token_id": RobertaEmbeddings.pad}
        self.roberta = bert.Bert(settings)
        self.roberta.embeddings = RobertaEmbeddings(settings)
        self.classifier = ClassificationHead(settings.hidden_size, settings.num_labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits (B, labels)."""
        return self.classifier(self.roberta(input_ids, attention_mask, None))


class ModernBertAttention(nn.Module):
    """Attention in both directions with a fused projection."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.heads, self.size = c.num_attention_heads, c.hidden_size // c.num_attention_heads
        self.Wqkv = nn.Linear(c.hidden_size, 3 * c.hidden_size, bias=False)
        self.Wo = nn.Linear(c.hidden_size, c.hidden_size, bias=False)

    def forward(self, x: Tensor, angles: Tables, visible: Tensor) -> Tensor:
        """Return the attention over the visible keys."""
        query, key, value = self.Wqkv(x).view(*x.shape[:2], 3, self.heads, self.size).unbind(2)
        query, key = (parts.rotate(of.transpose(1, 2), *angles) for of in (query, key))
        return self.Wo(parts.attend(query, key, value.transpose(1, 2), visible, self.size**-0.5))


class ModernBertMLP(nn.Module):
    """A gated MLP. The rows of the activated half come first."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.Wi = nn.Linear(c.hidden_size, 2 * c.intermediate_size, bias=False)
        self.act, self.Wo = nn.GELU(), nn.Linear(c.intermediate_size, c.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP of x."""
        activated, gate = self.Wi(x).chunk(2, dim=-1)
        return self.Wo(self.act(activated) * gate)


class ModernBertLayer(nn.Module):
    """Attention and MLP behind norms. The first layer has no norm before attention."""

    def __init__(self, c: Config, first: bool) -> None:
        super().__init__()
        self.attn_norm = nn.Identity() if first else CenteredNorm(c.hidden_size, c.norm_eps)
        self.mlp_norm = CenteredNorm(c.hidden_size, c.norm_eps)
        self.attn, self.mlp = ModernBertAttention(c), ModernBertMLP(c)

    def forward(self, x: Tensor, angles: Tables, visible: Tensor) -> Tensor:
        """Return the layer's output."""
        x = x + self.attn(self.attn_norm(x), angles, visible)
        return x + self.mlp(self.mlp_norm(x))


class ModernBertEmbeddings(nn.Module):
    """Normalised tokens."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(c.vocab_size, c.hidden_size)
        self.norm = CenteredNorm(c.hidden_size, c.norm_eps)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the embeddings."""
        return self.norm(self.tok_embeddings(input_ids))


class ModernBertModel(nn.Module):
    """Two layers with a window to each without. The two kinds have rotary bases of their own."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.c, self.embeddings = c, ModernBertEmbeddings(c)
        self.layers = nn.ModuleList(ModernBertLayer(c, i == 0) for i in range(c.num_hidden_layers))
        self.final_norm = CenteredNorm(c.hidden_size, c.norm_eps)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the hidden states."""
        x, size = self.embeddings(input_ids), self.layers[0].attn.size
        there, position = attention_mask.bool()[:, None, None], torch.arange(input_ids.shape[1])
        near = (position[:, None] - position).abs() <= self.c.local_attention // 2
        visible = {"full_attention": there.expand(-1, 1, len(near), -1), "sliding_attention": near & there}
        angles = {kind: parts.tables(len(near), size, self.c.theta(kind), x.dtype) for kind in visible}
        for layer, kind in zip(self.layers, self.c.layer_types, strict=True):
            x = layer(x, angles[kind], visible[kind])
        return self.final_norm(x)


class ModernBertHead(nn.Module):
    """A linear layer, GELU and a norm."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.dense = nn.Linear(c.hidden_size, c.hidden_size, bias=False)
        self.act, self.norm = nn.GELU(), CenteredNorm(c.hidden_size, c.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        return self.norm(self.act(self.dense(x)))


class ModernBertForTokenClassification(nn.Module):
    """ModernBERT with a label for each token."""

    def __init__(self) -> None:
        super().__init__()
        kinds = ["full_attention" if i % 3 == 0 else "sliding_attention" for i in range(4)]
        c = Config(
            model_type="modernbert",
            vocab_size=31,
            hidden_size=24,
            intermediate_size=28,
            num_hidden_layers=4,
            num_attention_heads=4,
            hidden_activation="gelu",
            norm_eps=1e-5,
            norm_bias=False,
            local_attention=6,
            layer_types=kinds,
            rope_parameters={
                "full_attention": {"rope_type": "default", "rope_theta": 900.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 30.0},
            },
            num_labels=7,
        )
        self.config, self.model, self.head = dict(c), ModernBertModel(c), ModernBertHead(c)
        self.classifier = nn.Linear(c.hidden_size, c.num_labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits of every token."""
        return self.classifier(self.head(self.model(input_ids, attention_mask)))

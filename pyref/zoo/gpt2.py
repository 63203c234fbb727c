"""GPT-2: learned positions, LayerNorm before each branch, weights stored (in, out), a tied head."""

from dataclasses import asdict, dataclass

from pyref.build.pinned_torch import torch

nn = torch.nn
Tensor = torch.Tensor


@dataclass(frozen=True)
class Settings:
    """The settings, under their names in transformers."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    n_inner: int
    layer_norm_epsilon: float
    activation_function: str = "gelu_new"
    tie_word_embeddings: bool = True
    model_type: str = "gpt2"


@dataclass(frozen=True)
class ScaledSettings(Settings):
    """The settings of a model whose scores are divided by the number of the layer, from 1."""

    scale_attn_by_inverse_layer_idx: bool = True


class Conv1D(nn.Module):
    """A linear layer whose weight is (in, out)."""

    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(narrow, wide)), nn.Parameter(torch.empty(wide))

    def forward(self, x: Tensor) -> Tensor:
        """Return x times the weight, plus the bias."""
        rows = torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight)
        return rows.view(*x.shape[:-1], -1)


class Attention(nn.Module):
    """Self-attention whose query, key and value share a weight."""

    def __init__(self, s: Settings, layer: int) -> None:
        super().__init__()
        self.c_attn, self.c_proj = Conv1D(3 * s.n_embd, s.n_embd), Conv1D(s.n_embd, s.n_embd)
        self.heads, self.scale = s.n_head, (s.n_embd // s.n_head) ** -0.5
        if isinstance(s, ScaledSettings):
            self.scale /= layer + 1

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the attention over the keys that `seen` (B, 1, T, T) shows."""
        batch, tokens, width = x.shape
        parts = self.c_attn(x).split(width, dim=2)
        query, key, value = (t.view(batch, tokens, self.heads, -1).transpose(1, 2) for t in parts)
        scores = (query @ key.transpose(2, 3) * self.scale).masked_fill(~seen, torch.finfo(query.dtype).min)
        context = torch.softmax(scores, dim=-1) @ value
        return self.c_proj(context.transpose(1, 2).reshape(batch, tokens, width))


class MLP(nn.Module):
    """GELU by tanh between two linear layers."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.c_fc, self.c_proj = Conv1D(s.n_inner, s.n_embd), Conv1D(s.n_embd, s.n_inner)
        self.act = nn.GELU(approximate="tanh")

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP of x."""
        return self.c_proj(self.act(self.c_fc(x)))


class Block(nn.Module):
    """Attention and MLP, each behind a norm and inside a sum."""

    def __init__(self, s: Settings, layer: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(s.n_embd, s.layer_norm_epsilon)
        self.attn = Attention(s, layer)
        self.ln_2 = nn.LayerNorm(s.n_embd, s.layer_norm_epsilon)
        self.mlp = MLP(s)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the layer's output."""
        x = x + self.attn(self.ln_1(x), seen)
        return x + self.mlp(self.ln_2(x))


class Body(nn.Module):
    """Token ids (B, T) to normalised hidden states."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(s.vocab_size, s.n_embd), nn.Embedding(s.n_positions, s.n_embd)
        self.h = nn.ModuleList(Block(s, i) for i in range(s.n_layer))
        self.ln_f = nn.LayerNorm(s.n_embd, s.layer_norm_epsilon)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the hidden states; attention_mask (B, T) is 0 where a token is padding."""
        position = torch.arange(input_ids.shape[1])
        seen = (position[:, None] >= position) & attention_mask.bool()[:, None, None]
        x = self.wte(input_ids) + self.wpe(position)
        for block in self.h:
            x = block(x, seen)
        return self.ln_f(x)


class GPT2LMHeadModel(nn.Module):
    """Token ids (B, T) to logits (B, T, vocabulary)."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.config, self.transformer = asdict(settings), Body(settings)
        self.lm_head = nn.Linear(settings.n_embd, settings.vocab_size, bias=False)
        self.lm_head.weight = self.transformer.wte.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits."""
        return self.lm_head(self.transformer(input_ids, attention_mask))

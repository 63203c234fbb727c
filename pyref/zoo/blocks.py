"""Parts of models on their own: norms, MLPs, experts, mixers, tables, poolers."""

from pyref.build.pinned_torch import torch
from pyref.models import gpt
from pyref.zoo import parts
from pyref.zoo.experts import GatedMoe
from pyref.zoo.parts import Config, GatedMLP
from pyref.zoo.sparse import GptOssMLP as Experts
from pyref.zoo.sparse import GroupedMoe, gpt_oss, groups

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor
WIDTH = 24


class GemmaRMSNorm(parts.RMSNorm):
    """RMSNorm whose weight is less 1."""

    def __init__(self) -> None:
        super().__init__(WIDTH, 1e-6, offset=1.0)

    def extra_repr(self) -> str:
        """Return what PyTorch prints of the norm in transformers."""
        return f"({WIDTH},), eps={self.eps}"


class LlamaRMSNorm(parts.RMSNorm):
    """RMSNorm."""

    def __init__(self) -> None:
        super().__init__(WIDTH, 1e-5)

    def extra_repr(self) -> str:
        """Return what PyTorch prints of the norm in transformers."""
        return f"({WIDTH},), eps={self.eps}"


class LlamaMLP(GatedMLP):
    """silu(gate) times up."""

    def __init__(self) -> None:
        c = parts.plain("llama", hidden_size=WIDTH, mlp_bias=False)
        super().__init__(c.hidden_size, c.intermediate_size)
        self.config = dict(c)


class GemmaMLP(GatedMLP):
    """gelu(gate) times up."""

    def __init__(self) -> None:
        c = parts.plain("gemma", hidden_size=WIDTH, hidden_activation="gelu_pytorch_tanh")
        super().__init__(c.hidden_size, c.intermediate_size, nn.GELU(approximate="tanh"))
        self.config = dict(c)


class NemotronMLP(nn.Module):
    """Two layers around the square of ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.config = {
            "model_type": "nemotron",
            "hidden_size": WIDTH,
            "intermediate_size": 40,
            "hidden_act": "relu2",
        }
        self.up_proj = nn.Linear(WIDTH, 40, bias=False)
        self.down_proj = nn.Linear(40, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP of x."""
        return self.down_proj(functional.relu(self.up_proj(x)).square())


class ArceeMLP(NemotronMLP):
    """Two layers around the square of ReLU, with biases."""

    def __init__(self) -> None:
        super().__init__()
        self.config = self.config | {"model_type": "arcee", "mlp_bias": True, "intermediate_size": 36}
        self.up_proj, self.down_proj = nn.Linear(WIDTH, 36), nn.Linear(36, WIDTH)


class Qwen2MoeSparseMoeBlock(GatedMoe):
    """Experts by softmax, and a shared one behind a gate."""

    def __init__(self) -> None:
        super().__init__(WIDTH, experts=12, chosen=3, inner=14, shared=22)
        self.config = parts.plain(
            "qwen2_moe",
            hidden_size=WIDTH,
            num_experts=12,
            num_experts_per_tok=3,
            moe_intermediate_size=14,
            shared_expert_intermediate_size=22,
            norm_topk_prob=False,
        )
        self.config = dict(self.config)


class Glm4MoeMoE(GroupedMoe):
    """Experts by sigmoids in groups, and a shared one."""

    def __init__(self) -> None:
        c = parts.plain("glm4_moe", hidden_size=WIDTH, **groups())
        super().__init__(c)
        self.config = dict(c)


class GptOssMLP(Experts):
    """Experts within limits."""

    def __init__(self) -> None:
        c = Config(gpt_oss() | {"num_experts_per_tok": 4, "intermediate_size": 24})
        super().__init__(c)
        self.config = dict(c)


class SoftcapAttention(parts.Attention):
    """Causal attention whose scores are capped: Gemma 2."""

    def __init__(self) -> None:
        super().__init__(parts.plain("gemma2", hidden_size=WIDTH, attention_multiplier=0.7))
        self.cap = 1.5

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return the attention of hidden_states (B, T, width)."""
        tokens = hidden_states.shape[1]
        angles = parts.tables(tokens, self.size, 500.0, hidden_states.dtype)
        return super().forward(hidden_states, angles, torch.ones(tokens, tokens, dtype=torch.bool).tril())

    def attend(self, query: Tensor, key: Tensor, value: Tensor, visible: Tensor) -> Tensor:
        """Return the heads of the attention, side by side."""
        scores = self.cap * torch.tanh(query @ key.transpose(2, 3) * self.scale / self.cap)
        scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
        return (torch.softmax(scores, dim=-1) @ value).transpose(1, 2).flatten(2)


class GPT2Layers(nn.Module):
    """Two layers of a GPT-2 whose scores are divided by the layer's number."""

    def __init__(self) -> None:
        super().__init__()
        settings = gpt.Settings(width=WIDTH, layers=2, scaled_by_layer=True)
        self.proj = nn.Linear(WIDTH, WIDTH)
        self.h = nn.ModuleList(gpt.Layer(settings, i) for i in range(settings.layers))

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return the output for (B, T, width)."""
        tokens = hidden_states.shape[1]
        x, visible = self.proj(hidden_states), torch.ones(tokens, tokens, dtype=torch.bool).tril()
        for layer in self.h:
            x = layer(x, visible)
        return x


class Embeddings(nn.Module):
    """Tokens, positions from row 2 and token types, with factors and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(31, WIDTH), nn.Embedding(16, WIDTH)
        self.types, self.norm = nn.Embedding(2, WIDTH), nn.LayerNorm(WIDTH, 1e-3)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the embeddings (B, T, width)."""
        positions = torch.arange(input_ids.shape[1]).expand_as(input_ids) + 2
        x = self.tokens(input_ids) * WIDTH**0.5 + self.positions(positions)
        return self.norm(x + self.types(token_type_ids))


class TimestepEmbedding(nn.Module):
    """Sines and cosines of a number, through two layers: the timesteps of diffusion models."""

    sines_first = True

    def __init__(self) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(16, 20), nn.Linear(20, WIDTH)

    def forward(self, timesteps: Tensor) -> Tensor:
        """Return the embedding (B, width) of numbers (B)."""
        frequencies = torch.exp(-torch.arange(8, dtype=torch.float64) * torch.log(torch.tensor(100.0)) / 8)
        angles = timesteps[:, None] * frequencies.to(timesteps.dtype)
        parts = [angles.sin(), angles.cos()]
        x = torch.cat(parts if self.sines_first else parts[::-1], dim=-1)
        return self.linear_2(functional.silu(self.linear_1(x)))


class FlippedTimestepEmbedding(TimestepEmbedding):
    """Cosines before sines."""

    sines_first = False


class SentencePooler(nn.Module):
    """The mean over tokens that are no padding, a linear layer with tanh, rows of length one."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dense = nn.LayerNorm(WIDTH, 1e-3), nn.Linear(WIDTH, 20)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the embedding (B, 20) of (B, T, width)."""
        there = attention_mask[..., None].to(hidden_states.dtype)
        mean = (self.norm(hidden_states) * there).sum(1) / there.sum(1)
        return functional.normalize(torch.tanh(self.dense(mean)), dim=-1)


class BertPooler(nn.Module):
    """The normalised first token, a linear layer and tanh, and a label with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH, 1e-3)
        self.dense, self.classifier = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 5)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return the logits (B, 5) of (B, T, width)."""
        return self.classifier(torch.tanh(self.dense(self.norm(hidden_states)[:, 0])))


class LanguageModelHead(nn.Module):
    """A norm, a factor, a linear layer, a softcap: the heads of T5 and of Gemma."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.lm_head = parts.RMSNorm(WIDTH, 1e-5), nn.Linear(WIDTH, 31)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return the logits (B, T, 31)."""
        logits = self.lm_head(self.norm(hidden_states) * WIDTH**-0.5)
        return 0.5 * torch.tanh(logits / 0.5)

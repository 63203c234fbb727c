"""Decoders with experts: gpt-oss, OLMoE, DeepSeek V3."""

from pyref.build.pinned_torch import torch
from pyref.zoo import parts
from pyref.zoo.experts import MLP, Experts, SoftmaxRouter
from pyref.zoo.parts import Config, RMSNorm, Tables

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor


class Layer(nn.Module):
    """Attention and MLP, each behind a norm and inside a sum."""

    def __init__(self, c: Config, attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.self_attn, self.mlp = attention, mlp
        self.input_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)

    def forward(self, x: Tensor, angles: Tables, visible: Tensor) -> Tensor:
        """Return the layer's output."""
        x = x + self.self_attn(self.input_layernorm(x), angles, visible)
        return x + self.mlp(self.post_attention_layernorm(x))


class SinkAttention(parts.Attention):
    """Attention with biases and, for each head, the score of a key without a value."""

    def __init__(self, c: Config) -> None:
        super().__init__(c, bias=True)
        self.sinks = nn.Parameter(torch.zeros(self.heads))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, visible: Tensor) -> Tensor:
        """Return the heads of the attention, side by side."""
        scores = (query @ key.transpose(2, 3) * self.scale).masked_fill(
            ~visible, torch.finfo(query.dtype).min
        )
        sinks = self.sinks.view(1, -1, 1, 1).expand(len(query), -1, query.shape[2], -1)
        weights = torch.softmax(torch.cat([scores, sinks], dim=-1), dim=-1)[..., :-1]
        return (weights @ value).transpose(1, 2).flatten(2)


class GptOssRouter(nn.Module):
    """A softmax over the chosen logits, which have biases."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(c.num_local_experts, c.hidden_size))
        self.bias = nn.Parameter(torch.empty(c.num_local_experts))
        self.chosen = c.num_experts_per_tok

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the chosen experts and their weights."""
        best, chosen = torch.topk(functional.linear(x, self.weight, self.bias), self.chosen, dim=-1)
        return chosen, torch.softmax(best, dim=-1)


class GptOssExperts(nn.Module):
    """Experts whose gate and up alternate, within limits."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        count, width, inner = c.num_local_experts, c.hidden_size, c.intermediate_size
        self.gate_up_proj = nn.Parameter(torch.empty(count, width, 2 * inner))
        self.gate_up_proj_bias = nn.Parameter(torch.empty(count, 2 * inner))
        self.down_proj = nn.Parameter(torch.empty(count, inner, width))
        self.down_proj_bias = nn.Parameter(torch.empty(count, width))
        self.alpha, self.limit = c.swiglu_alpha, c.swiglu_limit

    def forward(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted sum of the experts `chosen` (tokens, k) for x (tokens, width)."""
        tokens, k = chosen.shape
        experts = chosen.reshape(-1)
        each = x.repeat_interleave(k, dim=0).unsqueeze(1)
        fused = torch.bmm(each, self.gate_up_proj[experts]).squeeze(1) + self.gate_up_proj_bias[experts]
        gate = fused[..., ::2].clamp(max=self.limit)
        up = fused[..., 1::2].clamp(min=-self.limit, max=self.limit)
        inner = (up + 1) * (gate * torch.sigmoid(gate * self.alpha))
        out = torch.bmm(inner.unsqueeze(1), self.down_proj[experts]).squeeze(1) + self.down_proj_bias[experts]
        return (out * weights.reshape(-1, 1)).view(tokens, k, -1).sum(dim=1)


class GptOssMLP(nn.Module):
    """The experts of gpt-oss with their router."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.router, self.experts = GptOssRouter(c), GptOssExperts(c)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum for x (B, T, width)."""
        rows = x.reshape(-1, x.shape[-1])
        return self.experts(rows, *self.router(rows)).view(x.shape)


def gpt_oss() -> Config:
    """Return the settings of gpt-oss."""
    return parts.plain(
        "gpt_oss",
        hidden_size=24,
        intermediate_size=20,
        num_local_experts=12,
        num_experts_per_tok=3,
        swiglu_alpha=1.702,
        swiglu_limit=0.7,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        attention_bias=True,
    )


class GptOssForCausalLM(parts.CausalLM):
    """gpt-oss: sinks, biases, a window in every other layer, experts within limits."""

    def __init__(self) -> None:
        c = gpt_oss()
        layers = [Layer(c, SinkAttention(c), GptOssMLP(c)) for _ in range(c.num_hidden_layers)]
        super().__init__(c, parts.Body(c, layers, RMSNorm(c.hidden_size, c.rms_norm_eps)))


class OlmoeMoe(nn.Module):
    """Experts by the largest of a softmax, which stay as they are: OlmoeSparseMoeBlock."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.gate = SoftmaxRouter(c.hidden_size, c.num_experts, c.num_experts_per_tok)
        self.experts = Experts(c.hidden_size, c.num_experts, c.intermediate_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum for x (B, T, width)."""
        rows = x.reshape(-1, x.shape[-1])
        return self.experts(rows, *self.gate(rows)).view(x.shape)


class OlmoeForCausalLM(parts.CausalLM):
    """OLMoE: norms over all heads of queries and keys. The experts' down weights are square."""

    def __init__(self) -> None:
        c = parts.plain(
            "olmoe",
            num_hidden_layers=2,
            hidden_size=24,
            intermediate_size=24,
            num_experts=12,
            num_experts_per_tok=3,
            norm_topk_prob=False,
        )
        layers = [Layer(c, parts.WideNormAttention(c), OlmoeMoe(c)) for _ in range(c.num_hidden_layers)]
        super().__init__(c, parts.Body(c, layers, RMSNorm(c.hidden_size, c.rms_norm_eps)))


class GroupedRouter(nn.Module):
    """Sigmoids with a bias for the choice. Only experts of the best groups take part."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(c.n_routed_experts, c.hidden_size))
        self.register_buffer("e_score_correction_bias", torch.zeros(c.n_routed_experts))
        self.groups, self.kept, self.chosen = c.n_group, c.topk_group, c.num_experts_per_tok
        self.factor = c.routed_scaling_factor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the chosen experts and their weights."""
        scores = torch.sigmoid(functional.linear(x, self.weight))
        choice = scores + self.e_score_correction_bias
        groups = choice.view(len(x), self.groups, -1)
        best = groups.topk(2, dim=-1)[0].sum(dim=-1).topk(self.kept, dim=-1)[1]
        allowed = torch.zeros_like(groups[..., 0]).scatter(1, best, 1.0)
        allowed = allowed[..., None].expand(groups.shape).reshape(choice.shape)
        chosen = choice.masked_fill(~allowed.bool(), -torch.inf).topk(self.chosen, dim=-1)[1]
        weights = scores.gather(1, chosen)
        return chosen, weights / (weights.sum(dim=-1, keepdim=True) + 1e-20) * self.factor


class GroupedMoe(nn.Module):
    """Experts in groups, and a shared MLP: DeepseekV3MoE, Glm4MoeMoE."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.gate = GroupedRouter(c)
        self.experts = Experts(c.hidden_size, c.n_routed_experts, c.moe_intermediate_size)
        self.shared_experts = MLP(c.hidden_size, c.moe_intermediate_size * c.n_shared_experts)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum for x (B, T, width)."""
        rows = x.reshape(-1, x.shape[-1])
        return (self.experts(rows, *self.gate(rows)) + self.shared_experts(rows)).view(x.shape)


class LatentAttention(nn.Module):
    """Attention whose queries, keys and values come from narrow normalised vectors."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.c, self.scale = c, (c.qk_nope_head_dim + c.qk_rope_head_dim) ** -0.5
        width, heads, eps = c.hidden_size, c.num_attention_heads, c.rms_norm_eps
        self.q_a_proj = nn.Linear(width, c.q_lora_rank, bias=False)
        self.q_a_layernorm = RMSNorm(c.q_lora_rank, eps)
        self.q_b_proj = nn.Linear(
            c.q_lora_rank, heads * (c.qk_nope_head_dim + c.qk_rope_head_dim), bias=False
        )
        self.kv_a_proj_with_mqa = nn.Linear(width, c.kv_lora_rank + c.qk_rope_head_dim, bias=False)
        self.kv_a_layernorm = RMSNorm(c.kv_lora_rank, eps)
        self.kv_b_proj = nn.Linear(c.kv_lora_rank, heads * (c.qk_nope_head_dim + c.v_head_dim), bias=False)
        self.o_proj = nn.Linear(heads * c.v_head_dim, width, bias=False)

    def forward(self, x: Tensor, angles: Tables, visible: Tensor) -> Tensor:
        """Return the attention over the visible keys."""
        c, (batch, tokens, _) = self.c, x.shape
        query = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        plain, turned = (
            query.view(batch, tokens, c.num_attention_heads, -1)
            .transpose(1, 2)
            .split([c.qk_nope_head_dim, c.qk_rope_head_dim], dim=-1)
        )
        query = torch.cat([plain, parts.rotate_next(turned, *angles)], dim=-1)
        narrow, turned = self.kv_a_proj_with_mqa(x).split([c.kv_lora_rank, c.qk_rope_head_dim], dim=-1)
        both = self.kv_b_proj(self.kv_a_layernorm(narrow)).view(batch, tokens, c.num_attention_heads, -1)
        key, value = both.transpose(1, 2).split([c.qk_nope_head_dim, c.v_head_dim], dim=-1)
        turned = parts.rotate_next(turned[:, None], *angles).expand(-1, c.num_attention_heads, -1, -1)
        key = torch.cat([key, turned], dim=-1)
        return self.o_proj(parts.attend(query, key, value, visible, self.scale))


class DeepseekBody(parts.Body):
    """Neighbouring features turn together."""

    def angles(self, tokens: int, dtype: torch.dtype) -> dict[str, Tables | None]:
        """Return the rotary tables."""
        own = parts.tables(tokens, self.c.qk_rope_head_dim, self.c.theta(), dtype, "next")
        return {"full_attention": own}

    def visible(self, attention_mask: Tensor) -> dict[str, Tensor]:
        """Return the keys that each query sees."""
        return {"full_attention": parts.seen(attention_mask)}


class DeepseekV3ForCausalLM(parts.CausalLM):
    """DeepSeek V3: latent attention, a dense first layer, experts in groups with a shared one."""

    def __init__(self) -> None:
        c = parts.plain(
            "deepseek_v3",
            hidden_size=32,
            num_key_value_heads=4,
            q_lora_rank=14,
            kv_lora_rank=10,
            qk_nope_head_dim=6,
            qk_rope_head_dim=4,
            v_head_dim=7,
            rope_interleave=True,
            first_k_dense_replace=1,
            **groups(),
        )
        del c["head_dim"]
        layers = [
            Layer(c, LatentAttention(c), GroupedMoe(c) if i else MLP(c.hidden_size, c.intermediate_size))
            for i in range(c.num_hidden_layers)
        ]
        super().__init__(c, DeepseekBody(c, layers, RMSNorm(c.hidden_size, c.rms_norm_eps)))


def groups() -> dict:
    """Return the settings of experts in groups."""
    return {
        "n_routed_experts": 12,
        "num_experts_per_tok": 3,
        "moe_intermediate_size": 14,
        "n_shared_experts": 1,
        "n_group": 4,
        "topk_group": 2,
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.7,
    }

"""Llama, Gemma 2 and a model with experts, out of the parts of a decoder."""

import math

from pyref.build.pinned_torch import torch
from pyref.models import decoder
from pyref.models.decoder import Settings
from pyref.zoo.experts import GatedMoe, SigmoidMoe

nn = torch.nn
Tensor = torch.Tensor


def config(model_type: str, settings: Settings, **more: object) -> dict:
    """Return settings under the names of transformers."""
    return {
        "model_type": model_type,
        "vocab_size": settings.vocabulary,
        "hidden_size": settings.width,
        "intermediate_size": settings.inner,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "num_key_value_heads": settings.kv_heads,
        "head_dim": settings.head_size,
        "rms_norm_eps": settings.eps,
        "rope_parameters": {"rope_theta": settings.base, "rope_type": "default"},
        "tie_word_embeddings": False,
        **more,
    }


class Body(nn.Module):
    """Token ids (B, T) to normalised hidden states (B, T, width)."""

    def __init__(self, settings: Settings, layers: list[nn.Module], windows: list[int]) -> None:
        super().__init__()
        self.settings, self.windows = settings, windows
        self.embed_tokens = nn.Embedding(settings.vocabulary, settings.width)
        self.layers = nn.ModuleList(layers)
        self.norm = decoder.RMSNorm(settings.width, settings)
        self.rotary_emb = decoder.Rotary(settings)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the hidden states; attention_mask (B, T) is 0 where a token is padding."""
        x = self.embed_tokens(input_ids)
        if self.settings.scaled:
            x = x * math.sqrt(self.settings.width)
        tables = self.rotary_emb(input_ids.shape[1], x.dtype)
        for layer, window in zip(self.layers, self.windows, strict=True):
            x = layer(x, tables, seen(attention_mask, window))
        return self.norm(x)


def seen(attention_mask: Tensor, window: int) -> Tensor:
    """Return the keys (B, 1, T, T) that each query sees; a window of 0 hides none."""
    position = torch.arange(attention_mask.shape[1])
    away = position[:, None] - position
    near = (away >= 0) & (away < window) if window else away >= 0
    return near & attention_mask.bool()[:, None, None]


class CausalLM(nn.Module):
    """Token ids (B, T) to logits (B, T, vocabulary)."""

    def __init__(self, body: Body, settings: dict, cap: float = 0.0) -> None:
        super().__init__()
        self.model, self.config, self.logit_cap = body, settings, cap
        self.lm_head = nn.Linear(body.settings.width, body.settings.vocabulary, bias=False)
        if settings["tie_word_embeddings"]:
            self.lm_head.weight = body.embed_tokens.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits."""
        logits = self.lm_head(self.model(input_ids, attention_mask))
        return self.logit_cap * torch.tanh(logits / self.logit_cap) if self.logit_cap else logits


class LlamaForCausalLM(CausalLM):
    """Llama, with fewer key and value heads."""

    def __init__(self, settings: Settings) -> None:
        layers = [decoder.Layer(settings) for _ in range(settings.layers)]
        body = Body(settings, layers, [0] * settings.layers)
        super().__init__(body, config("llama", settings, hidden_act="silu"))


class Gemma2Layer(nn.Module):
    """Attention and MLP, each between two norms."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.self_attn, self.mlp = decoder.Attention(settings), decoder.MLP(settings)
        self.input_layernorm = decoder.RMSNorm(settings.width, settings)
        self.post_attention_layernorm = decoder.RMSNorm(settings.width, settings)
        self.pre_feedforward_layernorm = decoder.RMSNorm(settings.width, settings)
        self.post_feedforward_layernorm = decoder.RMSNorm(settings.width, settings)

    def forward(self, x: Tensor, tables: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
        """Return the layer's output."""
        x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), tables, seen))
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))


class Gemma2ForCausalLM(CausalLM):
    """Gemma 2: every other layer has a window, scores and logits are capped, the head is tied."""

    def __init__(self, settings: Settings, scalar: float) -> None:
        layers = [Gemma2Layer(settings) for _ in range(settings.layers)]
        for layer in layers:
            layer.self_attn.scale = scalar**-0.5
        sliding = [i % 2 == 0 for i in range(settings.layers)]
        windows = [settings.window if slides else 0 for slides in sliding]
        more = {
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": scalar,
            "sliding_window": settings.window,
            "layer_types": ["sliding_attention" if slides else "full_attention" for slides in sliding],
            "attn_logit_softcapping": settings.score_cap,
            "final_logit_softcapping": settings.logit_cap,
            "tie_word_embeddings": True,
        }
        super().__init__(
            Body(settings, layers, windows), config("gemma2", settings, **more), settings.logit_cap
        )


class Qwen2MoeForCausalLM(CausalLM):
    """Qwen2-MoE: softmax over experts, and a shared expert behind a gate. Biases of q, k and v."""

    def __init__(self, settings: Settings, experts: int, chosen: int, inner: int, shared: int) -> None:
        layers = [decoder.Layer(settings) for _ in range(settings.layers)]
        for layer in layers:
            layer.mlp = GatedMoe(settings.width, experts, chosen, inner, shared)
            for name in ("q_proj", "k_proj", "v_proj"):
                old = getattr(layer.self_attn, name)
                setattr(layer.self_attn, name, nn.Linear(old.in_features, old.out_features))
        more = {
            "hidden_act": "silu",
            "num_experts": experts,
            "num_experts_per_tok": chosen,
            "moe_intermediate_size": inner,
            "shared_expert_intermediate_size": shared,
            "norm_topk_prob": False,
            "qkv_bias": True,
        }
        super().__init__(Body(settings, layers, [0] * settings.layers), config("qwen2_moe", settings, **more))


class Glm4MoeForCausalLM(CausalLM):
    """GLM-4-MoE: sigmoid scores, a bias for the choice, a shared expert, a dense first layer."""

    def __init__(self, settings: Settings, experts: int, chosen: int, inner: int, factor: float) -> None:
        layers = [decoder.Layer(settings) for _ in range(settings.layers)]
        for layer in layers[1:]:
            layer.mlp = SigmoidMoe(settings.width, experts, chosen, inner, factor)
        more = {
            "hidden_act": "silu",
            "n_routed_experts": experts,
            "num_experts_per_tok": chosen,
            "moe_intermediate_size": inner,
            "n_shared_experts": 1,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "norm_topk_prob": True,
            "routed_scaling_factor": factor,
        }
        super().__init__(Body(settings, layers, [0] * settings.layers), config("glm4_moe", settings, **more))

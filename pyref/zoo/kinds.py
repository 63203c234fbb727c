"""Decoders whose layers are of several kinds: Gemma 3, Cohere 2, EXAONE 4."""

import math

from pyref.build.pinned_torch import torch
from pyref.zoo import parts
from pyref.zoo.parts import Config, GatedMLP, RMSNorm, Tables

nn = torch.nn
Tensor = torch.Tensor


def pattern(layers: int, period: int) -> list[str]:
    """Return the kinds of layers: the last of each period sees all earlier tokens."""
    return ["sliding_attention" if (i + 1) % period else "full_attention" for i in range(layers)]


class Gemma3Layer(nn.Module):
    """Attention and MLP, each between two norms whose weights are less 1."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.self_attn = parts.HeadNormAttention(c, c.rms_norm_eps, offset=1.0)
        self.self_attn.scale = c.query_pre_attn_scalar**-0.5
        self.mlp = GatedMLP(c.hidden_size, c.intermediate_size, nn.GELU(approximate="tanh"))
        self.input_layernorm, self.post_attention_layernorm = self.norm(c), self.norm(c)
        self.pre_feedforward_layernorm, self.post_feedforward_layernorm = self.norm(c), self.norm(c)

    @staticmethod
    def norm(c: Config) -> RMSNorm:
        """Return a new norm."""
        return RMSNorm(c.hidden_size, c.rms_norm_eps, offset=1.0)

    def forward(self, x: Tensor, angles: Tables, visible: Tensor) -> Tensor:
        """Return the layer's output."""
        x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), angles, visible))
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))


class Gemma3Body(parts.Body):
    """The layers with a window have a rotary base of their own. Embeddings are scaled."""

    def angles(self, tokens: int, dtype: torch.dtype) -> dict[str, Tables | None]:
        """Return the rotary tables of each kind of layer."""
        kinds = self.c.rope_parameters
        return {kind: parts.tables(tokens, self.c.head_dim, self.c.theta(kind), dtype) for kind in kinds}

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the hidden states; attention_mask (B, T) is 0 where a token is padding."""
        x = self.embed_tokens(input_ids) * math.sqrt(self.c.hidden_size)
        angles, visible = self.angles(input_ids.shape[1], x.dtype), self.visible(attention_mask)
        for layer, kind in zip(self.layers, self.kinds(), strict=True):
            x = layer(x, angles[kind], visible[kind])
        return self.norm(x)


class Gemma3ForCausalLM(parts.CausalLM):
    """Gemma 3: two layers with a window to each without, two rotary bases, norms of heads."""

    def __init__(self) -> None:
        c = parts.plain(
            "gemma3_text",
            hidden_activation="gelu_pytorch_tanh",
            rms_norm_eps=1e-6,
            query_pre_attn_scalar=9.0,
            sliding_window=4,
            layer_types=pattern(3, 3),
            rope_parameters={
                "sliding_attention": {"rope_type": "default", "rope_theta": 30.0},
                "full_attention": {"rope_type": "default", "rope_theta": 900.0},
            },
            attn_logit_softcapping=None,
            final_logit_softcapping=None,
            tie_word_embeddings=True,
        )
        del c["hidden_act"]
        layers = [Gemma3Layer(c) for _ in range(c.num_hidden_layers)]
        super().__init__(c, Gemma3Body(c, layers, Gemma3Layer.norm(c)))


class SlidingAngles(parts.Body):
    """The layers with a window have positions, and the others have none."""

    pairs = "half"

    def angles(self, tokens: int, dtype: torch.dtype) -> dict[str, Tables | None]:
        """Return the rotary tables of each kind of layer."""
        own = parts.tables(tokens, self.c.head_dim, self.c.theta(), dtype, self.pairs)
        return {"sliding_attention": own, "full_attention": None}


class Cohere2Body(SlidingAngles):
    """Neighbouring features turn together."""

    pairs = "next"


class Cohere2Attention(parts.Attention):
    """Attention that turns neighbouring features."""

    turn = staticmethod(parts.rotate_next)


class Cohere2Layer(nn.Module):
    """Attention and MLP take the same norm, and are added together."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.self_attn = Cohere2Attention(c)
        self.mlp = GatedMLP(c.hidden_size, c.intermediate_size)
        self.input_layernorm = parts.CenteredNorm(c.hidden_size, c.layer_norm_eps)

    def forward(self, x: Tensor, angles: Tables | None, visible: Tensor) -> Tensor:
        """Return the layer's output."""
        normed = self.input_layernorm(x)
        return x + self.self_attn(normed, angles, visible) + self.mlp(normed)


class Cohere2ForCausalLM(parts.CausalLM):
    """Cohere 2: parallel layers, every fourth without window and positions, scaled logits."""

    def __init__(self) -> None:
        c = parts.plain(
            "cohere2",
            hidden_size=24,
            intermediate_size=28,
            num_hidden_layers=12,
            num_attention_heads=2,
            num_key_value_heads=1,
            layer_norm_eps=1e-3,
            logit_scale=0.3,
            sliding_window=4,
            layer_types=pattern(12, 4),
            tie_word_embeddings=True,
        )
        del c["rms_norm_eps"]
        layers = [Cohere2Layer(c) for _ in range(c.num_hidden_layers)]
        super().__init__(c, Cohere2Body(c, layers, parts.CenteredNorm(c.hidden_size, c.layer_norm_eps)))

    def scaled(self, logits: Tensor) -> Tensor:
        """Return the logits with the model's factor."""
        return logits * self.config["logit_scale"]


class OutputNormLayer(nn.Module):
    """Attention and MLP with norms behind them alone: EXAONE 4, OLMo 2."""

    def __init__(self, c: Config, attention: nn.Module) -> None:
        super().__init__()
        self.self_attn, self.mlp = attention, GatedMLP(c.hidden_size, c.intermediate_size)
        self.post_attention_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.post_feedforward_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)

    def forward(self, x: Tensor, angles: Tables | None, visible: Tensor) -> Tensor:
        """Return the layer's output."""
        x = x + self.post_attention_layernorm(self.self_attn(x, angles, visible))
        return x + self.post_feedforward_layernorm(self.mlp(x))


class Exaone4ForCausalLM(parts.CausalLM):
    """EXAONE 4: norms behind attention and MLP, every fourth layer without window and positions."""

    def __init__(self) -> None:
        c = parts.plain(
            "exaone4",
            hidden_size=24,
            intermediate_size=28,
            num_hidden_layers=12,
            sliding_window=4,
            sliding_window_pattern=4,
            layer_types=pattern(12, 4),
        )
        layers = [
            OutputNormLayer(c, parts.HeadNormAttention(c, c.rms_norm_eps)) for _ in range(c.num_hidden_layers)
        ]
        super().__init__(c, SlidingAngles(c, layers, RMSNorm(c.hidden_size, c.rms_norm_eps)))


class Olmo2ForCausalLM(parts.CausalLM):
    """OLMo 2: norms behind attention and MLP, and over all heads of queries and keys."""

    def __init__(self) -> None:
        c = parts.plain("olmo2", head_dim=10, hidden_size=40)
        layers = [OutputNormLayer(c, parts.WideNormAttention(c)) for _ in range(c.num_hidden_layers)]
        super().__init__(c, parts.Body(c, layers, RMSNorm(c.hidden_size, c.rms_norm_eps)))

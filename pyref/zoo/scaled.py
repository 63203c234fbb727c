"""Decoders with multipliers: Granite, Granite 4 and Falcon H1. The last two are Mamba-2 hybrids."""

from pyref.build.pinned_torch import torch
from pyref.zoo import parts
from pyref.zoo.parts import Config, GatedMLP, RMSNorm, Tables
from pyref.zoo.state_spaces import GatedNorm, Mamba2Mixer, NormBeforeGate

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor


class GraniteLayer(nn.Module):
    """Attention and MLP, with a factor in the sums."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.self_attn = parts.Attention(c)
        self.mlp = GatedMLP(c.hidden_size, c.intermediate_size)
        self.input_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.residual_multiplier = c.residual_multiplier

    def forward(self, x: Tensor, angles: Tables, visible: Tensor) -> Tensor:
        """Return the layer's output."""
        x = x + self.self_attn(self.input_layernorm(x), angles, visible) * self.residual_multiplier
        return x + self.mlp(self.post_attention_layernorm(x)) * self.residual_multiplier


class GraniteForCausalLM(parts.CausalLM):
    """Granite: embeddings, scores, branches and logits have factors."""

    def __init__(self) -> None:
        c = parts.plain("granite", **factors())
        layers = [GraniteLayer(c) for _ in range(c.num_hidden_layers)]
        super().__init__(c, parts.Body(c, layers, RMSNorm(c.hidden_size, c.rms_norm_eps)))

    def scaled(self, logits: Tensor) -> Tensor:
        """Return the logits with the model's divisor."""
        return logits / self.config["logits_scaling"]


def factors() -> dict:
    """Return the factors of a Granite."""
    return {
        "embedding_multiplier": 7.0,
        "attention_multiplier": 0.3,
        "residual_multiplier": 0.6,
        "logits_scaling": 3.0,
    }


class FusedMLP(nn.Module):
    """A gated MLP whose first matrix holds the gate and then up: GraniteMoeHybridMLP."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.input_linear = nn.Linear(c.hidden_size, 2 * c.shared_intermediate_size, bias=False)
        self.output_linear = nn.Linear(c.shared_intermediate_size, c.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP of x."""
        gate, up = self.input_linear(x).chunk(2, dim=-1)
        return self.output_linear(functional.silu(gate) * up)


class HybridLayer(nn.Module):
    """Attention or a mixer, and an MLP, with a factor in the sums."""

    def __init__(self, c: Config, kind: str) -> None:
        super().__init__()
        self.residual_multiplier = c.residual_multiplier
        self.input_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.shared_mlp = FusedMLP(c)
        if kind == "linear_attention":
            heads, size = c.mamba_n_heads, c.mamba_d_head
            norm = GatedNorm(heads * size, c.rms_norm_eps)
            self.mamba = Mamba2Mixer(c.hidden_size, heads, size, c.mamba_d_state, norm)
        else:
            self.self_attn = parts.Attention(c)

    def forward(self, x: Tensor, angles: None, visible: Tensor) -> Tensor:
        """Return the layer's output."""
        normed = self.input_layernorm(x)
        mixed = self.mamba(normed) if hasattr(self, "mamba") else self.self_attn(normed, None, visible)
        x = x + mixed * self.residual_multiplier
        return x + self.shared_mlp(self.post_attention_layernorm(x)) * self.residual_multiplier


class HybridBody(parts.Body):
    """Layers with attention without positions, and layers with mixers."""

    def angles(self, tokens: int, dtype: torch.dtype) -> dict[str, Tables | None]:
        """Return no tables."""
        return {"full_attention": None, "linear_attention": None}

    def visible(self, attention_mask: Tensor) -> dict[str, Tensor | None]:
        """Return the keys that each query sees in attention."""
        return {"full_attention": parts.seen(attention_mask), "linear_attention": None}


class GraniteMoeHybridForCausalLM(parts.CausalLM):
    """Granite 4: mixers of Mamba 2, one layer of attention, no experts. Sequences are full."""

    def __init__(self) -> None:
        c = parts.plain(
            "granitemoehybrid",
            hidden_size=20,
            num_local_experts=0,
            shared_intermediate_size=28,
            position_embedding_type=None,
            layer_types=["linear_attention", "full_attention", "linear_attention"],
            mamba_n_heads=4,
            mamba_d_head=7,
            mamba_d_state=5,
            mamba_n_groups=1,
            mamba_d_conv=4,
            mamba_expand=1.4,
            **factors(),
        )
        layers = [HybridLayer(c, kind) for kind in c.layer_types]
        super().__init__(c, HybridBody(c, layers, RMSNorm(c.hidden_size, c.rms_norm_eps)))

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the logits."""
        return super().forward(input_ids, torch.ones_like(input_ids))

    def scaled(self, logits: Tensor) -> Tensor:
        """Return the logits with the model's divisor."""
        return logits / self.config["logits_scaling"]


class FalconH1MLP(nn.Module):
    """A gated MLP with a factor of the gate and one of the output."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.config = dict(c)
        self.gate_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.up_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.down_proj = nn.Linear(c.intermediate_size, c.hidden_size, bias=False)
        self.gate_multiplier, self.down_multiplier = c.mlp_multipliers

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP of x."""
        gate = functional.silu(self.gate_proj(x) * self.gate_multiplier)
        return self.down_proj(self.up_proj(x) * gate) * self.down_multiplier


class FalconH1Mixer(Mamba2Mixer):
    """A mixer with a factor of its input, and one of each part of its projection."""

    def __init__(self, c: Config) -> None:
        heads, size, states = c.mamba_n_heads, c.mamba_d_head, c.mamba_d_state
        super().__init__(c.hidden_size, heads, size, states, NormBeforeGate(heads * size, c.rms_norm_eps))
        widths = torch.tensor([self.inner, self.inner, states, states, heads])
        factors = torch.tensor(c.ssm_multipliers).repeat_interleave(widths)
        self.register_buffer("mup_vector", factors[None, None], persistent=False)
        self.ssm_in_multiplier = c.ssm_in_multiplier

    def projected(self, hidden_states: Tensor) -> Tensor:
        """Return gate, x, B, C and dt side by side."""
        return self.in_proj(hidden_states * self.ssm_in_multiplier) * self.mup_vector


class FalconH1Attention(parts.Attention):
    """Attention with a factor of the keys."""

    def __init__(self, c: Config) -> None:
        super().__init__(c)
        self.key_multiplier = c.key_multiplier

    def query_and_key(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return queries and keys before their rotation."""
        query, key = super().query_and_key(x)
        return query, key * self.key_multiplier


class FalconH1Layer(nn.Module):
    """Attention and a mixer side by side, and an MLP."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.c = c
        self.feed_forward, self.mamba, self.self_attn = FalconH1MLP(c), FalconH1Mixer(c), FalconH1Attention(c)
        self.input_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.pre_ff_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)

    def forward(self, x: Tensor, angles: Tables, visible: Tensor) -> Tensor:
        """Return the layer's output."""
        c, normed = self.c, self.input_layernorm(x)
        mixed = self.mamba(normed) * c.ssm_out_multiplier
        attended = self.self_attn(normed * c.attention_in_multiplier, angles, visible)
        x = x + (mixed + attended * c.attention_out_multiplier)
        return x + self.feed_forward(self.pre_ff_layernorm(x))


class FalconH1Body(parts.Body):
    """The final norm has another name."""

    def __init__(self, c: Config) -> None:
        super().__init__(c, [FalconH1Layer(c) for _ in range(c.num_hidden_layers)], nn.Identity())
        self.final_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the hidden states."""
        return self.final_layernorm(super().forward(input_ids, attention_mask))


class FalconH1ForCausalLM(parts.CausalLM):
    """Falcon H1: attention and a mixer of Mamba 2 in each layer. Sequences are full."""

    def __init__(self) -> None:
        c = falcon_h1()
        super().__init__(c, FalconH1Body(c))

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the logits."""
        return super().forward(input_ids, torch.ones_like(input_ids))

    def scaled(self, logits: Tensor) -> Tensor:
        """Return the logits with the model's factor."""
        return logits * self.config["lm_head_multiplier"]


def falcon_h1() -> Config:
    """Return the settings of Falcon H1."""
    return parts.plain(
        "falcon_h1",
        hidden_size=20,
        intermediate_size=28,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=10,
        mamba_d_ssm=28,
        mamba_n_heads=4,
        mamba_d_head=7,
        mamba_d_state=5,
        mamba_n_groups=1,
        mamba_d_conv=4,
        mamba_rms_norm=True,
        mamba_norm_before_gate=True,
        embedding_multiplier=5.0,
        lm_head_multiplier=0.4,
        mlp_multipliers=[0.7, 1.3],
        key_multiplier=0.8,
        attention_in_multiplier=1.2,
        attention_out_multiplier=0.9,
        ssm_multipliers=[0.7, 0.9, 1.1, 0.8, 1.3],
        ssm_in_multiplier=1.4,
        ssm_out_multiplier=0.6,
    )

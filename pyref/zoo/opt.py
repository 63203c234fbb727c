"""OPT and BART's encoder: tables of positions that start at row 2."""

from pyref.build.pinned_torch import torch
from pyref.zoo import parts
from pyref.zoo.parts import Config

nn = torch.nn
Tensor = torch.Tensor
OFFSET = 2


class Attention(nn.Module):
    """Self-attention with biases."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.size = width // heads
        self.k_proj, self.v_proj, self.q_proj = (nn.Linear(width, width) for _ in range(3))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Return the attention over the visible keys."""
        query, key, value = (
            parts.heads_of(layer(x), self.size) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.out_proj(parts.attend(query, key, value, visible, self.size**-0.5))


class OPTLayer(nn.Module):
    """Attention and MLP, each behind a norm and inside a sum."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.self_attn = Attention(c.hidden_size, c.num_attention_heads)
        self.self_attn_layer_norm = nn.LayerNorm(c.hidden_size)
        self.fc1, self.fc2 = nn.Linear(c.hidden_size, c.ffn_dim), nn.Linear(c.ffn_dim, c.hidden_size)
        self.activation_fn, self.final_layer_norm = nn.ReLU(), nn.LayerNorm(c.hidden_size)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Return the layer's output."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), visible)
        return x + self.fc2(self.activation_fn(self.fc1(self.final_layer_norm(x))))


class OPTDecoder(nn.Module):
    """Token ids (B, T) to normalised hidden states."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.embed_positions = nn.Embedding(c.max_position_embeddings + OFFSET, c.hidden_size)
        self.layers = nn.ModuleList(OPTLayer(c) for _ in range(c.num_hidden_layers))
        self.final_layer_norm = nn.LayerNorm(c.hidden_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the hidden states. Padded tokens take row 1 of the table of positions."""
        positions = attention_mask.cumsum(dim=1) * attention_mask - 1
        x = self.embed_tokens(input_ids) + self.embed_positions(positions + OFFSET)
        visible = parts.seen(attention_mask)
        for layer in self.layers:
            x = layer(x, visible)
        return self.final_layer_norm(x)


class OPTModel(nn.Module):
    """The decoder under its name in the state dict."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.decoder = OPTDecoder(c)


class OPTForCausalLM(nn.Module):
    """OPT, with a tied head."""

    def __init__(self) -> None:
        super().__init__()
        c = Config(
            model_type="opt",
            vocab_size=31,
            hidden_size=40,
            word_embed_proj_dim=40,
            ffn_dim=52,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=16,
            activation_function="relu",
            do_layer_norm_before=True,
            tie_word_embeddings=True,
        )
        self.config, self.model = dict(c), OPTModel(c)
        self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)
        self.lm_head.weight = self.model.decoder.embed_tokens.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits (B, T, vocabulary); attention_mask (B, T) is 0 for padding."""
        return self.lm_head(self.model.decoder(input_ids, attention_mask))


class BartLayer(nn.Module):
    """Attention and MLP, each inside a sum and before a norm."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.self_attn = Attention(c.d_model, c.encoder_attention_heads)
        self.self_attn_layer_norm = nn.LayerNorm(c.d_model)
        self.fc1, self.fc2 = nn.Linear(c.d_model, c.encoder_ffn_dim), nn.Linear(c.encoder_ffn_dim, c.d_model)
        self.activation_fn, self.final_layer_norm = nn.GELU(), nn.LayerNorm(c.d_model)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Return the layer's output."""
        x = self.self_attn_layer_norm(x + self.self_attn(x, visible))
        return self.final_layer_norm(x + self.fc2(self.activation_fn(self.fc1(x))))


class BartEncoder(nn.Module):
    """BART's encoder: learned positions from row 2, a norm of the embeddings."""

    def __init__(self) -> None:
        super().__init__()
        c = Config(
            model_type="bart",
            vocab_size=31,
            d_model=40,
            encoder_ffn_dim=52,
            encoder_layers=2,
            encoder_attention_heads=4,
            max_position_embeddings=16,
            activation_function="gelu",
            scale_embedding=False,
        )
        self.config = dict(c)
        self.embed_tokens = nn.Embedding(c.vocab_size, c.d_model)
        self.embed_positions = nn.Embedding(c.max_position_embeddings + OFFSET, c.d_model)
        self.layers = nn.ModuleList(BartLayer(c) for _ in range(c.encoder_layers))
        self.layernorm_embedding = nn.LayerNorm(c.d_model)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the hidden states (B, T, width)."""
        positions = torch.arange(input_ids.shape[1]).expand_as(input_ids)
        x = self.embed_tokens(input_ids) + self.embed_positions(positions + OFFSET)
        x, visible = self.layernorm_embedding(x), attention_mask.bool()[:, None, None]
        for layer in self.layers:
            x = layer(x, visible)
        return x

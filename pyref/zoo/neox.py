"""GPT-NeoX: attention and MLP side by side, a fused projection head by head, partial rotations."""

from pyref.build.pinned_torch import torch
from pyref.zoo import parts
from pyref.zoo.parts import Config, Tables

nn = torch.nn
Tensor = torch.Tensor


class Attention(nn.Module):
    """Causal self-attention. Rows of the fused weight are query, key and value of one head each."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.size = c.hidden_size // c.num_attention_heads
        self.turned = int(self.size * c.rope_parameters["partial_rotary_factor"])
        self.query_key_value = nn.Linear(c.hidden_size, 3 * c.hidden_size)
        self.dense = nn.Linear(c.hidden_size, c.hidden_size)

    def forward(self, x: Tensor, angles: Tables, visible: Tensor) -> Tensor:
        """Return the attention of x."""
        heads = parts.heads_of(self.query_key_value(x), 3 * self.size)
        query, key, value = heads.chunk(3, dim=-1)
        query, key = self.turn(query, angles), self.turn(key, angles)
        return self.dense(parts.attend(query, key, value, visible, self.size**-0.5))

    def turn(self, x: Tensor, angles: Tables) -> Tensor:
        """Rotate the first features of each head."""
        turned, rest = x[..., : self.turned], x[..., self.turned :]
        return torch.cat([parts.rotate(turned, *angles), rest], dim=-1)


class MLP(nn.Module):
    """Two layers around GELU."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(c.hidden_size, c.intermediate_size)
        self.dense_4h_to_h = nn.Linear(c.intermediate_size, c.hidden_size)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP of x."""
        return self.dense_4h_to_h(self.act(self.dense_h_to_4h(x)))


class Layer(nn.Module):
    """Attention and MLP of two norms of the same input, in one sum."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.attention, self.mlp = Attention(c), MLP(c)
        self.input_layernorm = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)
        self.post_attention_layernorm = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)

    def forward(self, x: Tensor, angles: Tables, visible: Tensor) -> Tensor:
        """Return the layer's output."""
        attended = self.attention(self.input_layernorm(x), angles, visible)
        return self.mlp(self.post_attention_layernorm(x)) + attended + x


class Body(nn.Module):
    """Token ids (B, T) to normalised hidden states."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.embed_in = nn.Embedding(c.vocab_size, c.hidden_size)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.num_hidden_layers))
        self.final_layer_norm = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)
        self.base = c.theta()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the hidden states; attention_mask (B, T) is 0 where a token is padding."""
        x, visible = self.embed_in(input_ids), parts.seen(attention_mask)
        angles = parts.tables(input_ids.shape[1], self.layers[0].attention.turned, self.base, x.dtype)
        for layer in self.layers:
            x = layer(x, angles, visible)
        return self.final_layer_norm(x)


class GPTNeoXForCausalLM(nn.Module):
    """GPT-NeoX with a head of its own."""

    def __init__(self) -> None:
        super().__init__()
        c = Config(
            model_type="gpt_neox",
            vocab_size=31,
            hidden_size=40,
            intermediate_size=52,
            num_hidden_layers=3,
            num_attention_heads=4,
            hidden_act="gelu",
            layer_norm_eps=1e-3,
            max_position_embeddings=16,
            use_parallel_residual=True,
            attention_bias=True,
            rope_parameters={"rope_theta": 500.0, "rope_type": "default", "partial_rotary_factor": 0.6},
            tie_word_embeddings=False,
        )
        self.config, self.gpt_neox = dict(c), Body(c)
        self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits (B, T, vocabulary)."""
        return self.lm_head(self.gpt_neox(input_ids, attention_mask))

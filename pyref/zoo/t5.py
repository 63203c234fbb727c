"""T5: an encoder and a decoder with relative positions, and a tied head on scaled states."""

import math

from pyref.build.pinned_torch import torch
from pyref.zoo import parts
from pyref.zoo.parts import Config, RMSNorm

nn = torch.nn
Tensor = torch.Tensor


class Attention(nn.Module):
    """Attention without a scale. The first layer of a stack holds the biases of distances."""

    def __init__(self, c: Config, first: bool, causal: bool) -> None:
        super().__init__()
        self.c, self.causal, inner = c, causal, c.num_heads * c.d_kv
        self.q, self.k, self.v = (nn.Linear(c.d_model, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, c.d_model, bias=False)
        if first:
            self.relative_attention_bias = nn.Embedding(c.relative_attention_num_buckets, c.num_heads)

    def forward(self, x: Tensor, memory: Tensor, visible: Tensor, bias: Tensor | None) -> Tensor:
        """Return the attention of x over memory."""
        query, key, value = (
            parts.heads_of(layer(of), self.c.d_kv)
            for layer, of in ((self.q, x), (self.k, memory), (self.v, memory))
        )
        scores = query @ key.transpose(2, 3)
        scores = scores if bias is None else scores + bias
        scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
        return self.o((torch.softmax(scores, dim=-1) @ value).transpose(1, 2).flatten(2))

    def bias(self, tokens: int) -> Tensor:
        """Return the bias (1, H, T, T) of each query and key."""
        position = torch.arange(tokens)
        return self.relative_attention_bias(self.buckets(position - position[:, None])).permute(2, 0, 1)[None]

    def buckets(self, away: Tensor) -> Tensor:
        """Return the bucket of each distance: exact when near, by its logarithm when far."""
        count, start = self.c.relative_attention_num_buckets, torch.zeros_like(away)
        if self.causal:
            away = -away.clamp(max=0)
        else:
            count //= 2
            start, away = (away > 0).long() * count, away.abs()
        exact = count // 2
        far = torch.log(away.clamp(min=1) / exact) / math.log(self.c.relative_attention_max_distance / exact)
        far = (exact + (far * (count - exact)).long()).clamp(max=count - 1)
        return start + torch.where(away < exact, away, far)


class SelfLayer(nn.Module):
    """Self-attention behind a norm and inside a sum."""

    def __init__(self, c: Config, first: bool, causal: bool) -> None:
        super().__init__()
        self.SelfAttention = Attention(c, first, causal)
        self.layer_norm = RMSNorm(c.d_model, c.layer_norm_epsilon)

    def forward(self, x: Tensor, visible: Tensor, bias: Tensor) -> Tensor:
        """Return the layer's output."""
        normed = self.layer_norm(x)
        return x + self.SelfAttention(normed, normed, visible, bias)


class CrossLayer(nn.Module):
    """Attention over the encoder's output, behind a norm and inside a sum."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.EncDecAttention = Attention(c, first=False, causal=False)
        self.layer_norm = RMSNorm(c.d_model, c.layer_norm_epsilon)

    def forward(self, x: Tensor, memory: Tensor, visible: Tensor) -> Tensor:
        """Return the layer's output."""
        return x + self.EncDecAttention(self.layer_norm(x), memory, visible, None)


class Dense(nn.Module):
    """Two layers around ReLU."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.wi = nn.Linear(c.d_model, c.d_ff, bias=False)
        self.wo = nn.Linear(c.d_ff, c.d_model, bias=False)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP of x."""
        return self.wo(self.act(self.wi(x)))


class DenseLayer(nn.Module):
    """The MLP behind a norm and inside a sum."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.DenseReluDense = Dense(c)
        self.layer_norm = RMSNorm(c.d_model, c.layer_norm_epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        return x + self.DenseReluDense(self.layer_norm(x))


class Block(nn.Module):
    """One layer of a stack: self-attention, in a decoder cross-attention, MLP."""

    def __init__(self, c: Config, first: bool, decoder: bool) -> None:
        super().__init__()
        cross = [CrossLayer(c)] if decoder else []
        self.layer = nn.ModuleList([SelfLayer(c, first, decoder), *cross, DenseLayer(c)])

    def forward(self, x: Tensor, visible: Tensor, bias: Tensor, *cross: Tensor) -> Tensor:
        """Return the block's output; `cross` holds the encoder's output and what is seen of it."""
        x = self.layer[0](x, visible, bias)
        if cross:
            x = self.layer[1](x, *cross)
        return self.layer[-1](x)


class Stack(nn.Module):
    """The encoder or the decoder."""

    def __init__(self, c: Config, tokens: nn.Embedding, decoder: bool) -> None:
        super().__init__()
        self.embed_tokens = tokens
        self.block = nn.ModuleList(Block(c, i == 0, decoder) for i in range(c.num_layers))
        self.final_layer_norm = RMSNorm(c.d_model, c.layer_norm_epsilon)

    def forward(self, ids: Tensor, visible: Tensor, *cross: Tensor) -> Tensor:
        """Return normalised hidden states."""
        x, bias = self.embed_tokens(ids), self.block[0].layer[0].SelfAttention.bias(ids.shape[1])
        for block in self.block:
            x = block(x, visible, bias, *cross)
        return self.final_layer_norm(x)


class T5ForConditionalGeneration(nn.Module):
    """T5 with its first MLP, and a head that is tied to the tokens."""

    def __init__(self) -> None:
        super().__init__()
        c = Config(
            model_type="t5",
            vocab_size=31,
            d_model=40,
            d_kv=6,
            d_ff=52,
            num_layers=2,
            num_decoder_layers=2,
            num_heads=4,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=9,
            layer_norm_epsilon=1e-6,
            feed_forward_proj="relu",
            scale_decoder_outputs=True,
            tie_word_embeddings=True,
        )
        self.config, self.shared = dict(c), nn.Embedding(c.vocab_size, c.d_model)
        self.encoder, self.decoder = Stack(c, self.shared, decoder=False), Stack(c, self.shared, decoder=True)
        self.lm_head = nn.Linear(c.d_model, c.vocab_size, bias=False)
        self.lm_head.weight = self.shared.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor, decoder_input_ids: Tensor) -> Tensor:
        """Return the logits (B, T, vocabulary) of the decoder's tokens."""
        known = attention_mask.bool()[:, None, None]
        memory = self.encoder(input_ids, known)
        tokens = decoder_input_ids.shape[1]
        causal = torch.ones(tokens, tokens, dtype=torch.bool).tril()
        out = self.decoder(decoder_input_ids, causal, memory, known)
        return self.lm_head(out * self.config["d_model"] ** -0.5)

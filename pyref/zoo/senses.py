"""Encoders of sound and of images: Whisper's, ViT, DINOv2 and CLIP's."""

from pyref.build.pinned_torch import torch
from pyref.zoo import parts
from pyref.zoo.parts import Config

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor


class Attention(nn.Module):
    """Self-attention over all keys."""

    def __init__(self, width: int, heads: int, out: str, key_bias: bool = True) -> None:
        super().__init__()
        self.size, self.out = width // heads, out
        self.k_proj = nn.Linear(width, width, bias=key_bias)
        self.v_proj, self.q_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.add_module(out, nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention of x."""
        query, key, value = (
            parts.heads_of(layer(x), self.size) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        context = functional.scaled_dot_product_attention(query, key, value, scale=self.size**-0.5)
        return self.get_submodule(self.out)(context.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two layers around an activation."""

    def __init__(self, width: int, inner: int, act: nn.Module) -> None:
        super().__init__()
        self.fc1, self.fc2, self.act = nn.Linear(width, inner), nn.Linear(inner, width), act

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP of x."""
        return self.fc2(self.act(self.fc1(x)))


class WhisperLayer(nn.Module):
    """Attention and MLP, each behind a norm and inside a sum. Keys have no bias."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.self_attn = Attention(c.d_model, c.encoder_attention_heads, "out_proj", key_bias=False)
        self.self_attn_layer_norm = nn.LayerNorm(c.d_model)
        self.fc1, self.fc2 = nn.Linear(c.d_model, c.encoder_ffn_dim), nn.Linear(c.encoder_ffn_dim, c.d_model)
        self.activation_fn, self.final_layer_norm = nn.GELU(), nn.LayerNorm(c.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        return x + self.fc2(self.activation_fn(self.fc1(self.final_layer_norm(x))))


class WhisperEncoder(nn.Module):
    """Whisper's encoder: two convolutions, a table of positions, layers."""

    def __init__(self) -> None:
        super().__init__()
        c = Config(
            model_type="whisper",
            d_model=32,
            encoder_layers=2,
            encoder_attention_heads=4,
            encoder_ffn_dim=44,
            num_mel_bins=10,
            max_source_positions=8,
            activation_function="gelu",
            scale_embedding=False,
        )
        self.config = dict(c)
        self.conv1 = nn.Conv1d(c.num_mel_bins, c.d_model, 3, padding=1)
        self.conv2 = nn.Conv1d(c.d_model, c.d_model, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(c.max_source_positions, c.d_model)
        self.layers = nn.ModuleList(WhisperLayer(c) for _ in range(c.encoder_layers))
        self.layer_norm = nn.LayerNorm(c.d_model)

    def forward(self, input_features: Tensor) -> Tensor:
        """Return the hidden states (B, frames / 2, width) of (B, mel bins, frames)."""
        x = functional.gelu(self.conv2(functional.gelu(self.conv1(input_features)))).permute(0, 2, 1)
        x = x + self.embed_positions.weight
        for layer in self.layers:
            x = layer(x)
        return self.layer_norm(x)


def vision(model_type: str, **more: object) -> Config:
    """Return settings of images of 8 by 12 pixels in patches of 4 by 4."""
    return Config(
        {
            "model_type": model_type,
            "hidden_size": 32,
            "intermediate_size": 44,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_channels": 3,
            "image_size": [8, 12],
            "patch_size": 4,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-6,
            "num_labels": 5,
        }
        | more
    )


class PatchEmbeddings(nn.Module):
    """A convolution whose kernels do not overlap."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.projection = nn.Conv2d(c.num_channels, c.hidden_size, c.patch_size, stride=c.patch_size)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the patches (B, T, width), row by row."""
        return self.projection(pixel_values).flatten(2).transpose(1, 2)


class Embeddings(nn.Module):
    """A class token and the patches, with positions."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        patches = c.image_size[0] * c.image_size[1] // c.patch_size**2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, c.hidden_size))
        self.position_embeddings = nn.Parameter(torch.zeros(1, patches + 1, c.hidden_size))
        self.patch_embeddings = PatchEmbeddings(c)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the embeddings (B, T + 1, width)."""
        x = self.patch_embeddings(pixel_values)
        return torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.position_embeddings


class ViTLayer(nn.Module):
    """Attention and MLP, each behind a norm and inside a sum."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.attention = Attention(c.hidden_size, c.num_attention_heads, "o_proj")
        self.layernorm_before = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)
        self.mlp = MLP(c.hidden_size, c.intermediate_size, nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        x = self.attention(self.layernorm_before(x)) + x
        return self.mlp(self.layernorm_after(x)) + x


class ViTModel(nn.Module):
    """Images to normalised hidden states."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.embeddings = Embeddings(c)
        self.layers = nn.ModuleList(ViTLayer(c) for _ in range(c.num_hidden_layers))
        self.layernorm = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the hidden states (B, T + 1, width)."""
        x = self.embeddings(pixel_values)
        for layer in self.layers:
            x = layer(x)
        return self.layernorm(x)


class ViTForImageClassification(nn.Module):
    """ViT with a label from the class token."""

    def __init__(self) -> None:
        super().__init__()
        c = vision("vit", qkv_bias=True)
        self.config, self.vit = dict(c), ViTModel(c)
        self.classifier = nn.Linear(c.hidden_size, c.num_labels)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the logits (B, labels)."""
        return self.classifier(self.vit(pixel_values)[:, 0])


class LayerScale(nn.Module):
    """A learned factor of each feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled x."""
        return x * self.lambda1


class SwiGLU(nn.Module):
    """A gated MLP whose first matrix holds the gate and then up, with biases: Dinov2SwiGLUFFN."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.weights_in, self.weights_out = nn.Linear(width, 2 * inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP of x."""
        gate, up = self.weights_in(x).chunk(2, dim=-1)
        return self.weights_out(functional.silu(gate) * up)


class Dinov2Layer(nn.Module):
    """Attention and MLP behind norms, each with a learned factor."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)
        self.attention = Attention(c.hidden_size, c.num_attention_heads, "o_proj")
        self.layer_scale1 = LayerScale(c.hidden_size)
        self.norm2 = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)
        inner = c.hidden_size * c.mlp_ratio
        gated = (int(inner * 2 / 3) + 7) // 8 * 8
        self.mlp = SwiGLU(c.hidden_size, gated) if c.use_swiglu_ffn else MLP(c.hidden_size, inner, nn.GELU())
        self.layer_scale2 = LayerScale(c.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        x = self.layer_scale1(self.attention(self.norm1(x))) + x
        return self.layer_scale2(self.mlp(self.norm2(x))) + x


class Dinov2Encoder(nn.Module):
    """All layers."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Dinov2Layer(c) for _ in range(c.num_hidden_layers))

    def forward(self, x: Tensor) -> Tensor:
        """Return the last hidden states."""
        for layer in self.layer:
            x = layer(x)
        return x


class Dinov2Model(nn.Module):
    """Images to normalised hidden states."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.embeddings, self.encoder = Embeddings(c), Dinov2Encoder(c)
        self.layernorm = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the hidden states (B, T + 1, width)."""
        return self.layernorm(self.encoder(self.embeddings(pixel_values)))


class Dinov2ForImageClassification(nn.Module):
    """DINOv2 with a label from the class token and the mean of the patches."""

    def __init__(self, gated: bool = False) -> None:
        super().__init__()
        c = vision("dinov2", hidden_size=24, mlp_ratio=2, use_swiglu_ffn=gated, qkv_bias=True)
        del c["intermediate_size"]
        self.config, self.dinov2 = dict(c), Dinov2Model(c)
        self.classifier = nn.Linear(2 * c.hidden_size, c.num_labels)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the logits (B, labels)."""
        x = self.dinov2(pixel_values)
        return self.classifier(torch.cat([x[:, 0], x[:, 1:].mean(dim=1)], dim=1))


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated x."""
        return x * torch.sigmoid(1.702 * x)


class CLIPEmbeddings(nn.Module):
    """A class token and the patches, with positions from a table."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        patches = c.image_size[0] * c.image_size[1] // c.patch_size**2
        self.class_embedding = nn.Parameter(torch.zeros(c.hidden_size))
        self.patch_embedding = nn.Conv2d(
            c.num_channels, c.hidden_size, c.patch_size, stride=c.patch_size, bias=False
        )
        self.position_embedding = nn.Embedding(patches + 1, c.hidden_size)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the embeddings (B, T + 1, width)."""
        x = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1)
        return x + self.position_embedding(torch.arange(x.shape[1])[None])


class CLIPLayer(nn.Module):
    """Attention and MLP, each behind a norm and inside a sum."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.self_attn = Attention(c.hidden_size, c.num_attention_heads, "out_proj")
        self.layer_norm1 = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)
        self.mlp = MLP(c.hidden_size, c.intermediate_size, QuickGELU())
        self.layer_norm2 = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class CLIPEncoder(nn.Module):
    """All layers."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CLIPLayer(c) for _ in range(c.num_hidden_layers))

    def forward(self, x: Tensor) -> Tensor:
        """Return the last hidden states."""
        for layer in self.layers:
            x = layer(x)
        return x


class CLIPVisionTransformer(nn.Module):
    """Images to the normalised class token."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.embeddings, self.encoder = CLIPEmbeddings(c), CLIPEncoder(c)
        self.pre_layrnorm = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)
        self.post_layernorm = nn.LayerNorm(c.hidden_size, c.layer_norm_eps)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the pooled output (B, width)."""
        x = self.encoder(self.pre_layrnorm(self.embeddings(pixel_values)))
        return self.post_layernorm(x[:, 0])


class CLIPVisionModelWithProjection(nn.Module):
    """CLIP's encoder of images, with its projection. Its output is not normalised."""

    def __init__(self) -> None:
        super().__init__()
        c = vision(
            "clip_vision_model",
            hidden_act="quick_gelu",
            layer_norm_eps=1e-5,
            hidden_size=24,
            projection_dim=10,
        )
        del c["num_labels"]
        self.config, self.vision_model = dict(c), CLIPVisionTransformer(c)
        self.visual_projection = nn.Linear(c.hidden_size, c.projection_dim, bias=False)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the embedding (B, projection_dim) of images."""
        return self.visual_projection(self.vision_model(pixel_values))

"""Small models in plain PyTorch, in the styles in which people write them, and their parameters."""

from pyref.build.pinned_torch import torch

nn, functional = torch.nn, torch.nn.functional


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give a module parameters that hide no mistake, and put it in eval mode.

    Norms get weights around their own value, biases any value, matrices the size that keeps the
    scale of their input.
    """
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            noise = torch.randn(tensor.shape, generator=stream)
            if tensor.dim() < 2:
                tensor.add_(0.2 * noise)
            elif "emb" in name or "wte" in name or "wpe" in name:
                tensor.copy_(0.05 * noise)
            else:
                tensor.copy_(noise / tensor[0].numel() ** 0.5)
        for name, tensor in module.named_buffers():
            noise = torch.randn(tensor.shape, generator=stream)
            if name.endswith("running_mean"):
                tensor.copy_(0.3 * noise)
            elif name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
    return module.eval()


class Block(nn.Module):
    """A residual block of two convolutions with batch norms."""

    def __init__(self, before: int, after: int, stride: int = 1):
        """Shorten the skip connection by a convolution if the block changes the shape."""
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.skip = nn.Sequential()
        if stride > 1 or before != after:
            self.skip = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the block's output to its input."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += self.skip(x)
        return self.relu(y)


class CNN(nn.Module):
    """A small ResNet: a stem, three blocks and three kinds of pools."""

    def __init__(self):
        """Build the layers."""
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        self.blocks = nn.Sequential(Block(8, 8), Block(8, 8), nn.AvgPool2d(2), Block(8, 16, 2))
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of ten classes."""
        pooled = functional.adaptive_avg_pool2d(self.blocks(self.stem(x)), 1)
        return self.head(torch.flatten(pooled, 1))


class UNet(nn.Module):
    """A small UNet: down by stride and pool, up by interpolation and a transposed convolution."""

    def __init__(self, size: int = 8):
        """Build the layers."""
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(3, size, 3, padding=1), nn.GroupNorm(2, size)
        self.down = nn.Conv2d(size, 2 * size, 3, stride=2, padding=1)
        self.norm2 = nn.GroupNorm(4, 2 * size)
        self.pool = nn.AvgPool2d(2)
        self.deep = nn.Conv2d(2 * size, 2 * size, 3, padding=1, padding_mode="reflect")
        self.near = nn.Upsample(scale_factor=2)
        self.smooth = nn.Upsample(scale_factor=2, mode="bilinear")
        self.up = nn.ConvTranspose2d(2 * size, size, 4, 2, 1)
        self.norm3, self.last = nn.GroupNorm(2, 2 * size), nn.Conv2d(2 * size, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return an image of the input's size."""
        high = functional.silu(self.norm1(self.first(x)))
        low = functional.silu(self.norm2(self.down(high)))
        deep = functional.silu(self.deep(self.pool(low)))
        low = self.near(deep) + low + self.smooth(deep)
        return self.last(self.norm3(torch.cat([self.up(low), high], 1)))


class CausalSelfAttention(nn.Module):
    """Attention in the style of nanoGPT, with its mask in a buffer."""

    def __init__(self, size: int, heads: int):
        """Project queries, keys and values at once."""
        super().__init__()
        self.c_attn, self.c_proj, self.heads = nn.Linear(size, 3 * size), nn.Linear(size, size), heads
        self.register_buffer("bias", torch.tril(torch.ones(64, 64)).view(1, 1, 64, 64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend to earlier tokens."""
        batch, count, size = x.size()
        q, k, v = (
            part.view(batch, count, self.heads, size // self.heads).transpose(1, 2)
            for part in self.c_attn(x).split(size, dim=2)
        )
        scores = (q @ k.transpose(-2, -1)) * (1.0 / k.size(-1) ** 0.5)
        scores = scores.masked_fill(self.bias[:, :, :count, :count] == 0, float("-inf"))
        merged = (functional.softmax(scores, dim=-1) @ v).transpose(1, 2).contiguous().view(x.size())
        return self.c_proj(merged)


class GPTBlock(nn.Module):
    """A block in the style of nanoGPT."""

    def __init__(self, size: int, heads: int):
        """Build the layers."""
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attn = CausalSelfAttention(size, heads)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(size, 4 * size), "c_proj": nn.Linear(4 * size, size)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add attention, then the MLP."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp["c_proj"](functional.gelu(self.mlp["c_fc"](self.ln_2(x))))


class NanoGPT(nn.Module):
    """A language model in the style of nanoGPT, with a tied head."""

    def __init__(self, size: int = 48, heads: int = 6, layers: int = 3, words: int = 97):
        """Build the layers."""
        super().__init__()
        self.wte, self.wpe = nn.Embedding(words, size), nn.Embedding(64, size)
        self.h = nn.ModuleList(GPTBlock(size, heads) for _ in range(layers))
        self.ln_f, self.lm_head = nn.LayerNorm(size), nn.Linear(size, words, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, idx: torch.Tensor) -> torch.Tensor:
        """Return the logits of the next word after each."""
        x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1]))
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))

"""A small network of convolutions, norms, pools and interpolations, and a small ViT."""

from pyref.build.pinned_torch import torch

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor


class Pyramid(nn.Module):
    """Images (B, 3, 8, 8) to features (B, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.group_norm = nn.GroupNorm(2, 8, eps=1e-3)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.batch_norm = nn.BatchNorm2d(8)
        self.down = nn.Conv2d(8, 6, 3, stride=2, padding=1)
        self.average = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        self.counted = nn.AvgPool2d(3, stride=1, padding=1)
        self.largest = nn.MaxPool2d(3, stride=1, padding=1)
        self.up = nn.ConvTranspose2d(6, 5, 3, stride=2, padding=1, output_padding=1)
        self.reflected = nn.Conv2d(5, 5, 3, padding=1, padding_mode="reflect")
        self.last = nn.Conv2d(5, 2, 1)
        self.head = nn.Linear(2 * 11 * 11, 6)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the features of images."""
        x = functional.relu(self.group_norm(self.first(pixel_values)))
        x = self.batch_norm(self.dilated(functional.relu(self.grouped(x))))
        x = self.down(x)
        x = self.average(x) + self.largest(x) + self.counted(torch.tanh(x))
        x = self.reflected(self.up(x))
        x = self.smooth(x) + self.nearest(x)
        return self.head(self.flatten(self.last(self.aligned(x) + self.exact(x))))

    def smooth(self, x: Tensor) -> Tensor:
        """Return x with 11 by 11 pixels, by linear interpolation."""
        return functional.interpolate(x, size=(11, 11), mode="bilinear", align_corners=False)

    def nearest(self, x: Tensor) -> Tensor:
        """Return x with 11 by 11 pixels, each from the nearest."""
        return functional.interpolate(x, size=(11, 11), mode="nearest")

    def aligned(self, x: Tensor) -> Tensor:
        """Return x with 11 by 11 pixels from 7 by 7, by their corners."""
        return functional.interpolate(x[..., :7, :7], size=(11, 11), mode="bilinear", align_corners=True)

    def exact(self, x: Tensor) -> Tensor:
        """Return x with 11 by 11 pixels from 7 by 7, each from the nearest centre."""
        return functional.interpolate(x[..., :7, :7], size=(11, 11), mode="nearest-exact")

    def flatten(self, x: Tensor) -> Tensor:
        """Return the pixels of each image in a row."""
        return x.flatten(1)


class Block(nn.Module):
    """Attention and MLP behind norms, with a learned scale of each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.proj = nn.Linear(width, width)
        self.lambda1, self.lambda2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        normed = self.norm1(x)
        heads = [
            layer(normed).view(*x.shape[:2], 2, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        ]
        context = functional.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(x.shape)
        x = self.scale(self.proj(context), self.lambda1) + x
        return self.scale(self.fc2(self.squared(self.fc1(self.norm2(x)))), self.lambda2) + x

    def squared(self, x: Tensor) -> Tensor:
        """Return the square of ReLU."""
        return functional.relu(x).square()

    def scale(self, x: Tensor, factor: Tensor) -> Tensor:
        """Return a branch with its learned scale."""
        return x * factor


class Patches(nn.Module):
    """Images (B, 3, 8, 8) to normalised embeddings (B, width)."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, width, 2, stride=2)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 17, width))
        self.layers = nn.ModuleList(Block(width) for _ in range(2))
        self.pooler = nn.Linear(width, width)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the embedding of images."""
        x = self.tokens(self.projection(pixel_values))
        x = self.place(torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1))
        for layer in self.layers:
            x = layer(x)
        return self.normalise(self.activate(self.pooler(self.pool(x))))

    def tokens(self, x: Tensor) -> Tensor:
        """Return the patches (B, T, width) of images."""
        return x.flatten(2).transpose(1, 2)

    def place(self, x: Tensor) -> Tensor:
        """Add the positions."""
        return x + self.position_embeddings

    def pool(self, x: Tensor) -> Tensor:
        """Return the class token."""
        return x[:, 0]

    def activate(self, x: Tensor) -> Tensor:
        """Return tanh of x."""
        return torch.tanh(x)

    def normalise(self, x: Tensor) -> Tensor:
        """Return rows of length one."""
        return functional.normalize(x, dim=-1)

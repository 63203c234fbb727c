"""Convolutions, norms of channels, interpolation and pools, over images and over steps of time."""

from pyref.build.pinned_torch import torch

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor


class Convolutions(nn.Module):
    """Images through kernels with padding, groups, dilation and stride."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.grouped = nn.Conv2d(6, 8, (3, 2), groups=2)
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.down = nn.Conv2d(8, 5, 3, stride=2, padding=1)
        self.reflected = nn.Conv2d(5, 5, 3, padding=1, padding_mode="reflect")

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the features of images (B, 3, 10, 9)."""
        x = functional.relu(self.grouped(functional.relu(self.first(pixel_values))))
        x = functional.relu(self.dilated(x))
        return self.reflected(self.down(functional.pad(x, (0, 1, 1, 0))))


class ConvolutionsOverTime(nn.Module):
    """Sound through kernels with padding, groups, dilation and stride."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(4, 6, 4, padding=3)
        self.grouped = nn.Conv1d(6, 8, 3, groups=2)
        self.dilated = nn.Conv1d(8, 8, 3, padding=3, dilation=3)
        self.down = nn.Conv1d(8, 6, 3, stride=2, padding=1)
        self.repeated = nn.Conv1d(6, 6, 3, padding=1, padding_mode="replicate")

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of (B, 4, 15). The first kernel sees no later step."""
        x = functional.gelu(self.first(x)[..., : x.shape[-1]])
        x = functional.gelu(self.dilated(functional.gelu(self.grouped(x))))
        return self.repeated(self.down(functional.pad(x, (0, 1))))


class Transposed(nn.Module):
    """Images through transposed kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1)
        self.wider = nn.ConvTranspose2d(4, 5, (3, 2), stride=(2, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of (B, 4, 4, 3)."""
        return self.wider(functional.relu(self.twice(x)))


class TransposedOverTime(nn.Module):
    """Sound through transposed kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.ConvTranspose1d(4, 6, 4, stride=2, padding=1)
        self.thrice = nn.ConvTranspose1d(6, 5, 5, stride=3, padding=2, output_padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of (B, 4, 6)."""
        return self.thrice(functional.leaky_relu(self.twice(x), 0.1))


class Interpolation(nn.Module):
    """Images to larger and to smaller ones, by linear interpolation and by the nearest pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return images (B, 4, 11, 9) of (B, 4, 7, 5)."""
        size, x = (11, 9), self.mix(x)
        smooth = functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
        aligned = functional.interpolate(x, size=size, mode="bilinear", align_corners=True)
        nearest = functional.interpolate(x, size=size, mode="nearest")
        exact = functional.interpolate(x, size=size, mode="nearest-exact")
        factor = functional.interpolate(x, scale_factor=(1.65, 1.85), mode="bilinear", align_corners=False)
        return smooth + 2 * aligned + torch.tanh(nearest) + exact * x.mean() + factor


class UpsamplePath(nn.Module):
    """A decoder of images: group norms, interpolation, convolutions, a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(2, 6, eps=1e-3), nn.Conv2d(6, 8, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(4, 8, eps=1e-3), nn.Conv2d(8, 6, 3, padding=1)
        self.skip = nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return images (B, 6, 9, 7) of (B, 6, 5, 4)."""
        up = functional.interpolate(self.conv1(functional.silu(self.norm1(x))), size=(9, 7), mode="nearest")
        up = self.conv2(functional.silu(self.norm2(up)))
        skip = functional.interpolate(self.skip(x), size=(9, 7), mode="nearest-exact")
        return up + skip + functional.interpolate(x, scale_factor=1.8, mode="bilinear", align_corners=False)


class AlignedPath(nn.Module):
    """Linear interpolation with aligned corners, and cubic without, of normalised images."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(3, 6, eps=1e-3), nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return images (B, 4, 9, 10) of (B, 6, 5, 4)."""
        x = self.conv(self.norm(x))
        aligned = functional.interpolate(x, size=(9, 10), mode="bilinear", align_corners=True)
        return aligned + functional.interpolate(x, size=(9, 10), mode="bicubic", align_corners=False)


class Pools(nn.Module):
    """Average and max pools with padding, and an average over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Conv2d(4, 4, 1), nn.Linear(4 * 3 * 2, 5)
        self.inside = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
        self.counted, self.largest = (
            nn.AvgPool2d(3, stride=2, padding=1),
            nn.MaxPool2d(3, stride=2, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, 5) of images (B, 4, 6, 4)."""
        x = self.mix(x)
        x = self.inside(x) + torch.tanh(self.counted(x)) + self.largest(x) * x.mean(dim=(2, 3), keepdim=True)
        return self.head(x.flatten(1))


class BasicBlock(nn.Module):
    """Two convolutions with batch norms inside a sum: ResNetBasicLayer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return functional.relu(self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x))))) + x)


class ResNet(nn.Module):
    """A stem with stride and pools, a block, a pool and labels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(6)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(6))
        self.avgpool, self.fc = nn.AvgPool2d(2), nn.Linear(6 * 2 * 1, 5)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return logits (B, 5) of images (B, 3, 16, 12)."""
        x = self.maxpool(self.bn1(self.conv1(pixel_values)))
        return self.fc(self.avgpool(self.layer1(x)).flatten(1))


class MobileNet(nn.Module):
    """Depthwise convolutions with padding on one side, batch norms and average pools."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn1 = nn.Conv2d(3, 6, 3, stride=2, bias=False), nn.BatchNorm2d(6, eps=1e-3)
        self.depth, self.bn2 = (
            nn.Conv2d(6, 6, 3, groups=6, padding=1, bias=False),
            nn.BatchNorm2d(6, eps=1e-3),
        )
        self.point = nn.Conv2d(6, 6, 1)
        self.inside = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        self.counted = nn.AvgPool2d(3, stride=1, padding=1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return features (B, 6, 5, 4) of images (B, 3, 10, 8)."""
        x = functional.hardswish(self.bn1(self.stem(functional.pad(pixel_values, (0, 1, 0, 1)))))
        x = self.point(functional.hardswish(self.bn2(self.depth(x))))
        return self.inside(x) + torch.tanh(self.counted(x))

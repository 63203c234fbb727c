"""Mistakes in the convolutions, pools and interpolations, and in the small ViT."""

import math

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.models import vision
from pyref.models.planted import Plant, each, parameters

nn, functional = torch.nn, torch.nn.functional

Tensor = torch.Tensor


def kernels(change: object, kind: type = nn.Conv2d) -> Plant:
    """Change the kernel of every convolution."""
    return parameters(
        lambda model: (m for m in model.modules() if isinstance(m, kind)),
        lambda module: module.weight.copy_(change(module.weight.clone())),
    )


def both(change: object) -> Plant:
    """Change the kernels of convolutions of both kinds."""
    return lambda model: [kernels(change, kind)(model) for kind in (nn.Conv2d, nn.ConvTranspose2d)]


def exchange_channels(weight: Tensor) -> Tensor:
    """Exchange the channels of a kernel with as many inputs as outputs."""
    return weight.transpose(0, 1) if weight.shape[0] == weight.shape[1] else weight


def group_norm(change: object) -> Plant:
    """Normalise other groups of channels."""

    def plant(model: vision.Pyramid) -> None:
        norm = model.group_norm
        norm.forward = lambda x: change(norm, x)

    return plant


def dealt(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """Return the norm of groups whose channels were dealt out one by one."""
    out = torch.empty_like(x)
    for group in range(norm.num_groups):
        part = x[:, group :: norm.num_groups]
        mean = part.mean((1, 2, 3), keepdim=True)
        variance = ((part - mean) ** 2).mean((1, 2, 3), keepdim=True)
        out[:, group :: norm.num_groups] = (part - mean) / torch.sqrt(variance + norm.eps)
    return out * norm.weight[:, None, None] + norm.bias[:, None, None]


def forget_statistics(model: vision.Pyramid) -> None:
    """Leave the running statistics as they start."""
    model.batch_norm.running_mean.zero_()
    model.batch_norm.running_var.fill_(1)


def pad_at_end(model: vision.Pyramid) -> None:
    """Pad the strided convolution at the right and at the bottom."""
    conv = model.down
    conv.forward = lambda x: functional.conv2d(
        functional.pad(x, (0, 1, 0, 1)), conv.weight, conv.bias, stride=2
    )


def neighbours(model: vision.Pyramid) -> None:
    """Ignore the dilation."""
    conv = model.dilated
    conv.forward = lambda x: functional.conv2d(x, conv.weight, conv.bias, padding=1)


def interleave(model: vision.Pyramid) -> None:
    """Give each group every other channel."""
    conv = model.grouped
    once = conv.forward
    conv.forward = lambda x: once(torch.cat([x[:, ::2], x[:, 1::2]], dim=1))


def shift_up(model: vision.Pyramid) -> None:
    """Add the output padding of the transposed convolution in front."""
    conv = model.up

    def forward(x: Tensor) -> Tensor:
        whole = functional.conv_transpose2d(x, conv.weight, conv.bias, stride=2)
        return whole[..., : 2 * x.shape[-2], : 2 * x.shape[-1]]

    conv.forward = forward


def zero_pad(model: vision.Pyramid) -> None:
    """Pad with zeros."""
    conv = model.reflected
    conv.forward = lambda x: functional.conv2d(x, conv.weight, conv.bias, padding=1)


def windows(x: Tensor, outside: float) -> Tensor:
    """Return the nine pixels around each pixel, in a last dimension."""
    padded = functional.pad(x, (1, 1, 1, 1), value=outside)
    return padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(-2)


def counted(x: Tensor) -> Tensor:
    """Return means that count the padding."""
    return windows(x, 0.0).mean(-1)


def uncounted(x: Tensor) -> Tensor:
    """Return means of the pixels inside the image."""
    return windows(x, 0.0).sum(-1) / windows(torch.ones_like(x), 0.0).sum(-1)


def pooled(*names: str, by: object) -> Plant:
    """Replace some pools."""
    return lambda model: [setattr(getattr(model, name), "forward", by) for name in names]


def pick(size: int, place: object) -> list[int]:
    """Return the source of each of eleven pixels."""
    return [min(int(place(i, size / 11)), size - 1) for i in range(11)]


def nearest(model: vision.Pyramid, place: object, x: Tensor) -> Tensor:
    """Return x with 11 by 11 pixels, each from one place."""
    rows, columns = pick(x.shape[2], place), pick(x.shape[3], place)
    return x[:, :, rows][..., columns]


def matrix(size: int, aligned: bool) -> Tensor:
    """Return the weights (11, size) of linear interpolation."""
    weights = np.zeros((11, size), np.float32)
    for i in range(11):
        at = i * (size - 1) / 10 if aligned else max((i + 0.5) * size / 11 - 0.5, 0)
        low = min(math.floor(at), size - 1)
        weights[i, low] += 1 - (at - low)
        weights[i, min(low + 1, size - 1)] += at - low
    return torch.from_numpy(weights)


def linear(x: Tensor, aligned: bool) -> Tensor:
    """Return x with 11 by 11 pixels, by linear interpolation."""
    return torch.einsum("ih,jw,bchw->bcij", matrix(x.shape[2], aligned), matrix(x.shape[3], aligned), x)


PYRAMID: dict[str, Plant] = {
    "group-norm-one-group": group_norm(lambda m, x: functional.group_norm(x, 1, m.weight, m.bias, m.eps)),
    "group-norm-per-channel": group_norm(
        lambda m, x: functional.instance_norm(x, weight=m.weight, bias=m.bias, eps=m.eps)
    ),
    "group-norm-interleaved": group_norm(dealt),
    "batch-norm-of-batch": lambda model: model.batch_norm.train(),
    "batch-norm-statistics-missing": forget_statistics,
    "conv-flipped": kernels(lambda w: w.flip(2, 3)),
    "conv-transposed-flipped": kernels(lambda w: w.flip(2, 3), nn.ConvTranspose2d),
    "conv-axes-exchanged": both(lambda w: w.transpose(2, 3)),
    "conv-channels-exchanged": both(exchange_channels),
    "conv-bias-missing": parameters(
        lambda model: (m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)),
        lambda module: module.bias.zero_(),
    ),
    "conv-same-padding": pad_at_end,
    "conv-dilation-ignored": neighbours,
    "conv-groups-interleaved": interleave,
    "conv-transposed-pad-in-front": shift_up,
    "pad-with-zeros": zero_pad,
    "image-channels-reversed": lambda model: model.first.weight.data.copy_(model.first.weight.data.flip(1)),
    "flatten-channels-last": lambda model: setattr(
        model, "flatten", lambda x: torch.movedim(x, 1, 3).flatten(1)
    ),
    "pool-padding-counted": pooled("average", by=counted),
    "pool-padding-not-counted": pooled("counted", by=uncounted),
    "pool-padded-with-zeros": pooled("largest", by=lambda x: windows(x, 0.0).amax(-1)),
    "pool-max": pooled("average", "counted", by=lambda x: windows(x, -math.inf).amax(-1)),
    "pool-average": pooled("largest", by=counted),
    "upsample-corners": lambda model: setattr(model, "smooth", lambda x: linear(x, True)),
    "upsample-corners-missing": lambda model: setattr(
        model, "aligned", lambda x: linear(x[..., :7, :7], False)
    ),
    "upsample-nearest-centres": lambda model: setattr(
        model, "nearest", lambda x: nearest(model, lambda i, step: (i + 0.5) * step, x)
    ),
    "upsample-nearest-corners": lambda model: setattr(
        model, "exact", lambda x: nearest(model, lambda i, step: i * step, x[..., :7, :7])
    ),
}

PATCHES: dict[str, Plant] = {
    "patches-by-column": lambda model: setattr(
        model, "tokens", lambda x: x.transpose(2, 3).flatten(2).transpose(1, 2)
    ),
    "positions-table-missing": lambda model: setattr(model, "place", lambda x: x),
    "positions-table-as-input": lambda model: setattr(model, "place", lambda x: 2 * x),
    "layer-scale-missing": each(vision.Block, "scale", lambda m, x, factor: x),
    "relu-not-squared": each(vision.Block, "squared", lambda m, x: functional.relu(x)),
    "pool-last-token": lambda model: setattr(model, "pool", lambda x: x[:, -1]),
    "pool-mean-of-tokens": lambda model: setattr(model, "pool", lambda x: x.mean(1)),
    "pooler-tanh-missing": lambda model: setattr(model, "activate", lambda x: x),
    "l2-normalization-missing": lambda model: setattr(model, "normalise", lambda x: x),
}

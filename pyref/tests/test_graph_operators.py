"""Small functions of PyTorch become graphs that give the same numbers."""

import warnings

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.capture import run, state_dict
from pyref.capture.call import Call
from pyref.capture.graph import store
from pyref.capture.graph.node import Graph

F = torch.nn.functional


class Function(torch.nn.Module):
    """A function of one tensor."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        """Return the function's value."""
        return self.function(x)


def graph_of(module: torch.nn.Module, *inputs: torch.Tensor) -> Graph:
    """Return a module's graph, which gives the module's output within 1e-12."""
    names = ("x", "y")[: len(inputs)]
    call = Call(dict(Call.recorded(module, inputs, {}).arguments) if names else {}, len(inputs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth = run.double("a module", module, call)[0]
        return store.graph_of(module, call, state_dict(module), truth)[0]


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def assigned(x):
    y = x.clone()
    y[:, 1:3] = 2 * x[:, 3:5]
    y[:, 0, :4] = 1.0
    return y


def rotated(x):
    """Rotate neighbours by complex numbers, as Meta's Llama does."""
    angles = torch.polar(torch.ones(6, 4), torch.arange(24.0).reshape(6, 4) / 7)
    pairs = torch.view_as_complex(x.reshape(2, 6, 4, 2))
    return torch.view_as_real(pairs * angles.to(pairs.dtype)).flatten(2)


ROWS = {
    "einsum": lambda x: torch.einsum("bij,bkj->bik", x, x),
    "pools": lambda x: F.max_pool1d(x, 2) + F.avg_pool1d(x, 2, 2) + F.adaptive_avg_pool1d(x, 4),
    "norms": lambda x: F.rms_norm(x, (8,), eps=0.1) + F.group_norm(x, 2) + F.instance_norm(x),
    "layer norm over two dimensions": lambda x: F.layer_norm(x, (6, 8), x[0], 2 * x[1]),
    "padding": lambda x: F.pad(x, (1, 2, 0, 3)) + 1,
    "padding by reflection": lambda x: F.pad(x, (1, 2), mode="reflect"),
    "glu": lambda x: F.glu(x, 1),
    "variance": lambda x: x.var(-1) + x.std((0, 1)).sum() + x.var(1, unbiased=False, keepdim=True).mean(),
    "lengths": lambda x: (
        x.norm(dim=-1) + F.normalize(x, dim=1).sum(-1) + F.cosine_similarity(x, x + 1, dim=-1)
    ),
    "logarithms": lambda x: F.log_softmax(x, 1) + x.logsumexp(-1, keepdim=True) + F.logsigmoid(x),
    "scans": lambda x: x.cumsum(1) + x.flip(1) + x.roll(2, 1),
    "triangles": lambda x: x.tril(1) + x.triu() * 2,
    "activations": lambda x: (
        F.relu6(9 * x)
        + F.hardswish(x)
        + F.leaky_relu(x, 0.1)
        + F.elu(x, 2.0)
        + F.mish(x)
        + F.selu(x)
        + F.celu(x)
    ),
    "more activations": lambda x: (
        F.hardsigmoid(x)
        + F.softsign(x)
        + F.tanhshrink(x)
        + F.threshold(x, 0.1, 0.2)
        + F.hardtanh(x)
        + F.softmin(x, 1)
    ),
    "slopes": lambda x: F.prelu(x, torch.full((6,), 0.2, dtype=x.dtype)),
    "numbers on the left": lambda x: (
        (1 - x) * (2 / (3 + x.square())) + x.reciprocal() + torch.rsub(x, 1, alpha=2)
    ),
    "factors": lambda x: (
        torch.add(x, x, alpha=2) + torch.addcmul(x, x, x, value=2.0) + torch.lerp(x, 2 * x, 0.3)
    ),
    "rounding": lambda x: (
        (5 * x).floor() + (3 * x) % 2 + torch.div(7 * x, 2, rounding_mode="floor") + x.sign()
    ),
    "comparisons": lambda x: (
        x * (x > 0.5)
        + (x < 0) * 1.0
        + torch.where((x >= 0) & ~(x > 1), x, 2.0)
        + (x > 0).any(-1, keepdim=True) * x
    ),
    "masks": lambda x: (
        x.masked_fill(x > 0, 2.0) + x.clamp(max=0.3) + x.clamp_min(-0.2) + torch.maximum(x, -x)
    ),
    "places": lambda x: x * x.argmax(-1, keepdim=True) + x.sort(-1).values + x.topk(8, largest=False).values,
    "extremes": lambda x: x.min(-1).values + x.max(-1)[0] + x.amin(-1) + x.max() + x.prod(-1),
    "copies": lambda x: (
        x.repeat(1, 2, 1) + x.tile(2, 1).reshape(2, 12, 8) + x.expand(3, 2, 6, 8)[2].repeat(1, 2, 1)
    ),
    "windows": lambda x: x.unfold(1, 2, 1).flatten() + torch.diagonal(x, dim1=1, dim2=2).sum(),
    "vectors": lambda x: x @ x[0, 0] + x[0, 0] @ x[0, 1] + torch.outer(x[0, :, 0], x[1, :, 1]).sum(),
    "products with factors": lambda x: torch.baddbmm(x @ x.mT, x, x.mT, beta=0.5, alpha=2),
    "sums by index": lambda x: (
        torch.zeros_like(x).scatter_add(1, torch.tensor([[[1] * 8, [0] * 8]] * 2), x)
        + x.index_add(1, torch.tensor([0, 1]), x[:, :2])
        + x.index_select(1, torch.tensor([2, 1, 0, 5, 5, 1]))
        + x.gather(2, torch.arange(8).flip(0).expand(2, 6, 8))
    ),
    "assignment": assigned,
    "assignment by a mask": lambda x: (lambda y: (y.__setitem__(y > 0, 3.0), y)[1])(x.clone()),
    "causal attention": lambda x: F.scaled_dot_product_attention(x, x + 1, x - 1, is_causal=True),
    "grouped attention": lambda x: F.scaled_dot_product_attention(
        x.reshape(2, 4, 3, 4), x.reshape(2, 4, 3, 4)[:, :2], x.reshape(2, 4, 3, 4)[:, 2:], enable_gqa=True
    ),
    "complex rotation": rotated,
    "casts": lambda x: x * (x > 0).to(x.dtype) + (3 * x).long() + x.float(),
    "dividing by two dimensions": lambda x: x.unflatten(-1, (2, 4)).movedim(1, 2).swapaxes(0, 1).flatten(),
}

IMAGES = {
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, size=(9, 7), mode="bilinear"),
    "bicubic": lambda x: F.interpolate(x, scale_factor=1.5, mode="bicubic", align_corners=True),
    "linear": lambda x: F.interpolate(x.flatten(2), scale_factor=2, mode="linear"),
    "transposed": lambda x: F.conv_transpose2d(x, drawn(4, 2, 3, 3).to(x.dtype), stride=2, output_padding=1),
    "adaptive pools": lambda x: F.adaptive_avg_pool2d(x, (3, 4)) + F.adaptive_max_pool2d(x, (3, 4)),
    "pool to one": lambda x: F.adaptive_avg_pool2d(x, 1),
    "shuffled pixels": lambda x: (
        F.pixel_shuffle(x, 2).mean() + F.pixel_unshuffle(x, 2) + F.channel_shuffle(x, 2).sum()
    ),
    "patches": lambda x: F.unfold(x, 2, stride=2),
    "padding by name": lambda x: F.conv2d(x, drawn(4, 4, 3, 2).to(x.dtype), padding="same", dilation=2),
    "an image without a batch": lambda x: (
        F.conv2d(x[0], drawn(5, 4, 3, 2).to(x.dtype)) + F.max_pool2d(x[0], 3, 1)[:, :, :7].sum()
    ),
    "volumes": lambda x: F.conv3d(x[:, :, None], drawn(4, 4, 1, 3, 3).to(x.dtype)),
}


@pytest.mark.parametrize("name", ROWS)
def test_functions_of_rows(name):
    assert graph_of(Function(ROWS[name]), drawn(2, 6, 8)).nodes


@pytest.mark.parametrize("name", IMAGES)
def test_functions_of_images(name):
    assert graph_of(Function(IMAGES[name]), drawn(2, 4, 6, 8)).nodes


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
@pytest.mark.parametrize("settings", [{"batch_first": True}, {"bidirectional": True, "bias": False}])
def test_recurrent_layers(kind, settings):
    graph = graph_of(kind(5, 4, 2, **settings), drawn(3, 6, 5))
    op = kind.__name__.lower()
    assert [node.op for node in graph.nodes].count(op) == (4 if "bidirectional" in settings else 2)


def test_the_last_states_of_an_lstm():
    class Last(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(5, 4, 2)

        def forward(self, x, start):
            _, (hidden, cells) = self.lstm(x, (start, 2 * start))
            return torch.cat([hidden, cells])

    graph = graph_of(Last(), drawn(3, 2, 5), drawn(2, 2, 4))
    assert [node.op for node in graph.nodes].count("lstm") == 2
    assert [node.op for node in graph.nodes].count("lstm_cells") == 2


def test_a_mask_in_the_state_dict_is_a_constant():
    class Masked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mask", torch.ones(8, 8).tril())
            self.register_buffer("shift", torch.arange(8.0))

        def forward(self, x):
            return (x + self.shift).masked_fill(self.mask[:6, :8] == 0, 0.0)

    graph = graph_of(Masked(), drawn(2, 6, 8))
    assert graph.parameters == ("shift",)
    assert [array.dtype for array in graph.constants.values()] == [np.dtype(bool)]

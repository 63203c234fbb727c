"""Each rule finds what models write by hand, and leaves alone what only looks like it."""

import math

import pytest

from pyref.build.pinned_torch import torch
from pyref.tests.test_graph_operators import Function, drawn, graph_of

F = torch.nn.functional
ROWS = drawn(2, 6, 8)
TABLE = torch.arange(48.0, dtype=torch.float64).reshape(6, 8).sin()


def ops(function, x: torch.Tensor = ROWS) -> list[str]:
    return [node.op for node in graph_of(Function(function), x).nodes]


def attributes(function, x: torch.Tensor = ROWS) -> dict:
    return graph_of(Function(function), x).nodes[-1].attributes


ACTIVATIONS = {
    "gelu, by the error function": (lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))), "gelu"),
    "gelu, by tanh": (
        lambda x: 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh()),
        "gelu",
    ),
    "gelu, factored": (
        lambda x: x * 0.5 * (1.0 + torch.tanh(x * 0.7978845608028654 * (1.0 + 0.044715 * x * x))),
        "gelu",
    ),
    "quick gelu": (lambda x: torch.sigmoid(x * 1.702) * x, "quick_gelu"),
    "silu, by exp": (lambda x: x / (1 + torch.exp(-x)), "silu"),
    "mish": (lambda x: x * torch.tanh(F.softplus(x)), "mish"),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    function, op = ACTIVATIONS[name]
    assert ops(function) == [op]


def test_a_rounded_factor_is_an_attribute():
    bloom = attributes(lambda x: x * 0.5 * (1.0 + torch.tanh(0.79788456 * x * (1 + 0.044715 * x * x))))
    assert bloom == {"approximate": "tanh", "factor": 0.79788456}


def test_other_elementwise_functions_stay_as_they_are():
    assert "gelu" not in ops(lambda x: 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.044715 * x**3))))
    assert "silu" not in ops(lambda x: x * torch.sigmoid(1.01 * x))
    # equal on these positive values, but not everywhere
    assert ops(lambda x: x.abs() * torch.sigmoid(x), ROWS.abs()) == ["abs", "sigmoid", "mul"]


NORMS = {
    "rms": (lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5), "rms_norm"),
    "rms, divided": (lambda x: x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5), "rms_norm"),
    "rms, by a power": (lambda x: x * (x**2).mean(-1, keepdim=True).add(1e-5).pow(-0.5), "rms_norm"),
    "layer norm": (
        lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt(),
        "layer_norm",
    ),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms(name):
    function, op = NORMS[name]
    assert ops(function) == [op]
    assert attributes(function)["eps"] == 1e-5


class Affine(torch.nn.Module):
    """A LayerNorm by hand, with its weight and bias."""

    def __init__(self):
        super().__init__()
        self.gain, self.shift = torch.nn.Parameter(drawn(8)), torch.nn.Parameter(drawn(8) + 1)

    def forward(self, x):
        """Normalize."""
        return NORMS["layer norm"][0](x) * self.gain + self.shift


def test_a_norm_gets_its_weight_and_bias():
    (node,) = graph_of(Affine(), ROWS).nodes
    assert (node.op, node.operands) == ("layer_norm", ("x", "gain", "shift"))


def test_a_norm_over_another_dimension_stays_as_it_is():
    assert "rms_norm" not in ops(lambda x: x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-5))
    assert "layer_norm" not in ops(
        lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1e-5).sqrt()  # unbiased
    )


def turned(x):
    return torch.cat([-x[..., 4:], x[..., :4]], -1)


def turned_neighbours(x):
    return torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)


def two_halves(x, first, second):
    cos, sin = TABLE[:, :4], TABLE[:, 4:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def complex_pairs(x):
    angles = torch.polar(torch.ones(6, 4), TABLE[:, :4].float())
    return torch.view_as_real(torch.view_as_complex(x.reshape(2, 6, 4, 2)) * angles).flatten(2)


ROTATIONS = {
    "halves": (lambda x: x * TABLE + turned(x) * TABLE.cos(), "halves"),
    "neighbours": (lambda x: x * TABLE + turned_neighbours(x) * TABLE.cos(), "neighbours"),
    "two halves": (lambda x: two_halves(x, x[..., :4], x[..., 4:]), "halves"),
    "even and odd, put side by side": (lambda x: two_halves(x, x[..., ::2], x[..., 1::2]), "halves"),
    "complex": (complex_pairs, "neighbours"),
}


@pytest.mark.parametrize("name", ROTATIONS)
def test_rotations(name):
    function, pairs = ROTATIONS[name]
    assert "rotary" in ops(function)
    assert not {"neg", "sub"} & set(ops(function))
    assert attributes(function) == {"pairs": pairs}


def test_a_rotation_with_a_wrong_sign_stays_as_it_is():
    assert "rotary" not in ops(lambda x: x * TABLE - turned(x).flip(-1) * TABLE)


HEADS = drawn(2, 3, 5, 4)
SEEN = torch.ones(5, 5, dtype=torch.bool).tril()


def attended(scores, value=None):
    return lambda x: torch.softmax(scores(x, x + 1), -1) @ (x - 1 if value is None else value(x))


def merged(x):
    """Attend with batch and heads in one dimension, and a bias for each head, as Bloom does."""
    q, k, v = (y.reshape(6, 5, 4) for y in (x, x + 1, x - 1))
    bias = TABLE[:6, :5].reshape(6, 1, 5)
    scores = torch.baddbmm(bias.to(x.dtype), q, k.transpose(1, 2), alpha=0.5)
    weights = torch.softmax(scores.reshape(2, 3, 5, 5).masked_fill(~SEEN, -1e38), -1)
    return torch.bmm(weights.reshape(6, 5, 5), v).reshape(2, 3, 5, 4)


class Sinks(torch.nn.Module):
    """Attention with one more score for each head, as gpt-oss has it."""

    def __init__(self):
        super().__init__()
        self.sinks = torch.nn.Parameter(drawn(3))

    def forward(self, x):
        """Attend."""
        scores = x @ (x + 1).mT * 0.5
        scores = torch.cat([scores, self.sinks.reshape(1, 3, 1, 1).expand(2, 3, 5, 1)], -1)
        scores = scores - scores.max(-1, keepdim=True).values
        return torch.softmax(scores, -1)[..., :-1] @ (x - 1)


ATTENTIONS = {
    "scaled": attended(lambda q, k: q @ k.mT * 0.5),
    "divided": attended(lambda q, k: q @ k.mT / 2),
    "query scaled": attended(lambda q, k: (q * 0.5) @ k.mT),
    "both scaled": attended(lambda q, k: (q * 0.5**0.5) @ (k * 0.5**0.5).mT),
    "masked": attended(lambda q, k: (q @ k.mT * 0.5).masked_fill(~SEEN, -torch.inf)),
    "by an added mask": attended(lambda q, k: q @ k.mT * 0.5 + torch.where(SEEN, 0.0, -1e38)),
    "two biases": attended(lambda q, k: q @ k.mT * 0.5 + TABLE[:5, :5] + TABLE[1:, :5]),
    "key from another order": attended(
        lambda q, k: q @ k.transpose(1, 2).contiguous().permute(0, 2, 3, 1) * 0.5
    ),
    "einsum": attended(lambda q, k: torch.einsum("bhid,bhjd->bhij", q, k) * 0.5),
    "batch and heads merged": merged,
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attentions(name):
    graph = graph_of(Function(ATTENTIONS[name]), HEADS)
    (node,) = [node for node in graph.nodes if node.op == "attention"]
    assert node.attributes["scale"] == pytest.approx(0.5, rel=1e-15)
    assert not {"softmax", "matmul"} & {node.op for node in graph.nodes}


def test_a_capped_attention():
    capped = attended(lambda q, k: 3 * torch.tanh(q @ k.mT * 0.5 / 3))
    assert attributes(capped, HEADS) == {"scale": 0.5, "softcap": 3.0, "causal": False}


def test_sinks_of_attention():
    graph = graph_of(Sinks(), HEADS)
    assert graph.nodes[-1].op == "attention"
    assert graph.nodes[-1].operands[4] == "sinks"


def test_what_is_no_attention_stays_as_it_is():
    assert "attention" not in ops(attended(lambda q, k: (q @ k.mT * 0.5).transpose(-1, -2)), HEADS)
    assert "attention" not in ops(lambda x: torch.softmax(x @ x.mT, -2) @ x, HEADS)
    # the scale multiplies the mask as well
    assert "attention" not in ops(attended(lambda q, k: (q @ k.mT + TABLE[:5, :5]) * 0.5), HEADS)


def test_heads_repeated_in_any_dimension():
    def repeat(x):
        return x[:, :, :, None].expand(2, 3, 5, 2, 4).reshape(2, 3, 10, 4)

    assert attributes(repeat, HEADS) == {"dim": 2, "times": 2}
    assert "repeat_interleave" not in ops(lambda x: x.repeat(1, 2, 1, 1), HEADS)


class Projections(torch.nn.Module):
    """Linear layers by hand: a transposed weight, and one that is not, each with a bias."""

    def __init__(self):
        super().__init__()
        self.up, self.down = torch.nn.Parameter(drawn(5, 8)), torch.nn.Parameter(drawn(5, 8) * 2)
        self.bias = torch.nn.Parameter(drawn(5))

    def forward(self, x):
        """Project up and down."""
        return (x.reshape(12, 8) @ self.up.T + self.bias).reshape(2, 6, 5) @ self.down


def test_linear_layers_by_hand():
    first, second = graph_of(Projections(), ROWS).nodes
    assert (first.op, first.operands, first.attributes) == (
        "linear",
        ("x", "up", "bias"),
        {"weight": "out, in"},
    )
    assert (second.op, second.operands[1:], second.attributes) == (
        "linear",
        ("down", None),
        {"weight": "in, out"},
    )


def test_idle_nodes_disappear():
    assert ops(lambda x: x.reshape(12, 8)[:, None].reshape(2, 48).relu().reshape(2, 6, 8).mT.mT) == [
        "reshape",
        "relu",
        "reshape",
    ]
    assert ops(lambda x: torch.cat([x.relu(), x[:, :0]], 1)[:, :6]) == ["relu"]
    assert ops(lambda x: x[:, torch.tensor([-2, -1])]) == ["slice"]

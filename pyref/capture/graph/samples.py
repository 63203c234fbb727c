"""Small computations of each operator, with which the tests of other languages compare."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pyref.build.rng import Stream
from pyref.capture.graph.evaluate import OPERATORS

Sample = tuple[str, list, dict]
Draw = Callable[..., np.ndarray]  # of a name and a shape

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
INTERPOLATIONS = (
    ("nearest", (False,)),
    ("nearest-exact", (False,)),
    ("linear", (False, True)),
    ("cubic", (False, True)),
)


def write(folder: Path) -> int:
    """Write operators.json: operands, attributes and PyTorch's float64 result of every sample."""
    lines = [json.dumps(record(*sample)) for sample in samples()]
    (folder / "operators.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="ascii")
    return len(lines)


def record(op: str, operands: list, attributes: dict) -> dict:
    """Compute one sample."""
    tensors = [torch.from_numpy(o) if isinstance(o, np.ndarray) else o for o in operands]
    result = OPERATORS[op](*tensors, **attributes)
    return {
        "op": op,
        "operands": [array(o) if isinstance(o, np.ndarray) else o for o in operands],
        "attributes": attributes,
        "result": array(result.contiguous().numpy()),
    }


def array(values: np.ndarray) -> dict:
    """Return an array as JSON."""
    return {"dtype": values.dtype.name, "shape": list(values.shape), "values": values.ravel().tolist()}


def samples() -> list[Sample]:
    """Return the samples of all operators."""
    stream = Stream(20261126)

    def draw(name: str, *shape: int) -> np.ndarray:
        return stream.normal(name, shape).astype(np.float64)

    x, y, row = draw("x", 2, 3, 4), draw("y", 2, 3, 4), draw("row", 4)
    positive = np.abs(x) + 0.1
    heads = draw("heads", 2, 3, 5, 6)
    key, value = draw("key", 2, 3, 7, 6), draw("value", 2, 3, 7, 4)
    seen = draw("seen", 2, 1, 5, 7) > -0.5
    seen[0, 0, 2] = False  # a query that sees no key
    table = draw("table", 9, 4)
    image = draw("image", 2, 3, 5, 6)
    angles = draw("angles", 1, 1, 5, 6)
    scale = {"scale": 0.4, "softcap": None, "causal": False}
    return [
        *((op, [positive], {}) for op in ("log", "sqrt", "rsqrt")),
        *((op, [3 * x], {}) for op in ("neg", "exp", "tanh", "sigmoid", "silu", "quick_gelu", "relu")),
        *((op, [3 * x], {}) for op in ("sin", "cos", "abs", "erf")),
        *((op, [np.round(3 * x, 1)], {}) for op in ("floor", "ceil", "round", "trunc", "sign", "expm1")),
        *((op, [3 * x], {}) for op in ("bfloat16", "float16")),
        *((op, [5 * x], {}) for op in ("hardswish", "hardsigmoid", "mish")),
        ("round", [np.array([0.5, 1.5, -0.5, 2.5, 0.0])], {}),
        ("sign", [np.array([0.0, -2.0])], {}),
        ("log1p", [positive], {}),
        *(("gelu", [3 * x], {"approximate": form}) for form in ("none", "tanh")),
        ("gelu", [3 * x], {"approximate": "tanh", "factor": 0.79788456}),
        ("gelu", [3 * x], {"approximate": "tanh", "factor": 0.5}),
        *((op, [x, y], {}) for op in ("add", "sub", "mul", "div")),
        *((op, [x, row], {}) for op in ("add", "mul")),
        *((op, [x, y], {}) for op in ("maximum", "minimum", "atan2", *COMPARISONS)),
        *((op, [np.round(x), 1.0], {}) for op in COMPARISONS),
        *((op, [x > 0, y > 0], {}) for op in ("logical_and", "logical_or")),
        ("logical_not", [x > 0], {}),
        ("logical_not", [np.round(x)], {}),
        ("leaky_relu", [x, 0.2], {}),
        ("leaky_relu", [x, row], {}),
        ("elu", [x, 1.5], {}),
        ("sub", [1.5, x], {}),
        ("pow", [positive, 1.5], {}),
        ("linear", [x, draw("weight", 5, 4), draw("bias", 5)], {"weight": "out, in"}),
        ("linear", [x, draw("weight in", 4, 5), None], {"weight": "in, out"}),
        ("matmul", [heads, draw("right", 1, 3, 6, 4)], {}),
        ("embedding", [table, np.array([[3, 0, 8], [1, 1, 2]])], {}),
        ("layer_norm", [x, row, draw("norm bias", 4)], {"eps": 1e-2}),
        ("layer_norm", [x, None, None], {"eps": 1e-5}),
        ("rms_norm", [x, row], {"eps": 1e-2, "offset": 1.0}),
        ("rms_norm", [x, None], {"eps": 1e-6, "offset": 0.0}),
        *((op, [x], {"dim": dim}) for op in ("softmax", "log_softmax") for dim in (1, 2)),
        ("attention", [heads, key, value, None], scale),
        ("attention", [heads, key, value, seen], scale | {"softcap": 0.8}),
        ("attention", [heads, key, value, draw("added", 5, 7)], scale | {"causal": True}),
        ("attention", [heads, key, value, seen, draw("sinks", 3)], scale),
        *(
            ("rotary", [heads, np.cos(angles), np.sin(angles)], {"pairs": p})
            for p in ("halves", "neighbours")
        ),
        ("repeat_interleave", [x], {"dim": 1, "times": 2}),
        ("softplus", [30 * x], {}),
        ("clamp", [x, -0.5, None], {}),
        ("clamp", [x, -0.5, 0.3], {}),
        ("where", [x > 0, y, 7.0], {}),
        ("where", [row > 0, x, y], {}),
        ("where", [row > 0, x > 0, y > 0], {}),
        ("index", [x, np.array([[1, 0], [1, 1]])], {"dims": [0]}),
        ("index", [x, np.array([1, 0, 1, 1]), np.array([2, 2, 0, 1])], {"dims": [0, 1]}),
        ("index", [x, np.array([3, 0])], {"dims": [2]}),
        ("topk", [x], {"dim": 2, "count": 2}),
        ("topk_indices", [x], {"dim": 1, "count": 2}),
        (
            "convolution",
            [draw("signal", 2, 4, 7), draw("kernel", 6, 2, 3), draw("kernel bias", 6)],
            {"stride": [1], "padding": [2], "dilation": [2], "groups": 2},
        ),
        (
            "convolution",
            [image, draw("filter", 2, 3, 3, 2), None],
            {"stride": [2, 1], "padding": [1, 0], "dilation": [1, 1], "groups": 1},
        ),
        ("max_pool", [image], {"kernel": [3, 2], "stride": [2, 1], "padding": [1, 0]}),
        *images(draw, image),
        *recurrent(draw),
        (
            "batch_norm",
            [image, *(draw(f"batch {i}", 3) for i in range(3)), np.abs(draw("variance", 3))],
            {"eps": 1e-3},
        ),
        ("reshape", [x], {"shape": [4, 6]}),
        ("permute", [x], {"dims": [2, 0, 1]}),
        ("expand", [draw("narrow", 2, 1, 4)], {"shape": [3, 2, 5, 4]}),
        ("slice", [x], {"dim": 2, "start": 1, "stop": 4, "step": 2}),
        ("select", [x], {"dim": 1, "index": 2}),
        ("cat", [x, draw("more", 2, 2, 4)], {"dim": 1}),
        ("cat", [x > 0, y > 0], {"dim": 0}),
        ("gather", [x, np.array([[[3, 0], [1, 1]]])], {"dim": 2}),
        *(
            (op, [x, np.array([[[2, 0, 1, 0]], [[1, 1, 0, 2]]]), draw("new", 2, 2, 4)], {"dim": 1})
            for op in ("scatter", "scatter_add")
        ),
        ("scatter_add", [x, np.array([[[2, 2, 2]]]), draw("added twice", 2, 3, 4)], {"dim": 2}),
        ("scatter", [x, np.array([[[3, 1]]]), 1.5], {"dim": 2}),
        ("cumsum", [x], {"dim": 1}),
        ("mean", [x], {"dims": [1], "keep": True}),
        ("sum", [x], {"dims": [0, 2], "keep": False}),
        ("max", [x], {"dims": [2], "keep": False}),
        ("max", [seen], {"dims": [2], "keep": True}),
        ("min", [x], {"dims": [1, 2], "keep": False}),
        ("min", [seen], {"dims": [2], "keep": True}),
        ("prod", [x], {"dims": [0, 2], "keep": True}),
        ("sum", [seen], {"dims": [2], "keep": False}),
    ]


def images(draw: Draw, image: np.ndarray) -> list[Sample]:
    """Return the samples of operators on images."""
    signal, volume = draw("signal 2", 2, 4, 7), draw("volume", 1, 2, 3, 4, 5)
    norm = {"groups": 2, "eps": 1e-2}
    pool = {"kernel": [3, 2], "stride": [2, 1], "padding": [1, 1]}
    enlarged = {"size": [8, 7], "steps": [5 / 8, 6 / 7]}
    scaled = {"size": [13, 10], "steps": [0.37, 0.6]}
    return [
        (
            "convolution",
            [volume, draw("cube", 2, 2, 2, 3, 2), None],
            {"stride": [1, 2, 1], "padding": [1, 0, 1], "dilation": [1, 1, 2], "groups": 1},
        ),
        (
            "convolution_transposed",
            [signal, draw("turned", 4, 3, 3), draw("turned bias", 6)],
            {"stride": [2], "padding": [1], "output_padding": [1], "dilation": [2], "groups": 2},
        ),
        (
            "convolution_transposed",
            [image, draw("turned 2", 3, 2, 3, 4), None],
            {"stride": [2, 3], "padding": [1, 0], "output_padding": [0, 2], "dilation": [1, 1], "groups": 1},
        ),
        ("max_pool", [signal], {"kernel": [3], "stride": [2], "padding": [1]}),
        ("max_pool", [volume], {"kernel": [2, 2, 3], "stride": [1, 2, 2], "padding": [0, 1, 1]}),
        *(("average_pool", [image], pool | {"count_padding": counted}) for counted in (True, False)),
        ("average_pool", [signal], {"kernel": [2], "stride": [2], "padding": [0], "count_padding": True}),
        ("group_norm", [signal, draw("group", 4), draw("group bias", 4)], norm),
        ("group_norm", [draw("grouped", 2, 6, 3, 2), None, None], norm | {"groups": 3}),
        *(
            ("upsample", [image[:1, :1]], size | {"mode": mode, "corners": corners})
            for mode, choices in INTERPOLATIONS
            for corners in choices
            for size in (enlarged, scaled)
        ),
        *(
            ("upsample", [signal], {"size": [9], "steps": [7 / 9], "mode": mode, "corners": False})
            for mode in ("nearest", "linear")
        ),
        *(
            ("pad", [image], {"before": [0, 0, 1, 2], "after": [0, 0, 3, 0], "mode": mode, "value": 0.5})
            for mode in ("constant", "reflect", "replicate", "circular")
        ),
        (
            "pad",
            [draw("rows", 2, 3)],
            {"before": [1, 0], "after": [0, 2], "mode": "constant", "value": -1.0},
        ),
    ]


def recurrent(draw: Draw) -> list[Sample]:
    """Return the samples of recurrent layers, with and without first states and biases."""
    x = draw("sequence", 5, 2, 3)

    def weights(gates: int) -> list[np.ndarray]:
        shapes = ((4 * gates, 3), (4 * gates, 4), (4 * gates,), (4 * gates,))
        return [draw(f"recurrent {gates} {i}", *shape) for i, shape in enumerate(shapes)]

    first, cells = draw("first", 2, 4), draw("cells", 2, 4)
    four, three, one = weights(4), weights(3), weights(1)
    return [
        *(
            (op, [x, *states, *four], {"gates": gates, "reverse": reverse})
            for op in ("lstm", "lstm_cells")
            for states, gates, reverse in (([first, cells], "ifgo", False), ([None, None], "oigf", True))
        ),
        ("lstm", [x, None, None, *four[:2], None, None], {"gates": "ifgo", "reverse": False}),
        *(
            ("gru", [x, state, *three], {"gates": gates, "reset": reset, "reverse": reverse})
            for state, gates, reset, reverse in (
                (first, "rzn", "after", False),
                (None, "zrn", "after", True),
                (first, "rzn", "before", False),
            )
        ),
        ("gru", [x, None, *three[:2], None, None], {"gates": "rzn", "reset": "after", "reverse": False}),
        ("rnn", [x, first, *one], {"function": "tanh", "reverse": False}),
        ("rnn", [x, None, *one], {"function": "relu", "reverse": True}),
    ]

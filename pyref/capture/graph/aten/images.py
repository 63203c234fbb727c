"""Convolutions, pools and interpolation, over one to three dimensions."""

from pyref.capture.graph.aten.arguments import Converted, Converter, Part, refuse, shape_of


def several(a: dict, dimensions: int, *names: str) -> dict[str, list[int]]:
    """Return settings with one number for each dimension."""
    lists = {name: [a[name]] if isinstance(a[name], int) else list(a[name]) for name in names}
    return {name: value * (dimensions // len(value)) for name, value in lists.items()}


def convolution(dimensions: int) -> Converter:
    """Return a converter of a convolution."""

    def converter(a: dict, _: list[int]) -> Converted | list[Converted]:
        operands = [a["input"], a["weight"], a["bias"]]
        if not isinstance(a["padding"], str):
            settings = several(a, dimensions, "stride", "padding", "dilation")
            return batched(dimensions, "convolution", operands, settings | {"groups": a["groups"]})
        settings = several(a, dimensions, "stride", "dilation") | {"padding": [0] * dimensions}
        settings |= {"groups": a["groups"]}
        if a["padding"] == "valid":
            return batched(dimensions, "convolution", operands, settings)
        total = [d * (k - 1) for d, k in zip(settings["dilation"], shape_of(a["weight"])[2:], strict=True)]
        if all(width % 2 == 0 for width in total):
            return batched(
                dimensions, "convolution", operands, settings | {"padding": [width // 2 for width in total]}
            )
        outer = [0] * (len(shape_of(a["input"])) - dimensions)
        before = outer + [width // 2 for width in total]
        after = outer + [width - width // 2 for width in total]
        padded = {"before": before, "after": after, "mode": "constant", "value": 0.0}
        refuse("padding of an input without a batch", len(outer) != 2)
        return [
            ("pad", [a["input"]], padded),
            ("convolution", [Part(0), a["weight"], a["bias"]], settings),
        ]

    return converter


def transposed(dimensions: int) -> Converter:
    """Return a converter of a transposed convolution."""

    def converter(a: dict, _: list[int]) -> Converted | list[Converted]:
        settings = several(a, dimensions, "stride", "padding", "output_padding", "dilation")
        operands = [a["input"], a["weight"], a["bias"]]
        return batched(dimensions, "convolution_transposed", operands, settings | {"groups": a["groups"]})

    return converter


def batched(dimensions: int, op: str, operands: list, attributes: dict) -> Converted | list[Converted]:
    """Return a node for images, which gives an image without a batch one of size 1."""
    sizes = shape_of(operands[0])
    if len(sizes) == dimensions + 2:
        return op, operands, attributes
    return [
        ("reshape", [operands[0]], {"shape": [1, *sizes]}),
        (op, [Part(0), *operands[1:]], attributes),
        ("select", [Part(1)], {"dim": 0, "index": 0}),
    ]


def max_pool(dimensions: int) -> Converter:
    """Return a converter of a max pool."""

    def converter(a: dict, _: list[int]) -> Converted | list[Converted]:
        refuse("a max pool with ceil_mode or dilation", a["ceil_mode"] or ones(a["dilation"]))
        return batched(dimensions, "max_pool", [a["self"]], window(a, dimensions))

    return converter


def average_pool(dimensions: int) -> Converter:
    """Return a converter of an average pool."""

    def converter(a: dict, _: list[int]) -> Converted | list[Converted]:
        refuse("an average pool with ceil_mode", a["ceil_mode"])
        refuse("an average pool with a divisor", a.get("divisor_override"))
        counted = {"count_padding": a["count_include_pad"]}
        return batched(dimensions, "average_pool", [a["self"]], window(a, dimensions) | counted)

    return converter


def ones(dilation: object) -> bool:
    """Report whether a dilation spreads a window."""
    return any(d != 1 for d in ([dilation] if isinstance(dilation, int) else dilation))


def window(a: dict, dimensions: int) -> dict[str, list[int]]:
    """Return kernel, stride and padding of a pool. Without a stride the windows do not overlap."""
    kernel = several(a, dimensions, "kernel_size")["kernel_size"]
    stride = several(a, dimensions, "stride")["stride"] if a["stride"] else kernel
    return {"kernel": kernel, "stride": stride, **several(a, dimensions, "padding")}


def adaptive(op: str, dimensions: int) -> Converter:
    """Return a converter of a pool to a given number of pixels."""

    def converter(a: dict, shape: list[int]) -> Converted | list[Converted]:
        sizes, wanted = shape_of(a["self"])[-dimensions:], shape[-dimensions:]
        rank = len(shape)
        if op == "average_pool" and set(wanted) == {1}:
            return "mean", [a["self"]], {"dims": list(range(rank - dimensions, rank)), "keep": True}
        refuse("an adaptive pool with uneven windows", any(s % w for s, w in zip(sizes, wanted, strict=True)))
        kernel = [size // want for size, want in zip(sizes, wanted, strict=True)]
        settings = {"kernel": kernel, "stride": kernel, "padding": [0] * dimensions}
        if op == "average_pool":
            settings["count_padding"] = True
        return batched(dimensions, op, [a["self"]], settings)

    return converter


def upsample(mode: str) -> Converter:
    """Return a converter of an interpolation. `steps` are pixels of the input for each of the output."""

    def converter(a: dict, shape: list[int]) -> Converted:
        sizes, wanted = shape_of(a["input"])[2:], shape[2:]
        scales = a["scale_factors"] or [want / size for size, want in zip(sizes, wanted, strict=True)]
        settings = {"size": wanted, "steps": [1 / scale for scale in scales]}
        if not a["scale_factors"]:
            settings["steps"] = [size / want for size, want in zip(sizes, wanted, strict=True)]
        return "upsample", [a["input"]], settings | {"mode": mode, "corners": a.get("align_corners", False)}

    return converter


CONVERTERS: dict[str, Converter] = {
    **{f"conv{n}d": convolution(n) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": transposed(n) for n in (1, 2, 3)},
    **{f"max_pool{n}d": max_pool(n) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": average_pool(n) for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": adaptive("average_pool", n) for n in (1, 2, 3)},
    **{f"upsample_nearest{n}d": upsample("nearest") for n in (1, 2)},
    **{f"_upsample_nearest_exact{n}d": upsample("nearest-exact") for n in (1, 2)},
    "upsample_linear1d": upsample("linear"),
    "upsample_bilinear2d": upsample("linear"),
    "upsample_bicubic2d": upsample("cubic"),
}

RESULTS: dict[tuple[str, int], Converter] = {
    (f"adaptive_max_pool{n}d", 0): adaptive("max_pool", n) for n in (1, 2, 3)
}

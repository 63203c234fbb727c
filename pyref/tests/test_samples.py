"""Every sample of the pinned wheel has a case, and the case has the shapes of its samples."""

from collections.abc import Iterator
from importlib import import_module

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.table import samples
from pyref.tests.support import named

Sample = tuple[str, dict[str, tuple[int, ...] | None]]  # its case, and shapes by role


def op_samples(name: str) -> list:
    """Return the samples of a function in op_db."""
    op_db = import_module("torch.testing._internal.common_methods_invocations").op_db
    op = next(op for op in op_db if op.name == name)
    return list(op.sample_inputs("cpu", torch.float32))


def module_samples() -> list:
    """Return the samples of nn.MultiheadAttention in module_db."""
    module_db = import_module("torch.testing._internal.common_modules").module_db
    info = next(info for info in module_db if info.module_cls is torch.nn.MultiheadAttention)
    return info.module_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=False
    )


def shape(tensor: torch.Tensor | None) -> tuple[int, ...] | None:
    """Return a tensor's shape, None without a tensor."""
    return None if tensor is None else tuple(tensor.shape)


def sdpa() -> Iterator[Sample]:
    """Name the case of each sample of scaled_dot_product_attention."""
    for sample in op_samples("nn.functional.scaled_dot_product_attention"):
        (key, value), options = sample.args, sample.kwargs
        ranks = {(3, 3): "no-batch", (4, 4): "batch", (3, 4): "shared-query"}
        causal = "-causal" if options["is_causal"] else ""
        mask = "-mask" if options.get("attn_mask") is not None else ""
        yield (
            f"samples/sdpa-{ranks[sample.input.ndim, key.ndim]}{causal}{mask}",
            {
                "query": shape(sample.input),
                "key": shape(key),
                "value": shape(value),
                "bias": shape(options.get("attn_mask")),
            },
        )


def forward() -> Iterator[Sample]:
    """Name the case of each sample of multi_head_attention_forward."""
    for sample in op_samples("nn.functional.multi_head_attention_forward"):
        key, value, _, heads, *_ = sample.args
        options = sample.kwargs
        mask = options["attn_mask"]
        kinds = {None: "no-mask", 2: "mask", 3: "mask-per-head"}
        yield (
            f"samples/forward-{'batch' if key.ndim == 3 else 'no-batch'}"
            f"-{'separate' if options['use_separate_proj_weight'] else 'packed'}"
            f"-{kinds[None if mask is None else mask.ndim]}",
            {
                "query": shape(sample.input),
                "key": shape(key),
                "value": shape(value),
                "bias": shape(mask),
                "heads": (heads,),
            },
        )


def module() -> Iterator[Sample]:
    """Name the case of each sample of nn.MultiheadAttention."""
    for sample in module_samples():
        options, masks = sample.constructor_input.kwargs, sample.forward_input.kwargs
        on = [name for name in ("bias", "add_bias_kv", "add_zero_attn") if options[name]]
        masked = any(mask is not None for mask in masks.values())
        on += ["masked"] if masked else []
        query, key, value = sample.forward_input.args
        yield (
            "samples/module-" + "-".join(on or ["bare"]).replace("_", "-"),
            {
                "query": shape(query),
                "key": shape(key),
                "value": shape(value),
                "padding": shape(masks["key_padding_mask"]),
                "block": shape(masks["attn_mask"]),
                "heads": (options["num_heads"],),
            },
        )


@pytest.fixture(scope="module")
def wheel() -> list[Sample]:
    """Return every sample of the wheel."""
    return [*sdpa(), *forward(), *module()]


@pytest.mark.parametrize(("group", "count"), [(sdpa, 25), (forward, 192), (module, 64)])
def test_the_wheel_has_as_many_samples_as_the_table_says(group, count):
    assert len(list(group())) == count


def test_every_sample_has_a_case_and_every_case_a_sample(wheel):
    assert {name for name, _ in wheel} == {case.name for case in samples.CASES}


def test_a_case_has_the_shapes_of_the_largest_of_its_samples(wheel):
    largest: dict[str, dict] = {}
    for name, shapes in wheel:
        sizes = largest.setdefault(name, dict.fromkeys(shapes))
        for role, size in shapes.items():
            sizes[role] = max(sizes[role] or (), size or ()) or None
    for name, shapes in largest.items():
        inputs, _ = named(name).draw()
        found = {role: inputs[role].shape if role in inputs else None for role in shapes}
        if "heads" in shapes:
            found["heads"] = (named(name).operation.num_heads,)
        assert found == shapes, name


def test_the_samples_masks_of_a_module_hide_the_last_key_as_the_cases_padding_does():
    padding = named("samples/module-masked").draw()[0]["padding"]
    for sample in module_samples():
        for mask in sample.forward_input.kwargs.values():
            if mask is not None:
                assert (mask.numpy() == np.broadcast_to(padding, mask.shape)).all()


def test_equal_heads_make_enable_gqa_change_nothing():
    inputs, _ = named("samples/sdpa-batch-causal").draw()
    query, key, value = (torch.from_numpy(inputs[role]) for role in ("query", "key", "value"))
    sdpa = torch.nn.functional.scaled_dot_product_attention
    one, other = (sdpa(query, key, value, is_causal=True, enable_gqa=on) for on in (False, True))
    assert torch.equal(one, other)

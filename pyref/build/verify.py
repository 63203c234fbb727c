"""Cases whose truth difftest's oracle computed: PyTorch's results take its place if they agree."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pyref import crosscheck
from pyref.build import case_folder
from pyref.build.atomic_replace import put_in_place, recover
from pyref.build.pinned_torch import torch
from pyref.build.scratch import scratch
from pyref.ops.decoder import DecoderAttention
from pyref.ops.mha import MultiheadAttention
from pyref.ops.operation import Arrays, Operation
from pyref.ops.rope import Rope
from pyref.ops.sdpa import ScaledDotProductAttention

BY_ORACLE = "oracle, not PyTorch"  # provenance.torch of such a case


def cases(suite: Path) -> Iterator[Path]:
    """Yield the folders of the cases below `suite` that PyTorch has not computed."""
    for file in sorted(suite.rglob("case.json")):
        if any(part.startswith(".") for part in file.relative_to(suite).parts):
            continue
        if json.loads(file.read_text(encoding="ascii"))["provenance"]["torch"] == BY_ORACLE:
            yield file.parent


def verify(folder: Path) -> None:
    """Fill in PyTorch's results. Raise ValueError if the truth differs, or pyref has no call."""
    case = json.loads((folder / "case.json").read_text(encoding="ascii"))
    inputs, parameters = load(folder, case["inputs"]), load(folder, case.get("state_dict", {}))
    operation = operation_of(case, inputs)
    expected = case_folder.expect(operation, inputs, parameters)
    truth = np.load(folder / case["expected"]["truth"])
    difference = (
        crosscheck.distance(truth, expected["truth"]) if truth.any() else np.abs(expected["truth"]).max()
    )
    if not difference <= crosscheck.TOLERANCE:
        raise ValueError(
            f"the oracle's truth is {difference:.1e} away from pytorch's float64 result,"
            f" relative to its largest element; at most {crosscheck.TOLERANCE:.0e} is allowed"
        )
    fields = {name: case[name] for name in ("name", "purpose", "op", "config")}
    sections = {"inputs": inputs, "state_dict": parameters, "expected": expected}
    seed = case["provenance"]["seed"]
    with scratch(folder.parent) as beside:
        recover(folder)
        made = case_folder.provenance(operation.function, operation.call, seed, torch)
        case_folder.store(beside / folder.name, fields, sections, made)
        put_in_place(beside / folder.name, folder)


def load(folder: Path, files: dict[str, str]) -> Arrays:
    """Return arrays by name. Names of one file share an array."""
    arrays = {file: np.load(folder / file, allow_pickle=False) for file in set(files.values())}
    return {name: arrays[file] for name, file in files.items()}


def operation_of(case: dict, inputs: Arrays) -> Operation:
    """Return PyTorch's call for a case. Raise ValueError if pyref has none."""
    config = case["config"]
    if case["op"] == ScaledDotProductAttention.name:
        return function(config, inputs)
    if config["keys"] == "torch":
        return torch_layer(config, inputs)
    return decoder(config, inputs)


def refuse(condition: bool, what: str) -> None:
    """Raise ValueError if the condition holds."""
    if condition:
        raise ValueError(f"pyref has no call of pytorch for {what}")


def function(config: dict, inputs: Arrays) -> ScaledDotProductAttention:
    """Return the call of a function."""
    masked = "allow" in inputs or "bias" in inputs
    moved = "past_key" in inputs or "key_lengths" in inputs
    scored = any(name in config for name in ("window", "softcap", "alibi"))
    refuse(masked and (moved or scored or "sinks" in inputs), "a mask beside other options")
    refuse("sinks" in inputs and ("softcap" in config or "alibi" in config), "sinks with softcap or ALiBi")
    query, key, value = inputs["query"], inputs["key"], inputs["value"]
    return ScaledDotProductAttention(
        batch=query.shape[0],
        num_heads=query.shape[1],
        seq_q=query.shape[2],
        seq_kv=key.shape[2],
        head_dim=query.shape[3],
        v_head_dim=value.shape[3],
        num_kv_heads=key.shape[1] if config.get("enable_gqa") else None,
        causal=config["causality"] != "none",
        alignment="lower-right" if config["causality"] == "lower-right" else "top-left",
        allow=inputs["allow"].shape if "allow" in inputs else None,
        bias=inputs["bias"].shape if "bias" in inputs else None,
        scale=config["scale"],
        window=config.get("window"),
        softcap=config.get("softcap"),
        alibi=config.get("alibi", False),
        sinks="sinks" in inputs,
        past_len=inputs["past_key"].shape[2] if "past_key" in inputs else 0,
        key_lengths=tuple(inputs["key_lengths"].tolist()) if "key_lengths" in inputs else None,
        precision=config.get("precision", "float32"),
    )


def torch_layer(config: dict, inputs: Arrays) -> MultiheadAttention:
    """Return the call of torch.nn.MultiheadAttention."""
    order = config.get("input_layout", "batch-first")
    batch, length = inputs["query"].shape[:2] if order == "batch-first" else inputs["query"].shape[1::-1]
    own = inputs["key"] is inputs["query"]
    return MultiheadAttention(
        batch=batch,
        seq_q=length,
        embed_dim=config["embed_dim"],
        num_heads=config["num_heads"],
        seq_kv=None if own else inputs["key"].shape[1 if order == "batch-first" else 0],
        bias=config["bias"],
        causal=config["causality"] != "none",
        input_layout=order,
    )


def decoder(config: dict, inputs: Arrays) -> DecoderAttention:
    """Return the call of a decoder layer."""
    refuse("block" in inputs or "bias" in inputs, "a decoder layer with a mask")
    refuse("input_layout" in config, "a decoder layer whose batch is not first")
    refuse(config["keys"] == "torch-separate", "a layer of torch.nn.MultiheadAttention with separate keys")
    refuse(
        config.get("sinks", False) and ("softcap" in config or "alibi" in config),
        "sinks with softcap or ALiBi",
    )
    query, heads = inputs["query"], config["num_heads"]
    return DecoderAttention(
        batch=query.shape[0],
        seq_q=query.shape[1],
        embed_dim=config["embed_dim"],
        num_heads=heads,
        num_kv_heads=config.get("num_kv_heads", heads),
        head_dim=config.get("head_dim", config["embed_dim"] // heads),
        seq_kv=None if inputs["key"] is query else inputs["key"].shape[1],
        past_len=inputs["past_key"].shape[2] if "past_key" in inputs else 0,
        param_layout=config["keys"],
        bias=config["bias"],
        output_bias=config.get("output_bias"),
        causal=config["causality"] != "none",
        scale=config.get("scale"),
        rope=Rope(**config["rope"]) if "rope" in config else None,
        qk_norm=config["qk_norm"]["eps"] if "qk_norm" in config else None,
        window=config.get("window"),
        softcap=config.get("softcap"),
        alibi=config.get("alibi", False),
        sinks=config.get("sinks", False),
    )

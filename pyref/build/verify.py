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
from pyref.capture.graph import evaluate
from pyref.capture.graph.node import Graph
from pyref.capture.graph.varied import node_of
from pyref.ops.decoder import DecoderAttention
from pyref.ops.formula import FunctionByFormula, LayerByFormula
from pyref.ops.layouts import LAYOUTS
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
    """Fill in PyTorch's results. Raise ValueError if the truth differs.

    A case of a module stays as it is: PyTorch computes its graph, and not the module, which stands
    nowhere in the case.
    """
    case = json.loads((folder / "case.json").read_text(encoding="ascii"))
    inputs, parameters = load(folder, case["inputs"]), load(folder, case.get("state_dict", {}))
    truth = np.load(folder / case["expected"]["truth"])
    if case["op"] == "module":
        compare(truth, result_of_graph(folder, case, inputs, parameters))
        return
    operation = operation_of(case, inputs)
    expected = case_folder.expect(operation, inputs, parameters)
    compare(truth, expected["truth"])
    fields = {name: case[name] for name in ("name", "purpose", "op", "config")}
    sections = {"inputs": inputs, "state_dict": parameters, "expected": expected}
    seed = case["provenance"]["seed"]
    with scratch(folder.parent) as beside:
        recover(folder)
        made = case_folder.provenance(operation.function, operation.call, seed, torch)
        case_folder.store(beside / folder.name, fields, sections, made)
        put_in_place(beside / folder.name, folder)


def compare(truth: np.ndarray, right: np.ndarray) -> None:
    """Raise ValueError if the oracle's truth differs from PyTorch's float64 result."""
    difference = crosscheck.distance(truth, right) if truth.any() else np.abs(right).max()
    if not difference <= crosscheck.TOLERANCE:
        raise ValueError(
            f"the oracle's truth is {difference:.1e} away from pytorch's float64 result,"
            f" relative to its largest element; at most {crosscheck.TOLERANCE:.0e} is allowed"
        )


def result_of_graph(folder: Path, case: dict, inputs: Arrays, parameters: Arrays) -> np.ndarray:
    """Return what the graph of a module computes in PyTorch, in float64."""
    text = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
    constants = load(folder, case.get("constants", {}))
    graph = Graph(
        text["inputs"],
        tuple(text["parameters"]),
        {name: constants[name] for name in text["constants"]},
        tuple(map(node_of, text["nodes"])),
        text["output"],
    )
    return evaluate.evaluate(graph, inputs, parameters)[graph.output].numpy()


def load(folder: Path, files: dict[str, str]) -> Arrays:
    """Return arrays by name. Names of one file share an array."""
    arrays = {file: np.load(folder / file, allow_pickle=False) for file in set(files.values())}
    return {name: arrays[file] for name, file in files.items()}


def operation_of(case: dict, inputs: Arrays) -> Operation:
    """Return PyTorch's call for a case, or pyref's formula if PyTorch has no call."""
    config = case["config"]
    if case["op"] == ScaledDotProductAttention.name:
        return function(config, inputs)
    if config["keys"] == "torch":
        return torch_layer(config, inputs)
    return decoder(config, inputs)


def function(config: dict, inputs: Arrays) -> ScaledDotProductAttention:
    """Return the call of a function."""
    masked = "allow" in inputs or "bias" in inputs
    moved = "past_key" in inputs or "key_lengths" in inputs
    scored = any(name in config for name in ("window", "softcap", "alibi"))
    sinks = "sinks" in inputs
    formula = (masked and (moved or scored or sinks)) or (
        sinks and ("softcap" in config or "alibi" in config)
    )
    kind = FunctionByFormula if formula else ScaledDotProductAttention
    query, key, value = inputs["query"], inputs["key"], inputs["value"]
    return kind(
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
    """Return the call of a decoder layer, or of pyref's formula."""
    sequence_first = config.get("input_layout", "batch-first") == "sequence-first"
    formula = (
        sequence_first
        or "block" in inputs
        or "bias" in inputs
        or config["keys"] not in LAYOUTS
        or (config.get("sinks", False) and ("softcap" in config or "alibi" in config))
    )
    query, heads = inputs["query"], config["num_heads"]
    batch, length = query.shape[1::-1] if sequence_first else query.shape[:2]
    more = {"sequence_first": sequence_first} if formula else {}
    return (LayerByFormula if formula else DecoderAttention)(
        **more,
        batch=batch,
        seq_q=length,
        embed_dim=config["embed_dim"],
        num_heads=heads,
        num_kv_heads=config.get("num_kv_heads", heads),
        head_dim=config.get("head_dim", config["embed_dim"] // heads),
        seq_kv=None if inputs["key"] is query else inputs["key"].shape[0 if sequence_first else 1],
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

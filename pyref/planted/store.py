"""What cases give with each mistake, in files: for a reader that plants the same mistakes on its own."""

import json
from collections import Counter
from pathlib import Path

import numpy as np

from pyref.case import Case
from pyref.pinned import torch
from pyref.planted import MISTAKES
from pyref.planted.plain import PlainAttention, plain
from pyref.table import CASES

# The first that can show a mistake are its own: those with little else in them come first, a layer and a
# function in turn.
NAMES = (
    "mha/causal-left-padding",
    "sdpa/float-mask",
    "mha/cross",
    "mha/padding",
    "sdpa/bool-mask",
    "mha/causal",
    "mha/cross-kdim",
    "mha/six-heads",
    "mha/block-per-head",
    "mha/float-mask-per-head",
    "mha/fast-left-padding",
    "mha/weights-left-padding",
    "mha/three-tensors",
    "mha/unmasked",
    "mha/bias-kv",
    "sdpa/causal-lower-right",
    "sdpa/scale",
    "sdpa/softcap",
    "sdpa/sinks",
    "sdpa/narrow-values",
    "sdpa/gqa",
    "decoder/rope-half",
    "decoder/cache",
    "decoder/rope-partial",
    "decoder/rope-factor",
    "decoder/rope-meta",
    "decoder/rope-interleaved",
    "decoder/alibi-cache",
    "decoder/alibi-left-padding",
    "decoder/alibi-decode",
    "sdpa/alibi-decode",
    "decoder/relative-bias-cache",
    "decoder/relative-bias-cross",
    "decoder/sinks-window",
    "decoder/qk-norm",
    "decoder/qwen-biases",
    "decoder/window-cache",
    "decoder/softcap",
    "layouts/neox",
    "layouts/gpt",
    "decoder/gemma",
    "samples/module-bias",
    "samples/module-bias-add-bias-kv-masked",
    "samples/module-add-bias-kv-add-zero-attn",
)
OF_EACH = 2  # cases of a mistake
ELEMENTS = 2  # of a case's batch
CLEAR = 1e-4  # relative rms from which on a mistake shows: rounding to float32 is a thousandth of it


def write(folder: Path) -> Counter[str]:
    """Write a file of each case that has mistakes to show, and an index; return how many cases each has.

    A file is float32 (mistakes, batch elements, ...), in the order of the index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.npy"):
        stale.unlink()
    shown: Counter[str] = Counter(dict.fromkeys(MISTAKES, 0))
    index = {}
    for case in map(named, NAMES):
        wrong = outputs(case, [name for name in MISTAKES if shown[name] < OF_EACH])
        if wrong:
            index[case.name] = list(wrong)
            np.save(folder / f"{case.name.replace('/', '-')}.npy", stacked(wrong), allow_pickle=False)
        shown.update(wrong.keys())
    lines = [f"  {json.dumps(name)}: {json.dumps(index[name])}" for name in sorted(index)]
    (folder / "index.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="ascii")
    return shown


def named(name: str) -> Case:
    """Return a case by its name."""
    return next(case for case in CASES if case.name == name)


def attention(case: Case) -> PlainAttention:
    """Return a case's attention without a mistake."""
    return plain(case.operation, *case.draw())


def outputs(case: Case, mistakes: list[str]) -> dict[str, torch.Tensor]:
    """Return the first elements of what the case gives with each of the mistakes that shows in them."""
    right = attention(case)
    truth = right.compute()[:ELEMENTS]
    planted = {name: MISTAKES[name](right) for name in mistakes}
    wrong = {name: attention.compute()[:ELEMENTS] for name, attention in planted.items() if attention}
    return {name: output for name, output in wrong.items() if shows(output, truth)}


def shows(got: torch.Tensor, want: torch.Tensor) -> bool:
    """Report whether an output is clearly another one, in numbers that float32 holds, not all of them NaN."""
    held = got.float()
    return not held.isnan().all() and not held.isinf().any() and distance(got, want) > CLEAR


def distance(got: torch.Tensor, want: torch.Tensor) -> float:
    """Return RMS(got - want) / RMS(want) where numbers are wanted; infinite if NaN is elsewhere."""
    numbers = want.isfinite()
    if not torch.equal(got.isfinite(), numbers):
        return float("inf")
    return float(((got - want)[numbers].square().mean() / want[numbers].square().mean()).sqrt())


def stacked(wrong: dict[str, torch.Tensor]) -> np.ndarray:
    """Return outputs as one float32 array, in which every NaN has the same bits."""
    array = torch.stack(list(wrong.values())).float().numpy()
    array[np.isnan(array)] = np.nan
    return array

"""The outputs of committed cases with each mistake, stored in files.

The Go tests of harness/internal/catalogue plant the same mistakes themselves and compare.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from pyref.build.case import Case
from pyref.build.pinned_torch import torch
from pyref.planted import MISTAKES, VARIANTS, kv_cache, masks, rotary
from pyref.planted.case_attention import plain_attention
from pyref.planted.plain_attention import PlainAttention
from pyref.planted.rotary import PlainRotation
from pyref.table import CASES

# A mistake is stored for the first cases that show it. Simple cases come first, layers and
# functions in turn.
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
    "sdpa/causal-rectangular",
    "mha/cross-causal",
    "decoder/softcap-alibi",
    "decoder/softcap-relative-bias",
    "sdpa/long",
)
# Other computations of the same mistakes, on which each of these is stored, too.
OTHERS = {
    "sdpa/past": kv_cache.MISTAKES,
    "sdpa/key-lengths-causal": masks.MISTAKES,
    "sdpa/first-positions": masks.MISTAKES,
    "sdpa/first-positions-window": {"window-top-left": masks.MISTAKES["window-top-left"]},
    "rotary/half": rotary.MISTAKES,
    "rotary/merged-interleaved-partial": rotary.MISTAKES,
}
CASES_EACH = 2  # cases per mistake
CASES_EACH_VARIANT = 1
ELEMENTS = 2  # stored batch elements per case
CLEAR = 1e-4  # relative rms above which a mistake shows; rounding to float32 gives a thousandth


def write(folder: Path) -> Counter[str]:
    """Write one file per case and an index. Return the number of cases that show each mistake.

    A file is float32 (mistakes, batch elements, ...), in the order of the index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.npy"):
        stale.unlink()
    shown: Counter[str] = Counter(dict.fromkeys(MISTAKES, 0))
    index = {}
    for case in map(named, (*NAMES, *OTHERS)):
        few = {name: mistake for name, mistake in MISTAKES.items() if shown[name] < wanted(name)}
        wrong = outputs(case, OTHERS.get(case.name, few))
        if wrong:
            index[case.name] = list(wrong)
            np.save(folder / f"{case.name.replace('/', '-')}.npy", stacked(wrong), allow_pickle=False)
        shown.update(wrong.keys())
    lines = [f"  {json.dumps(name)}: {json.dumps(index[name])}" for name in sorted(index)]
    (folder / "index.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="ascii")
    return shown


def wanted(name: str) -> int:
    """Return the number of cases that a mistake is stored for."""
    return CASES_EACH_VARIANT if name in VARIANTS else CASES_EACH


def named(name: str) -> Case:
    """Return a case by its name."""
    return next(case for case in CASES if case.name == name)


def attention(case: Case) -> PlainAttention | PlainRotation:
    """Return a case's attention or rotation without a mistake."""
    return plain_attention(case.operation, *case.draw())


def outputs(case: Case, mistakes: Mapping[str, Callable]) -> dict[str, torch.Tensor]:
    """Return the first batch elements of the output with each mistake that shows in them."""
    right = attention(case)
    truth = right.compute()[:ELEMENTS]
    planted = {name: mistake(right) for name, mistake in mistakes.items()}
    wrong = {name: attention.compute()[:ELEMENTS] for name, attention in planted.items() if attention}
    return {name: output for name, output in wrong.items() if shows(output, truth)}


def shows(got: torch.Tensor, want: torch.Tensor) -> bool:
    """Report whether an output clearly differs and float32 can hold it, with some number in it."""
    single = got.float()
    return not single.isnan().all() and not single.isinf().any() and distance(got, want) > CLEAR


def distance(got: torch.Tensor, want: torch.Tensor) -> float:
    """Return RMS(got - want) / RMS(want) over finite elements; inf if other elements are finite."""
    numbers = want.isfinite()
    if not torch.equal(got.isfinite(), numbers):
        return float("inf")
    return float(((got - want)[numbers].square().mean() / want[numbers].square().mean()).sqrt())


def stacked(wrong: dict[str, torch.Tensor]) -> np.ndarray:
    """Return the outputs as one float32 array in which every NaN has the same bits."""
    array = torch.stack(list(wrong.values())).float().numpy()
    array[np.isnan(array)] = np.nan
    return array

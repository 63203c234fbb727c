"""difftest names the number that a NumPy subject has wrong: as first cause, in each failure."""

import os
import sys

import pytest

from pyref.tests.support import ROOT, Command
from pyref.tests.wrong_number import EDITS

CAMPAIGNS = os.environ.get("DIFFTEST_CAMPAIGNS") == "1"

# For each number the cases that have it, and wrong values or distances from the right ones.
TRIED = {
    "scale": ("sdpa/causal sdpa/gqa mha/causal decoder/gemma decoder/rope-half", "1.3 0.6 2.2"),
    "temperature": ("sdpa/softcap sdpa/alibi-eight decoder/softcap decoder/sinks", "0.7 1.5 3.0"),
    "softcap": ("sdpa/softcap decoder/softcap decoder/softcap-alibi", "3.0 20.0 0.9"),
    "score-offset": ("sdpa/softcap decoder/softcap", "0.5 -1.0 2.0"),
    "sink-offset": ("sdpa/sinks decoder/sinks decoder/sinks-window", "0.7 -1.5 3.0"),
    "alibi-bias-max": ("sdpa/alibi decoder/alibi decoder/alibi-cache sdpa/alibi-eight", "4.0 16.0 10.0"),
    # Zero keys that fill the last tile are another mistake.
    "zero-keys": ("sdpa/causal mha/causal decoder/rope-half", "5 2 6"),
    "rope-base": ("decoder/rope-half decoder/rope-partial decoder/cache decoder/qk-norm", "5e5 1e6 700.0"),
    "rope-factor": ("decoder/rope-half decoder/rope-factor decoder/cache", "4.0 8.0 3.0"),
    "rope-dim": ("decoder/rope-half decoder/rope-interleaved decoder/cache", "2 4 8"),
    "rope-query-position": ("decoder/rope-half decoder/cache decoder/qk-norm", "2 -3 5"),
    "rope-first-position": ("decoder/cache decoder/decode decoder/rope-half", "1 -2 4"),
    "qk-norm-epsilon": ("decoder/qk-norm decoder/gemma", "1e-5 1e-3 1e-2"),
    "window": ("sdpa/window decoder/window decoder/window-cache sdpa/window-two-sided", "6 7 8"),
    "causal-offset": ("sdpa/causal mha/causal decoder/rope-half", "2 3 -2"),
    "first-position": ("decoder/cache decoder/alibi-cache decoder/relative-bias-cache", "-2 1 2"),
    "relative-clip": ("decoder/relative-bias decoder/relative-bias-cache", "2 1"),
    "cache-key-factor": ("decoder/cache decoder/alibi-cache", "127.0 0.3 0.01"),
    "cache-value-factor": ("decoder/cache decoder/alibi-cache", "127.0 0.3 0.01"),
}
EACH = [
    pytest.param(number, cases.split(), value, id=f"{number} {value}")
    for number, (cases, values) in TRIED.items()
    for value in values.split()[: 3 if CAMPAIGNS else 1]
]


def test_every_edit_is_tried():
    assert EDITS.keys() == TRIED.keys()


@pytest.mark.parametrize("number, cases, value", EACH)
def test_a_wrong_number_is_named(difftest: Command, number: str, cases: list[str], value: str):
    selected = [word for case in cases for word in ("--case", case)]
    program = ROOT / "pyref/tests/wrong_number.py"
    report = difftest.report(*selected, "--", sys.executable, program, number, value)
    failures = [case for case in report["results"] if case["verdict"] == "fail"]
    assert failures
    assert report["causes"][0]["id"] == number
    for case in failures:
        assert number in [named["id"] for named in case.get("numbers", [])], case["case"]

"""A served Python function answers every request: with an output, a skip or an error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pyref import subject
from pyref.tests.support import ROOT

SERVED = """
import sys
from subject import serve

def sdpa(query, key, value, *, config, allow=None):
    print("computing", config["scale"])
    if config["scale"] == 0:
        raise NotImplementedError("no scale")
    if config["scale"] < 0:
        raise ValueError("a negative scale")
    assert query.dtype == key.dtype and key is value
    output = query * config["scale"]
    return (output, output[0]) if allow is not None else output

if __name__ == "__main__":
    serve(sdpa=sdpa, name="mine", version="2", precision="tf32", features=["masks"])
"""


def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess:
    """Run the served function as a user does."""
    return subprocess.run(
        [sys.executable, "-c", SERVED, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT / "pyref")},
        input=text,
        capture_output=True,
        text=True,
    )


def request(folder: Path, scale: float, precision: str = "float32", **changes) -> dict:
    """Write the arrays of a request, and return the request."""
    (folder / "inputs").mkdir(exist_ok=True)
    x = np.array([[1, -2.5], [3, 1e-3]], dtype=np.float32)
    stored = subject.bfloat16(x) if precision == "bfloat16" else x.astype(precision)
    np.save(folder / "inputs" / "query.npy", stored)
    np.save(folder / "inputs" / "key.npy", stored)
    inputs = {"query": "inputs/query.npy", "key": "inputs/key.npy", "value": "inputs/key.npy"}
    return {
        "version": 1, "case": "a/b", "op": "scaled_dot_product_attention", "precision": precision,
        "config": {"scale": scale}, "inputs": inputs, "state_dict": {},
        "output": "output.npy", "weights": None,
    } | changes  # fmt: skip


def converse(*messages: dict) -> tuple[list[dict], str]:
    """Send messages, and return the answers and the printed text."""
    text = "".join(json.dumps(message | {"seq": i}) + "\n" for i, message in enumerate(messages, 1))
    result = run(text=text)
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer.pop("seq") for answer in answers] == list(range(1, len(answers) + 1))
    return answers, result.stderr


def answer(folder: Path, asked: dict) -> dict:
    """Return the answer to a request."""
    return converse({"type": "run", "dir": str(folder), "request": asked})[0][0]


def test_a_conversation(tmp_path):
    asked = {"type": "run", "dir": str(tmp_path), "request": request(tmp_path, 2.0)}
    answers, printed = converse(
        {"type": "start", "protocol": 1}, asked, {"type": "done"}, {"type": "stop"}, asked
    )
    started = {
        "type": "started", "protocol": 1, "name": "mine", "version": "2", "language": "python",
        "precision": "tf32", "ops": ["scaled_dot_product_attention"], "features": ["masks"],
    }  # fmt: skip
    assert answers == [started, {"type": "ok"}, {"type": "ok"}]
    assert printed == "computing 2.0\n"
    output = np.load(tmp_path / "output.npy")
    assert output.dtype == np.float32
    np.testing.assert_array_equal(output, np.array([[2, -5], [6, 2e-3]], dtype=np.float32))


def test_what_is_not_implemented_is_skipped(tmp_path):
    assert answer(tmp_path, request(tmp_path, 0.0)) == {"type": "skipped", "reason": "no scale"}
    other = request(tmp_path, 1.0, op="multi_head_attention")
    assert answer(tmp_path, other) == {"type": "skipped", "reason": "multi_head_attention is not offered"}
    assert not (tmp_path / "output.npy").exists()


def test_an_exception_is_an_error_with_its_traceback(tmp_path):
    got = answer(tmp_path, request(tmp_path, -1.0))
    assert (got["type"], got["message"]) == ("error", "ValueError: a negative scale")
    assert "in sdpa" in got["traceback"]


def test_an_argument_that_the_function_lacks_is_an_error(tmp_path):
    asked = request(tmp_path, 1.0)
    asked["inputs"]["sinks"] = "inputs/key.npy"
    assert "unexpected keyword argument 'sinks'" in answer(tmp_path, asked)["message"]


@pytest.mark.parametrize("precision", ["float16", "float32", "float64"])
def test_outputs_have_the_type_of_the_case(precision, tmp_path):
    assert answer(tmp_path, request(tmp_path, 0.1, precision)) == {"type": "ok"}
    assert np.load(tmp_path / "output.npy").dtype == precision


def test_bfloat16_is_its_bits(tmp_path):
    assert answer(tmp_path, request(tmp_path, 1.0, "bfloat16")) == {"type": "ok"}
    bits = np.load(tmp_path / "output.npy")
    np.testing.assert_array_equal(bits, np.array([[0x3F80, 0xC020], [0x4040, 0x3A83]], dtype=np.uint16))


def test_bfloat16_rounds_to_even():
    values = np.array([1.00390625, 1.01171875, 1.0039065, np.nan, -np.inf, 3.4e38], dtype=np.float32)
    want = [0x3F80, 0x3F82, 0x3F81, 0x7FC0, 0xFF80, 0x7F80]
    assert subject.bfloat16(values).tolist() == want


def test_weights_are_written_where_they_are_asked_for(tmp_path):
    asked = request(tmp_path, 2.0, weights="weights.npy")
    asked["inputs"]["allow"] = "inputs/key.npy"
    assert answer(tmp_path, asked) == {"type": "ok"}
    np.testing.assert_array_equal(np.load(tmp_path / "weights.npy"), np.load(tmp_path / "output.npy")[0])


def test_once(tmp_path):
    (tmp_path / "request.json").write_text(json.dumps(request(tmp_path, 2.0)))
    result = run(str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert np.load(tmp_path / "output.npy").tolist() == [[2, -5], [6, float(np.float32(2e-3))]]
    assert json.loads((tmp_path / "reply.json").read_text()) == {"type": "ok", "precision": "tf32"}


def test_once_leaves_a_reply_where_there_is_no_output(tmp_path):
    (tmp_path / "request.json").write_text(json.dumps(request(tmp_path, 0.0)))
    assert run(str(tmp_path)).returncode == 0
    assert json.loads((tmp_path / "reply.json").read_text()) == {"type": "skipped", "reason": "no scale"}
    assert not (tmp_path / "output.npy").exists()


def test_the_example_needs_numpy_alone():
    example = ROOT / "pyref" / "examples" / "numpy_attention.py"
    code = (
        f"import runpy, sys; runpy.run_path({str(example)!r}); print({{'torch', 'pyref'}} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (result.stdout, result.stderr) == ("set()\n", "")

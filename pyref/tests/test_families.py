"""Every family is captured with its graph, which difftest computes again."""

import json
from collections import Counter

import pytest

from pyref.capture import capture
from pyref.tests.families import HUGGING_FACE, PLAIN, quiet, transformers
from pyref.tests.support import Command


def captured(name, family, difftest: Command, folder):
    """Capture a family, and let difftest check PyTorch's own output.

    difftest refuses a case whose graph does not give the float64 output.
    """
    with quiet():
        case = capture(*family.make(), "family/" + name.lower().replace(",", "").replace(" ", "-"), folder)
    assert json.loads((case / "case.json").read_text())["graph"].keys() == {"sha256"}
    nodes = json.loads((case / "graph.json").read_text())["nodes"]
    count = Counter(node["op"] for node in nodes)
    assert {op: count[op] for op in family.lifted} == dict(family.lifted)
    path = case.relative_to(folder).as_posix()
    output = case / "expected" / "output.npy"
    assert difftest.verdicts("check", path, output, "--fixtures", folder) == {path: "pass"}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_modules(name, difftest, tmp_path):
    captured(name, PLAIN[name], difftest, tmp_path)


@pytest.mark.skipif(transformers is None, reason="transformers is not installed")
@pytest.mark.parametrize("name", HUGGING_FACE)
def test_hugging_face(name, difftest, tmp_path):
    captured(name, HUGGING_FACE[name], difftest, tmp_path)

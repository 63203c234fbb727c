"""The package without PyTorch: judging works, and what needs PyTorch says so."""

import json
import sys

import pytest

import difftest
from commands import run

FUNCTIONS = {
    "capture": 'difftest.capture(None, None, "mine/x")',
    "capture_outputs": 'difftest.capture_outputs(None, None, "mine/x")',
    "capture_submodules": 'difftest.capture_submodules(None, None, "mine/x", "*")',
    "record": "difftest.record(None).__enter__()",
    "serve": "difftest.serve(lambda config: None)",
}
HIDE = "import sys; sys.modules['torch'] = None; import difftest; "


@pytest.mark.parametrize(("name", "call"), FUNCTIONS.items(), ids=FUNCTIONS)
def test_what_needs_pytorch_says_so(name, call):
    done = run(sys.executable, "-c", HIDE + call)
    assert done.stderr.splitlines()[-1] == f"ImportError: difftest.{name} needs PyTorch: pip install torch"


def test_judging_does_not_import_pytorch():
    judge = "difftest.check('seed/causal', [[[0.0] * 64] * 12] * 4); assert sys.modules['torch'] is None"
    done = run(sys.executable, "-c", HIDE + judge)
    assert done.returncode == 0, done.stderr


CHILD = """
import difftest, numpy

def sdpa(query, key, value, *, config, allow=None, bias=None, **unknown):
    if unknown or bias is not None or config["softcap"] or query.shape[-3] != key.shape[-3]:
        raise NotImplementedError("too much")
    scores = query @ key.swapaxes(-2, -1) * config["scale"]
    if allow is not None:
        scores = numpy.where(allow, scores, -numpy.inf)
    weights = numpy.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ value

difftest.serve(sdpa=sdpa, name="mine", version="7")
"""


def test_functions_are_served(tmp_path):
    (tmp_path / "mine.py").write_text(CHILD)
    cases = ["--case", "sdpa/causal", "--case", "sdpa/unmasked", "--case", "sdpa/softcap"]
    command = [difftest.binary(), "--json", *cases, "--", sys.executable, tmp_path / "mine.py"]
    done = run(*command)
    report = json.loads(done.stdout)
    verdicts = {result["case"]: result["verdict"] for result in report["results"]}
    assert verdicts == {"sdpa/causal": "fail", "sdpa/softcap": "skip", "sdpa/unmasked": "pass"}
    assert [cause["id"] for cause in report["causes"]] == ["causal-missing"]
    assert report["subject"].startswith("mine")


def test_serve_takes_modules_or_functions():
    with pytest.raises(TypeError, match="give it alone"):
        difftest.serve(print, sdpa=print)


def test_the_module_runs_the_command():
    command = [sys.executable, "-m", "difftest"]
    assert run(*command, "version").stdout == run(difftest.binary(), "version").stdout
    assert run(*command, "check", "seed/none", "output.npy").returncode == 4


def test_the_wheel_is_typed_and_versioned():
    from importlib import metadata, resources

    assert resources.files("difftest").joinpath("py.typed").is_file()
    done = run(difftest.binary(), "version")
    assert done.stdout.startswith(f"difftest v{metadata.version('difftest')}\n")

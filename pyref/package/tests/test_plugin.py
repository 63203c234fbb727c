"""In pytest a failure is eight lines, and the causes stand at the end of the session."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import difftest
from commands import run

HERE = Path(__file__).parent

# A right and a wrong implementation, each tested on two cases.
SESSION = """
import difftest, numpy, pytest
from numpy_layer import layer

def never(case):
    return layer(case, causal=False)

def always(case):
    return layer(case, causal=True)

@pytest.mark.parametrize("make", [never, always])
@pytest.mark.parametrize("case", difftest.cases("seed/*"))
def test_layer(case, make):
    difftest.assert_matches(case, make(case))

def test_alone():
    assert difftest.check("seed/causal", numpy.zeros((4, 12, 64)))

def test_expected():
    with pytest.raises(AssertionError):
        difftest.assert_matches("sdpa/causal", numpy.zeros((1,)))

@pytest.mark.xfail
def test_known():
    difftest.assert_matches("sdpa/softcap", numpy.zeros((1,)))
"""


def session(
    folder: Path, *arguments: str, source: str = SESSION, **variables: str
) -> subprocess.CompletedProcess:
    """Run pytest as a user does, on a file of tests."""
    (folder / "test_mine.py").write_text(source)
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    command = [sys.executable, "-m", "pytest", "--color=no", f"--basetemp={folder / 'temporary'}"]
    return run(*command, *arguments, cwd=folder, env=environment | {"PYTHONPATH": path} | variables)


def causes(stdout: str) -> list[str]:
    """Return the lines of the plugin's section."""
    lines = stdout.splitlines()
    start = next(place for place, line in enumerate(lines) if "= causes, by difftest =" in line)
    end = next(place for place in range(start + 1, len(lines)) if lines[place].startswith("===="))
    return lines[start + 1 : end]


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_the_causes_of_each_function_stand_at_the_end(workers, tmp_path):
    if workers:
        pytest.importorskip("xdist")
    done = session(tmp_path, *workers)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "3 failed, 3 passed, 1 xfailed" in done.stdout
    lines = causes(done.stdout)
    assert [line for line in lines if line.startswith(("test_mine", "CAUSE"))] == [
        "test_mine.py::test_layer[make=always]: 1 of 2 outputs are wrong",
        "CAUSE causal-added explains the failure and the one pass does not contradict it",
        "test_mine.py::test_layer[make=never]: 1 of 2 outputs are wrong",
        "CAUSE causal-missing explains the failure and the one pass does not contradict",
        "test_mine.py::test_alone: dead: no cause is named",
    ]


def test_a_failure_is_the_line_of_the_test_and_eight_lines(tmp_path):
    done = session(tmp_path, "-k", "never and causal")
    lines = done.stdout.splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("E  "))
    assert lines[place - 1] == ">       difftest.assert_matches(case, make(case))"
    said = [line for line in lines if line.startswith("E  ")]
    assert said[0] == "E       AssertionError: FAIL seed/causal  missing-feature: causal-missing"
    assert len(said) <= 8
    assert "_judge.py" not in done.stdout
    again = said[-1].split("rerun", 1)[1].split()
    assert again[0] == "difftest"
    done = run(difftest.binary(), *again[1:])
    assert "FAIL seed/causal  missing-feature: causal-missing" in done.stdout


def test_a_session_without_failures_says_nothing(tmp_path):
    for arguments in (("-k", "always and causal"), ("-k", "expected or known")):
        done = session(tmp_path, *arguments)
        assert done.returncode == 0, done.stdout
        assert "causes, by difftest" not in done.stdout


TWICE = """
import difftest, pytest
from numpy_layer import layer

@pytest.mark.parametrize("case", difftest.cases("seed/*"))
def test_both(case):
    for causal in (True, False):
        print(difftest.check(case, layer(case, causal=causal)).verdict)
    assert False
"""


def test_outputs_of_two_implementations_are_not_mixed(tmp_path):
    lines = causes(session(tmp_path, source=TWICE).stdout)
    assert [line.split()[1] for line in lines if line.startswith("CAUSE")] == [
        "causal-added",
        "causal-missing",
    ]


def test_a_github_workflow_gets_one_summary_with_the_causes(tmp_path):
    summary = tmp_path / "summary"
    session(tmp_path, "-k", "never", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert summary.read_text().count("causal-missing") >= 1
    done = session(tmp_path, "-k", "never", GITHUB_ACTIONS="true")
    assert any(line.startswith("::error") and "causal-missing" in line for line in done.stdout.splitlines())


def test_plugins_may_be_left_out(tmp_path):
    done = session(tmp_path, "-k", "never", "-p", "no:difftest", "-p", "no:cacheprovider")
    assert "AssertionError: FAIL seed/causal" in done.stdout
    assert "causes, by difftest" not in done.stdout
    assert "rerun" not in done.stdout

"""One mistake has the same causes at every entrance.

The entrances are the command with a program that serves all cases, the command with a program for
each case, outputs from elsewhere, go test, pytest, and a workflow of GitHub. The mistakes are
planted twice, in NumPy and in Go.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import difftest
from commands import run

ROOT = Path(__file__).resolve().parents[3]
CASES = ("sdpa/causal", "sdpa/decode", "sdpa/scale", "sdpa/unmasked")
SELECTED = [word for case in CASES for word in ("--case", case)]

# The causes that each mistake must have, and how many failures each explains. "squared" is unknown.
MISTAKES = {
    "causal-missing": {"causal-missing": 1},
    "scale": {"scale": 4},
    "squared": {},
}

PROGRAM = '''
"""Attention with a mistake: python mine.py MISTAKE."""
import os
import sys

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # small arrays need no threads

import difftest
import numpy as np


def attention(query, key, value, config, mistake):
    factor = 1.37 if mistake == "scale" else 1
    scores = query @ key.swapaxes(-1, -2) * np.float32(factor * config["scale"])
    if config["causality"] != "none" and mistake != "causal-missing":
        last = config["first_position"] + np.arange(query.shape[-2])
        scores = np.where(np.arange(key.shape[-2]) > last[:, None], -np.inf, scores)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    if mistake == "squared":
        weights = weights * weights + np.float32(0.01) * np.cos(query[..., :1])
    return weights @ value


if __name__ == "__main__":
    mistake = sys.argv[1]
    difftest.serve(sdpa=lambda query, key, value, config: attention(query, key, value, config, mistake))
'''

TESTS = """
import difftest, pytest
from mine import attention

@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("case", difftest.cases(*CASES), ids=str)
def test_attention(case, mistake):
    difftest.assert_matches(case, attention(**case.inputs, config=case.config, mistake=mistake))
"""

GO = """package mine

import (
	"math"
	"testing"

	"github.com/difftest/difftest/attention"
	"github.com/difftest/difftest/fixtures"
	"github.com/difftest/difftest/harness"
)

func Test(t *testing.T) {
	for _, mistake := range []string{MISTAKES} {
		t.Run(mistake, func(t *testing.T) {
			mine := harness.Subject{SDPA: wrong(mistake)}
			harness.Run(t, fixtures.FS, mine, harness.Select(CASES))
		})
	}
}

type function = func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error)

func wrong(mistake string) function {
	return func(q, k, v *attention.Tensor, o attention.SDPAOptions) (*attention.Tensor, error) {
		n := len(q.Shape)
		queries, keys, width := q.Shape[n-2], k.Shape[n-2], q.Shape[n-1]
		scale := o.Scale
		if scale == 0 {
			scale = 1 / math.Sqrt(float64(width))
		}
		if mistake == "scale" {
			scale *= 1.37
		}
		first := 0
		if o.Causality == attention.LowerRight {
			first = keys - queries
		}
		out := attention.NewTensor(append(append([]int{}, q.Shape[:n-1]...), width)...)
		for row := range len(q.Data) / width {
			block, i := row/queries, row%queries
			query := q.Data[row*width:][:width]
			weights, sum, hidden := make([]float64, keys), 0.0, o.Causality != attention.NotCausal
			for j := range weights {
				if hidden && mistake != "causal-missing" && j > first+i {
					continue
				}
				for e, x := range query {
					weights[j] += float64(x) * float64(k.Data[(block*keys+j)*width+e])
				}
				weights[j] = math.Exp(weights[j] * scale)
				sum += weights[j]
			}
			for j, w := range weights {
				w /= sum
				if mistake == "squared" {
					w = w*w + 0.01*math.Cos(float64(query[0]))
				}
				for e := range width {
					out.Data[row*width+e] += float32(w) * v.Data[(block*keys+j)*width+e]
				}
			}
		}
		return out, nil
	}
}
"""

MODULE = """module example.com/mine

go 1.26

require github.com/difftest/difftest v0.0.0

replace github.com/difftest/difftest => {root}
"""


def told(text: str) -> list[str]:
    """Return the lines that explain causes, wherever an entrance prints them."""
    lines: list[str] = []
    inside = -1  # the indentation of the cause
    for line in text.splitlines():
        own = len(line) - len(line.lstrip())
        if line.lstrip().startswith("CAUSE "):
            inside = own
        elif line.strip() and own < inside + 2:
            inside = -1
        if inside >= 0 and line.strip():
            lines.append(line[inside:])
    return lines


def short(lines: list[str]) -> dict[str, int]:
    """Return the number of failures that each cause explains."""
    text = " ".join(line.strip() for line in lines)
    found = re.findall(r"CAUSE (\S+) explains (?:all )?(?:the failure|(\d+) )", text)
    return {name: int(number or 1) for name, number in found}


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """Return the folder with the program."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine.py").write_text(PROGRAM)
    return folder


def command(*arguments: str | Path, **variables: str) -> str:
    """Run difftest as outside of a workflow, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    done = run(difftest.binary(), *arguments, env=environment | variables)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def binary(mine) -> dict[str, list[str]]:
    """Return what the command tells of each mistake. Every other entrance is held against it."""
    return {mistake: told(command(*SELECTED, *program(mine, mistake))) for mistake in MISTAKES}


def program(mine: Path, mistake: str) -> list[str | Path]:
    """Return the end of the command line."""
    return ["--", sys.executable, mine / "mine.py", mistake]


def test_the_command_names_the_mistakes(binary):
    assert {mistake: short(lines) for mistake, lines in binary.items()} == MISTAKES


def test_a_program_for_each_case(mine, binary):
    mistake = "causal-missing"
    assert told(command(*SELECTED, "--once", *program(mine, mistake))) == binary[mistake]


def test_outputs_from_elsewhere(mine, binary, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(mine)
    from mine import attention

    for mistake in MISTAKES:
        for case in difftest.cases(*CASES):
            output = attention(**case.inputs, config=case.config, mistake=mistake)
            difftest.save_output(tmp_path / mistake / case.name, output)
        assert told(command("check", tmp_path / mistake, *SELECTED)) == binary[mistake]


def test_pytest(mine, binary):
    source = TESTS.replace("MISTAKES", repr(list(MISTAKES))).replace("CASES", repr(CASES))
    (mine / "test_mine.py").write_text(source)
    path = os.pathsep.join(filter(None, [str(mine), os.environ.get("PYTHONPATH")]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    arguments = ["-m", "pytest", "--color=no", "-p", "no:cacheprovider", f"--basetemp={mine / 'pytest'}"]
    done = run(sys.executable, *arguments, mine, env=environment | {"PYTHONPATH": path})
    section = done.stdout.split("= causes, by difftest =")[1]
    parts = re.split(r"^.*test_mine\.py::test_attention\[mistake='(.*)'\].*$", section, flags=re.MULTILINE)
    found = {name: told(part) for name, part in zip(parts[1::2], parts[2::2], strict=True)}
    assert found == binary


def test_go_test(binary, tmp_path):
    (tmp_path / "go.mod").write_text(MODULE.format(root=ROOT.as_posix()))
    shutil.copy(ROOT / "go.sum", tmp_path)
    names, cases = (", ".join(f'"{name}"' for name in all_) for all_ in (MISTAKES, CASES))
    (tmp_path / "mine_test.go").write_text(GO.replace("MISTAKES", names).replace("CASES", cases))
    environment = os.environ | {"GOFLAGS": "-mod=mod", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    done = run(go(environment), "test", ".", cwd=tmp_path, env=environment)
    assert done.returncode == 1, done.stdout + done.stderr
    parts = re.split(r"^ *--- FAIL: Test/(\S+) .*$", done.stdout, flags=re.MULTILINE)
    found: dict[str, list[str]] = {mistake: [] for mistake in MISTAKES}
    for name, part in zip(parts[1::2], parts[2::2], strict=True):
        found[name.split("/")[0]] += told(part)
    assert found == binary


def go(environment: dict[str, str]) -> str:
    """Return the path of go. The test is skipped if it is not there, or too old for difftest."""
    path = shutil.which("go")
    if path is None:
        pytest.skip("go is not installed")
    found = subprocess.run([path, "list", "."], cwd=ROOT / "harness", env=environment, capture_output=True)
    if found.returncode != 0:
        pytest.skip("this go is older than go.mod says")
    return path


def test_a_workflow(mine, binary, tmp_path):
    """The action's script runs the command, and difftest writes annotations and the summary."""
    if sys.platform == "win32":
        pytest.skip("the words of a command are the words of a Unix shell")
    for mistake, lines in binary.items():
        summary = tmp_path / f"{mistake}.md"
        variables = {
            "PATH": f"{difftest.binary().parent}{os.pathsep}{os.environ['PATH']}",
            "COMMAND": f"'{sys.executable}' '{mine / 'mine.py'}' {mistake}",
            "CASES": "\n".join(CASES),
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(summary),
        }
        script = ROOT / ".github" / "actions" / "difftest" / "run"
        done = run("bash", script, cwd=tmp_path, env=os.environ | variables)
        assert done.returncode == 1, done.stdout + done.stderr
        assert told(done.stdout) == lines
        annotations = dict(re.findall(r"^::error title=difftest%3A (\S+)::(.*)$", done.stderr, re.MULTILINE))
        causes = {name: annotations.pop(name, "") for name in MISTAKES[mistake]}
        for name, failures in MISTAKES[mistake].items():
            assert f"explains {failures} failure" in causes[name]
            assert name in summary.read_text()
        assert set(annotations) <= set(CASES)

"""difftest passes the examples, names the mistakes in them, and prints what the pages show."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pyref.tests.support import ROOT, Command, needs

EXAMPLES = ROOT / "pyref/examples"
SDPA = sorted(
    folder.parent.relative_to(ROOT / "fixtures").as_posix()
    for folder in ROOT.glob("fixtures/sdpa/*/case.json")
)
SEED = ["layouts/seed-parallel", "seed/causal", "seed/unmasked"]


def seed(difftest: Command, *switches: str) -> dict:
    """Return the report on the seed layer."""
    return difftest.report("--case", "seed", "--", sys.executable, EXAMPLES / "seed_layer.py", *switches)


def outcome(report: dict) -> dict[str, tuple]:
    """Return the verdict, the class and the named mistakes of every case."""
    return {
        case["case"]: (case["verdict"], case["class"], [match["id"] for match in case["matches"]])
        for case in report["results"]
    }


def test_the_seed_layer_passes(difftest):
    assert outcome(seed(difftest)) == dict.fromkeys(SEED, ("pass", "match", []))


def test_a_missing_mask_is_named_where_there_is_one(difftest):
    report = seed(difftest, "--mask-missing")
    missing = ("fail", "missing-feature", ["causal-missing"])
    assert outcome(report) == {**dict.fromkeys(SEED, missing), "seed/unmasked": ("pass", "match", [])}
    assert [cause["id"] for cause in report["causes"]] == ["causal-missing"]


@pytest.mark.parametrize("switches", [[], ["--mask-missing"]], ids=["alone", "with the mask missing"])
def test_a_load_that_never_happened_is_said_first(difftest, switches):
    for case in seed(difftest, "--load-overwritten", *switches)["results"]:
        assert (case["verdict"], case["class"]) == ("fail", "wrong-weights")
        assert case["comparison"]["gain"] > 100
        assert any("never loaded" in reason for reason in case["reasons"])


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program compiled from sdpa.cpp."""
    program = tmp_path_factory.mktemp("compiled") / "sdpa"
    compile_cpp(EXAMPLES / "sdpa.cpp", program)
    return program


def compile_cpp(source: Path, program: Path) -> None:
    """Compile a program; the test is skipped without the compiler or the header."""
    header = "#include <nlohmann/json.hpp>"
    found = subprocess.run(
        [needs("g++"), "-E", "-x", "c++", "-"], input=header, capture_output=True, text=True
    )
    if found.returncode != 0:
        pytest.skip("nlohmann/json is not installed")
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(["g++", *flags, "-o", program, source], check=True)


def expected(skipped: tuple[str, ...]) -> dict[str, str]:
    """Return the verdicts on sdpa/**: some precisions and inputs are skipped, all others pass."""
    more = {"past": "past_key", "first-positions": "first_positions"}
    more |= {"key-lengths-": "first_positions", "key-lengths": "key_lengths"}
    reasons = {p: f"no arrays of {p}" for p in skipped} | {
        word: f"no {name} yet" for word, name in more.items()
    }
    skips = {name: [f"skip: {reasons[word]}" for word in reasons if word in name] for name in SDPA}
    return {name: next(iter(found), "pass") for name, found in skips.items()}


def test_javascript_passes_all_that_it_does_not_skip(difftest):
    verdicts = difftest.verdicts("--case", "sdpa/**", "--", needs("node"), EXAMPLES / "sdpa.mjs")
    assert verdicts == expected(("bfloat16", "float16"))


def test_cpp_passes_all_that_it_does_not_skip(difftest, compiled):
    verdicts = difftest.verdicts("--case", "sdpa/**", "--once", "--", compiled)
    assert verdicts == expected(("bfloat16", "float16", "float64"))


@pytest.fixture(scope="module")
def rust(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program compiled from sdpa.rs."""
    program = tmp_path_factory.mktemp("rust") / "sdpa"
    flags = ["--edition", "2021", "-O", "-D", "warnings"]
    subprocess.run([needs("rustc"), *flags, "-o", program, EXAMPLES / "sdpa.rs"], check=True)
    return program


def test_rust_passes_all_that_it_does_not_skip(difftest, rust):
    verdicts = difftest.verdicts("--case", "sdpa/**", "--once", "--", rust)
    assert verdicts == expected(("bfloat16", "float16", "float64"))


def test_a_compiled_program_needs_once(difftest, rust):
    printed = difftest.printed("--case", "sdpa/causal", "--", rust)
    assert "hint: a program that computes one case and ends needs --once" in printed


def test_cpp_skips_what_is_no_sdpa(difftest, compiled):
    cases = ["--case", "sdpa/causal", "--case", "mha/causal"]
    assert difftest.verdicts(*cases, "--once", "--", compiled) == {
        "mha/causal": "skip: multi_head_attention is not offered",
        "sdpa/causal": "pass",
    }


def torch_sdpa(difftest: Command, *switches: str) -> dict[str, str]:
    """Return the verdicts on PyTorch's kernel, with the reasons of what it skips."""
    command = ["--case", "sdpa/**", "--", sys.executable, EXAMPLES / "torch_sdpa.py", *switches]
    return difftest.verdicts(*command, PYTHONPATH=str(ROOT / "pyref"))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("backend", "least"), [("math", 46), ("flash", 24)])
def test_the_kernels_of_pytorch_are_within_the_noise(difftest, backend, dtype, least):
    verdicts = torch_sdpa(difftest, "--backend", backend, "--dtype", dtype)
    assert {verdict.partition(":")[0] for verdict in verdicts.values()} <= {"pass", "skip"}
    assert list(verdicts.values()).count("pass") >= least


def test_a_kernel_that_refuses_a_case_gives_its_reason(difftest):
    verdicts = torch_sdpa(difftest, "--backend", "flash")
    assert "same last dimension" in verdicts["sdpa/narrow-values"]


@pytest.mark.parametrize("backend", ["efficient", "cudnn"])
def test_a_cpu_has_no_other_kernels(difftest, backend):
    command = [difftest.program, "--case", "sdpa/causal", "--", sys.executable, EXAMPLES / "torch_sdpa.py"]
    path = {**os.environ, "PYTHONPATH": str(ROOT / "pyref")}
    done = subprocess.run([*command, "--backend", backend], env=path, capture_output=True, text=True)
    assert f"{backend}: " in done.stdout
    assert "every case was skipped" in done.stderr


def test_tf32_needs_a_device_that_has_it():
    command = [sys.executable, EXAMPLES / "torch_sdpa.py", "--dtype", "tf32"]
    path = {**os.environ, "PYTHONPATH": str(ROOT / "pyref")}
    done = subprocess.run(command, env=path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "TensorFloat-32 needs --device cuda" in done.stderr


MISTAKES = [
    ("allow && !masked(", "allow && masked(", "sdpa/bool-mask", "mask-inverted"),
    ("distance > 0)", "false)", "sdpa/causal", "causal-missing"),
    ("config.scale * dot", "dot", "sdpa/unmasked", "scale-missing"),
    (">= window", "> window", "sdpa/window", "window-one-wide"),
]


@pytest.mark.parametrize(("right", "wrong", "case", "name"), MISTAKES)
def test_a_mistake_in_javascript_is_named(difftest, tmp_path, right, wrong, case, name):
    text = (EXAMPLES / "sdpa.mjs").read_text()
    assert text.count(right) == 1
    program = tmp_path / "wrong.mjs"
    program.write_text(text.replace(right, wrong))
    assert difftest.verdicts("--case", case, "--", needs("node"), program) == {case: f"fail: {name}"}


PAGE = (EXAMPLES / "README.md").read_text()
RUN = re.compile(r"^\$ difftest (.* -- .*)\n((?:(?!```|\$ ).*\n)*)", re.MULTILINE)
SHOWN = RUN.findall(PAGE) + RUN.findall((ROOT / "README.md").read_text())


@pytest.mark.parametrize(("command", "shown"), SHOWN)
def test_the_pages_show_what_is_printed(difftest, command, shown):
    first = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    printed = difftest.printed("--no-duration", *shlex.split(command), **first)
    for part in filter(None, shown.split("...\n")):
        assert part in printed


def test_the_pages_show_all_runs():
    assert len(SHOWN) == 6


def test_ten_lines_of_python_are_a_subject(difftest, tmp_path):
    (text,) = re.findall(r"```python\n# mine.py\n([^`]*)```", PAGE)
    (tmp_path / "mine.py").write_text(text)
    command = ["--case", "sdpa/**", "--", sys.executable, tmp_path / "mine.py"]
    verdicts = difftest.verdicts(*command, PYTHONPATH=str(ROOT / "pyref"))
    assert {verdict.partition(":")[0] for verdict in verdicts.values()} == {"pass", "skip"}
    assert (verdicts["sdpa/causal"], verdicts["sdpa/decode"], verdicts["sdpa/scale"]) == ("pass",) * 3
    assert verdicts["sdpa/gqa"] == "skip: the child does not offer grouped-heads"

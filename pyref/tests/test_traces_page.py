"""Every function on harness/TRACES.md writes a file that NumPy and difftest read."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pyref.tests.support import ROOT, needs

SUITE = ROOT / "harness" / "internal" / "edits" / "testdata" / "models"
PATH = "layers.0.mlp"
VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7


def snippet(language: str) -> str:
    """Return the first block in a language."""
    page = (ROOT / "harness/TRACES.md").read_text()
    return re.search(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE).group(1)


def run(folder: Path, *command: object) -> None:
    subprocess.run([str(part) for part in command], cwd=folder, check=True)


def literal() -> str:
    """Return the values as the elements of a list."""
    return ", ".join(f"{value / 7!r}" for value in range(24))


def python(folder: Path) -> None:
    code = snippet("python") + f'\n\ntrace("{PATH}", np.array([{literal()}]).reshape(2, 3, 4))\n'
    (folder / "main.py").write_text(code)
    run(folder, sys.executable, "main.py")


def cpp(folder: Path) -> None:
    code = snippet("cpp") + f'\nint main() {{ trace("{PATH}", {{2, 3, 4}}, std::vector<float>({{\n'
    code += ", ".join(f"float({value})" for value in literal().split(", ")) + "})); }\n"
    (folder / "main.cpp").write_text(code)
    run(
        folder,
        needs("g++"),
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-o",
        "main",
        "main.cpp",
    )
    run(folder, folder / "main")


def rust(folder: Path) -> None:
    code = (
        snippet("rust") + f'\nfn main() {{\n    trace("{PATH}", &[2, 3, 4], &[{literal()}]).unwrap();\n}}\n'
    )
    (folder / "main.rs").write_text(code)
    run(folder, needs("rustc"), "-D", "warnings", "main.rs")
    run(folder, folder / "main")


def javascript(folder: Path) -> None:
    (folder / "main.mjs").write_text(snippet("js") + f'\ntrace("{PATH}", [2, 3, 4], [{literal()}]);\n')
    run(folder, needs("node"), "main.mjs")


def go(folder: Path) -> None:
    packages = "".join(f'\t"{name}"\n' for name in ("bytes", "encoding/binary", "errors", "fmt", "os"))
    call = f'trace("{PATH}", []int{{2, 3, 4}}, []float32{{{literal()}}})'
    main = f"\nfunc main() {{\n\tif {call} != nil {{\n\t\tos.Exit(1)\n\t}}\n}}\n"
    (folder / "main.go").write_text(f"package main\n\nimport (\n{packages})\n\n{snippet('go')}{main}")
    run(folder, needs("go"), "run", "main.go")


@pytest.mark.parametrize("write", [python, cpp, rust, javascript, go], ids=lambda write: write.__name__)
def test_a_function_of_the_page_writes_a_value(difftest, tmp_path, write: Callable):
    case = tmp_path / "outputs" / "llama"
    case.mkdir(parents=True)
    write(case)
    written = np.load(case / "output" / f"{PATH}.npy")
    assert written.dtype == np.float32
    np.testing.assert_array_equal(written, VALUES)
    trace = judged(difftest, case)
    assert trace["modules"][0]["path"] == PATH
    assert trace["modules"][0]["problem"].startswith("shape (2, 3, 4), want (2, 7, 24)")


def judged(difftest, case: Path) -> dict:
    """Return the trace beside the right output."""
    output = np.load(SUITE / "llama" / "expected" / "output.npy")
    np.save(case / "output.npy", output)
    files = ("llama", case / "output.npy", "--trace", case / "output", "--fixtures", SUITE)
    return difftest.report("check", *files)["results"][0]["trace"]

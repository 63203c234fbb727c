"""The output of `--check`, and its exit status."""

import argparse
import shutil
from pathlib import Path

import pytest

from pyref import zoo
from pyref.__main__ import check
from pyref.build import suite
from pyref.tests.support import contents


@pytest.fixture
def checked(made, monkeypatch, capsys):
    """Return a function that checks a suite against `made`, and returns the status and the lines.

    Making the cases takes more than a minute. `.ci/run` makes them again.
    """

    def copy(folder: Path) -> None:
        shutil.copytree(made, folder, dirs_exist_ok=True)

    monkeypatch.setattr(suite, "build", lambda _, folder: copy(folder))
    monkeypatch.setattr(zoo, "write", lambda _: None)

    def run(folder: Path) -> tuple[int, list[str]]:
        status = check(argparse.Namespace(suite=folder))
        return status, capsys.readouterr().out.splitlines()

    return run


def test_a_check_of_the_same_suite_counts_its_files_and_exits_0(made, checked):
    before = contents(made)
    assert checked(made) == (0, [f"{made}: {len(before)} identical"])
    assert contents(made) == before


def test_a_check_names_every_difference_and_exits_1(made, checked, tmp_path):
    folder = shutil.copytree(made, tmp_path / "fixtures")
    output = folder / "mha/causal/expected/output.npy"
    output.write_bytes(output.read_bytes()[:-1] + bytes([output.read_bytes()[-1] ^ 0x80]))
    (folder / "mha/causal/extra.npy").write_bytes(b"")
    (folder / "seed/causal/case.json").unlink()
    before = contents(folder)
    assert checked(folder) == (
        1,
        [
            "differs  mha/causal/expected/output.npy",
            "gone     mha/causal/extra.npy",
            "new      seed/causal/case.json",
            f"{folder}: 1 differs, 1 gone, {len(contents(made)) - 2} identical, 1 new",
            f"to see how far: pyref/regenerate --into DIR, then difftest review {folder} DIR",
        ],
    )
    assert contents(folder) == before


def test_files_that_are_missing_alone_need_no_numbers(made, checked, tmp_path):
    folder = shutil.copytree(made, tmp_path / "fixtures")
    (folder / "seed/causal/case.json").unlink()
    lines = ["new      seed/causal/case.json", f"{folder}: {len(contents(folder))} identical, 1 new"]
    assert checked(folder) == (1, lines)

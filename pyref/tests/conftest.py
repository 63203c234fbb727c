"""Fixtures that all tests share: the suite, and the command difftest."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pyref.tests.support import FIXTURES, ROOT, Command, needs


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the committed suite, which `.ci/run` makes again. No test writes to it."""
    folder = tmp_path_factory.mktemp("made") / "fixtures"
    return shutil.copytree(FIXTURES, folder, ignore=shutil.ignore_patterns("*.go"))


@pytest.fixture(scope="session")
def difftest(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Return the command, built from this tree."""
    program = tmp_path_factory.mktemp("command") / "difftest"
    subprocess.run([needs("go"), "build", "-o", str(program), "./cmd/difftest"], cwd=ROOT, check=True)
    return Command(program)

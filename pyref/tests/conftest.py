"""Fixtures that all tests share: the suite, and the command difftest."""

import subprocess
from pathlib import Path

import pytest

from pyref.tests.support import FIXTURES, ROOT, Command, needs


@pytest.fixture(scope="session")
def made() -> Path:
    """Return the committed suite, which `.ci/run` makes again. No test writes to it."""
    return FIXTURES


@pytest.fixture(scope="session")
def difftest(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Return the command, built from this tree."""
    program = tmp_path_factory.mktemp("command") / "difftest"
    subprocess.run([needs("go"), "build", "-o", str(program), "./cmd/difftest"], cwd=ROOT, check=True)
    return Command(program)

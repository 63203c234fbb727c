"""Fixtures that are made once for all tests: the suite, and the command difftest."""

import subprocess
from pathlib import Path

import pytest

from pyref import zoo
from pyref.build import suite
from pyref.table import CASES
from pyref.tests.support import ROOT, Command, needs


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a suite that this process made. No test writes to it."""
    folder = tmp_path_factory.mktemp("made") / "fixtures"
    suite.generate(CASES, folder, zoo.write)
    return folder


@pytest.fixture(scope="session")
def difftest(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Return the command, built from this tree."""
    program = tmp_path_factory.mktemp("command") / "difftest"
    subprocess.run([needs("go"), "build", "-o", str(program), "./cmd/difftest"], cwd=ROOT, check=True)
    return Command(program)

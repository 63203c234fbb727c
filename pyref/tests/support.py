"""What several test files need: where things are, how to run pyref as a user does, and folders as values."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyref.case import Case
from pyref.table import CASES

ROOT = Path(__file__).resolve().parents[2]
REGENERATE = ROOT / "pyref" / "regenerate"
FIXTURES = ROOT / "fixtures"

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def named(name: str) -> Case:
    """Return a case by its name."""
    return next(case for case in CASES if case.name == name)


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run this Python at the root of the repository with some variables more, and return what it printed."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder by its relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def record(suite: Path, name: str) -> dict:
    """Return a case's case.json."""
    return json.loads((suite / name / "case.json").read_text())

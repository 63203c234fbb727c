"""Helpers of several test files: paths, commands as a user runs them, and folders as values."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pyref.build.case import Case
from pyref.table import CASES

ROOT = Path(__file__).resolve().parents[2]
REGENERATE = ROOT / "pyref" / "regenerate"
FIXTURES = ROOT / "fixtures"

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_attention = pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.operation.name != "rotary_embedding"],
    ids=lambda case: case.name,
)


def named(name: str) -> Case:
    """Return a case by its name."""
    return next(case for case in CASES if case.name == name)


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run this Python at the root of the repository with additional variables."""
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


def needs(program: str) -> str:
    """Return the path of a program, or skip the test without it; .ci/run installs it."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


@dataclass(frozen=True)
class Command:
    """The command difftest."""

    program: Path

    def printed(self, *arguments: str | Path, **variables: str) -> str:
        """Run difftest at the root of the repository, and return its stdout."""
        result = subprocess.run(
            [self.program, *arguments], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True
        )
        assert result.returncode in (0, 1), result.stderr
        return result.stdout

    def report(self, *arguments: str | Path, **variables: str) -> dict:
        """Run difftest and return its report."""
        return json.loads(self.printed("--json", *arguments, **variables))

    def verdicts(self, *arguments: str | Path, **variables: str) -> dict[str, str]:
        """Run difftest and return each verdict: "pass", "skip: REASON", "fail: causal-missing"."""
        return {case["case"]: verdict(case) for case in self.report(*arguments, **variables)["results"]}


def verdict(case: dict) -> str:
    """Return a verdict with its reason, its mistakes, or its class if no mistake is named."""
    names = " or ".join(match["id"] for match in case["matches"]) or case.get("class")
    details = {"skip": case.get("error"), "error": case.get("error"), "fail": names}
    word = case["verdict"]
    return f"{word}: {details[word].removeprefix(NOT_OFFERED)}" if word in details else word


NOT_OFFERED = "the subject does not offer this operation: "

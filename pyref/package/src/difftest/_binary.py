"""The command difftest, which comes with this package, as a function."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

NAME = "difftest.exe" if sys.platform == "win32" else "difftest"


# Variables that tell a test of Bazel its share of the work, and where to report.
CI = {
    "TESTBRIDGE_TEST_ONLY",
    "TEST_SHARD_INDEX",
    "TEST_SHARD_STATUS_FILE",
    "TEST_TOTAL_SHARDS",
    "XML_OUTPUT_FILE",
}


class DifftestError(Exception):
    """The command could not do what was asked: an unknown case, a broken file, wrong usage.

    The text is the command's own. `status` is its exit status, as the README of difftest lists
    them.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Finished:
    """The exit status and the output of the command."""

    status: int
    stdout: str
    stderr: str


@cache
def binary() -> Path:
    """Return the path of the command; DifftestError if the installation has lost it."""
    for path in candidates():
        if path.is_file():
            return path
    raise DifftestError(f"the command {NAME} is not where pip installed it: install difftest again", 3)


def candidates() -> list[Path]:
    """Return where the command may be: as the installer recorded it, or below pip's --target."""
    recorded = metadata.files("difftest") or []
    below = Path(__file__).resolve().parents[1]
    return [
        *(Path(str(file.locate())).resolve() for file in recorded if file.name == NAME),
        below / "bin" / NAME,
        below / "Scripts" / NAME,
    ]


def run(arguments: Sequence[str | Path], *, reports_to_github: bool = False) -> Finished:
    """Run the command, and return what it printed.

    The command obeys variables of GitHub's and Bazel's: it adds to the summary of a step, or judges
    its share of the cases. They are about the program that calls difftest here. Only the run at the
    end of a session reports to GitHub.
    """
    hidden = CI if reports_to_github else {*CI, "GITHUB_ACTIONS"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [binary(), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def demand(arguments: Sequence[str | Path]) -> str:
    """Return what the command printed; DifftestError if it failed."""
    done = run(arguments)
    if done.status != 0:
        raise DifftestError(message(done.stderr), done.status)
    return done.stdout


def message(stderr: str) -> str:
    """Return the last words of the command, without its name."""
    return stderr.strip().removeprefix("difftest: ")

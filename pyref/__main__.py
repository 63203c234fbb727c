"""Regenerate the suite, or check that regenerating would change nothing. `pyref/regenerate` is the way in."""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from pyref import drift, suite
from pyref.table import CASES


def main() -> int:
    """Run one command and return its exit code: 1 if a check found a difference, or on any error."""
    parser = argparse.ArgumentParser(prog="python -m pyref")
    parser.add_argument("command", choices=["generate", "check"])
    parser.add_argument("suite", type=Path)
    arguments = parser.parse_args()
    command = {"generate": generate, "check": check}[arguments.command]
    try:
        return command(arguments.suite)
    except (OSError, ValueError) as error:
        print(f"pyref: {error}", file=sys.stderr)
        return 1


def generate(target: Path) -> int:
    """Regenerate the suite in place."""
    suite.generate(CASES, target)
    print(f"{target}: {len(CASES)} cases")
    return 0


def check(committed: Path) -> int:
    """Regenerate into a scratch folder, name every file whose bytes are not the same, and count them all."""
    with tempfile.TemporaryDirectory() as folder:
        suite.build(CASES, Path(folder))
        outcomes = drift.compare(committed, Path(folder), suite.groups(CASES))
    for file, outcome in outcomes.items():
        if outcome != "identical":
            print(f"{outcome:<7}  {file}")
    kinds = Counter(outcomes.values())
    print(f"{committed}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    if kinds["differs"]:
        print(f"by how much: pyref/regenerate --into DIR, then difftest review {committed} DIR")
    return 0 if set(kinds) == {"identical"} else 1


sys.exit(main())

"""A regeneration replaces the suite whole or not at all, and keeps all other files."""

import shutil
import signal
from pathlib import Path

import pytest

from pyref import crosscheck, zoo
from pyref.build import case_folder, suite
from pyref.build.case import Case
from pyref.table import CASES
from pyref.tests.support import contents, python


@pytest.fixture
def old(made, tmp_path) -> Path:
    """Return a suite that a regeneration would change, with other people's files in it."""
    folder = shutil.copytree(made, tmp_path / "fixtures")
    (folder / "mha/causal/expected/output.npy").write_bytes(b"old")
    (folder / "mha/removed-case").mkdir()
    (folder / "mha/removed-case/case.json").write_text("{}")
    (folder / "fixtures.go").write_text("package fixtures\n")
    (folder / "other").mkdir()
    (folder / "other/data.txt").write_text("kept")
    return folder


def test_old_cases_go_and_other_peoples_files_stay(old, made):
    suite.generate(CASES, old)
    assert contents(old) == {
        **contents(made),
        "fixtures.go": b"package fixtures\n",
        "other/data.txt": b"kept",
    }
    assert list(old.parent.iterdir()) == [old]


def test_a_suite_is_made_where_there_was_none(made, tmp_path):
    def copied(folder: Path) -> None:
        for group in zoo.GROUPS:
            shutil.copytree(made / group, folder / group)

    suite.generate(CASES, tmp_path / "deep/er/fixtures", copied)
    assert contents(tmp_path / "deep/er/fixtures") == contents(made)


# A run that kills itself: after some cases, just before the new suite is put in place, between two
# renames, or just after, before the old suite is deleted.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from pyref import crosscheck
from pyref.build import atomic_replace, suite
from pyref.table import CASES

moment, target = sys.argv[1], Path(sys.argv[2])

def after(count, function):
    calls = []
    def counted(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **keywords)
    return counted

match moment:
    case "half way":
        crosscheck.verify = after(8, crosscheck.verify)
    case "before":
        suite.put_in_place = after(1, suite.put_in_place)
    case "between":
        atomic_replace.exchange = lambda first, second: False
        Path.rename = after(2, Path.rename)
    case "after":
        # The first two calls remove the leftovers of older runs.
        atomic_replace.shutil.rmtree = after(3, shutil.rmtree)
suite.generate(CASES, target)
"""


def killed(moment: str, target: Path) -> None:
    """Regenerate `target` in a process that kills itself at `moment`."""
    result = python("-c", KILLED, moment, str(target))
    assert result.returncode == -signal.SIGKILL, result.stderr


@pytest.mark.parametrize(("moment", "cases"), [("half way", 8), ("before", len(CASES))])
def test_a_killed_run_leaves_the_suite_as_it_was(moment, cases, old, made):
    before = contents(old)
    killed(moment, old)
    assert contents(old) == before
    made_by_then = (old.parent / ".fixtures-new").glob("*/*/case.json")
    assert len([case for case in made_by_then if case.parts[-3] not in zoo.GROUPS]) == cases
    suite.generate(CASES, old)
    assert list(old.parent.iterdir()) == [old]


def test_a_run_killed_while_it_deletes_the_old_suite_leaves_the_new_one(old, made):
    killed("after", old)
    assert contents(old).items() >= contents(made).items()
    assert (old.parent / ".fixtures-new/mha/removed-case").exists()
    suite.generate(CASES, old)
    assert list(old.parent.iterdir()) == [old]


def test_a_run_killed_between_two_renames_is_undone_by_the_next(old):
    before = contents(old)
    killed("between", old)
    assert not old.exists()
    with suite.scratch(old):
        assert contents(old) == before


def test_a_failing_run_leaves_the_suite_as_it_was(old, monkeypatch):
    before = contents(old)
    monkeypatch.setattr(case_folder, "dump", failing_on("seed/causal", case_folder.dump))
    with pytest.raises(OSError, match="disk full"):
        suite.generate(CASES, old)
    assert contents(old) == before
    assert list(old.parent.iterdir()) == [old]


def failing_on(name: str, dump):
    """Return `case_folder.dump` with a failure at one case."""

    def wrapped(value: dict, *rest: str) -> str:
        if isinstance(value, dict) and value.get("name") == name:
            raise OSError("disk full")
        return dump(value, *rest)

    return wrapped


def test_a_cross_check_that_disagrees_stops_the_run(old, monkeypatch):
    before, compute = contents(old), crosscheck.compute
    monkeypatch.setattr(
        crosscheck, "compute", lambda *arguments: {"output": compute(*arguments)["output"] * (1 + 2e-12)}
    )
    with pytest.raises(ValueError, match=f"^{CASES[0].name}: pytorch's float64 result is 2.0e-12 away"):
        suite.generate(CASES, old)
    assert contents(old) == before


def test_two_runs_at_once_are_refused(tmp_path):
    with (
        suite.scratch(tmp_path / "fixtures"),
        pytest.raises(BlockingIOError, match="another regeneration is running"),
        suite.scratch(tmp_path / "fixtures"),
    ):
        pass


def test_a_case_moves_no_other(made, tmp_path):
    last = CASES[-1]
    added = Case("seed/added", "One row more.", last.operation)
    suite.build((added, last), tmp_path)
    assert contents(tmp_path / last.name) == contents(made / last.name)
    assert contents(tmp_path / added.name) != contents(made / last.name)

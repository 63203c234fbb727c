"""Folders change places whole, with and without the system call that does it in one step."""

import pytest

from pyref import exchange
from pyref.tests.support import contents


@pytest.fixture
def folders(tmp_path):
    """Return a finished folder and the target it replaces."""
    for name in ("finished", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    return tmp_path / "finished", tmp_path / "target"


@pytest.mark.parametrize("atomic", [True, False])
def test_the_finished_folder_takes_the_targets_place(atomic, folders, monkeypatch):
    finished, target = folders
    if not atomic:
        monkeypatch.setattr(exchange.sys, "platform", "another")
    exchange.put_in_place(finished, target)
    assert contents(target.parent) == {"target/file": b"finished"}


def test_two_folders_are_exchanged_in_one_step(folders):
    assert exchange.exchange(*folders)
    assert contents(folders[0].parent) == {"finished/file": b"target", "target/file": b"finished"}


def test_a_failing_replacement_is_rolled_back(folders):
    finished, target = folders
    with pytest.raises(FileNotFoundError):
        exchange.replace(finished.with_name("absent"), target)
    assert contents(target.parent) == {"target/file": b"target", "finished/file": b"finished"}


def test_recover_deletes_the_old_folder_where_the_new_one_is_in_place(folders):
    finished, target = folders
    target.rename(exchange.aside(target))
    finished.rename(target)
    exchange.recover(target)
    assert contents(target.parent) == {"target/file": b"finished"}

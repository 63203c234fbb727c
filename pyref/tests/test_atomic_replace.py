"""A folder is replaced whole, with and without the system call that exchanges two folders."""

import pytest

from pyref.build import atomic_replace
from pyref.tests.support import contents


@pytest.fixture
def folders(tmp_path):
    """Return a finished folder and the target that it replaces."""
    for name in ("finished", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    return tmp_path / "finished", tmp_path / "target"


@pytest.mark.parametrize("atomic", [True, False])
def test_the_finished_folder_takes_the_targets_place(atomic, folders, monkeypatch):
    finished, target = folders
    if not atomic:
        monkeypatch.setattr(atomic_replace.sys, "platform", "another")
    atomic_replace.put_in_place(finished, target)
    assert contents(target.parent) == {"target/file": b"finished"}


def test_two_folders_are_exchanged_in_one_step(folders):
    assert atomic_replace.exchange(*folders)
    assert contents(folders[0].parent) == {"finished/file": b"target", "target/file": b"finished"}


def test_a_failing_replacement_is_rolled_back(folders):
    finished, target = folders
    with pytest.raises(FileNotFoundError):
        atomic_replace.replace(finished.with_name("absent"), target)
    assert contents(target.parent) == {"target/file": b"target", "finished/file": b"finished"}


def test_recover_deletes_the_old_folder_where_the_new_one_is_in_place(folders):
    finished, target = folders
    target.rename(atomic_replace.aside(target))
    finished.rename(target)
    atomic_replace.recover(target)
    assert contents(target.parent) == {"target/file": b"finished"}

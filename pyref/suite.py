"""The suite: the folder of every case. It is built whole beside its place, and only then put there."""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyref import crosscheck, record
from pyref.case import Case
from pyref.exchange import put_in_place, recover
from pyref.pinned import torch


def generate(cases: Iterable[Case], target: Path) -> None:
    """Replace the cases in the folder `target`, and keep every other file that it holds.

    Whatever goes wrong before the last step, a kill included, `target` is as it was.
    """
    with scratch(target) as folder:
        build(cases, folder)
        carry_over(target, folder)
        put_in_place(folder, target)


def build(cases: Iterable[Case], folder: Path) -> None:
    """Write every case into a folder, and check each against NumPy as soon as it is written."""
    for case in cases:
        record.write(case, folder / case.name, torch)
        crosscheck.verify(folder / case.name)


def groups(cases: Iterable[Case]) -> set[str]:
    """Return the folders that belong to the table of cases; the rest of a suite is someone else's."""
    return {case.group for case in cases}


def carry_over(target: Path, folder: Path) -> None:
    """Copy what `target` holds and the new suite does not."""
    for path in target.iterdir() if target.exists() else ():
        if (folder / path.name).exists():
            continue
        if path.is_dir():
            shutil.copytree(path, folder / path.name, symlinks=True)
        else:
            shutil.copy2(path, folder / path.name, follow_symlinks=False)


@contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target`, on its file system, that is gone afterwards.

    A killed run leaves its folder behind, and the next run removes it. Only one run at a time may do so:
    it holds a lock on the folder that contains both.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.with_name(f".{target.name}-new")
    with lock(target.parent):
        recover(target)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder's advisory lock, which ends with the process; BlockingIOError if another holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        acquire(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def acquire(descriptor: int, folder: Path) -> None:
    """Take the lock without waiting."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(f"{folder}: another regeneration is running") from None

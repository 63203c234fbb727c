"""The suite, one folder per case. A new suite is built beside the old one and then replaces it."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyref import crosscheck
from pyref.build import case_folder
from pyref.build.atomic_replace import put_in_place, recover
from pyref.build.case import Case
from pyref.build.pinned_torch import torch


def generate(cases: Iterable[Case], target: Path, *also: Callable[[Path], object]) -> None:
    """Replace the cases in the folder `target`, and keep every other file in it.

    The functions `also` write further cases into the folder that they are given. `target` is
    unchanged after any error or kill before the last step.
    """
    with scratch(target) as folder:
        build(cases, folder)
        for write in also:
            write(folder)
        carry_over(target, folder)
        put_in_place(folder, target)


def build(cases: Iterable[Case], folder: Path) -> None:
    """Write every case into a folder, and check it against NumPy at once."""
    for case in cases:
        case_folder.write(case, folder / case.name, torch)
        crosscheck.verify(folder / case.name)


def groups(cases: Iterable[Case]) -> set[str]:
    """Return the folders that belong to the table of cases."""
    return {case.group for case in cases}


def carry_over(target: Path, folder: Path) -> None:
    """Copy every entry of `target` that the new suite in `folder` lacks."""
    for path in target.iterdir() if target.exists() else ():
        if (folder / path.name).exists():
            continue
        if path.is_dir():
            shutil.copytree(path, folder / path.name, symlinks=True)
        else:
            shutil.copy2(path, folder / path.name, follow_symlinks=False)


@contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`, on its file system, and remove it afterwards.

    A killed run leaves its folder behind, and the next run removes it. A lock on the folder around
    both admits one run at a time.
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
    """Hold a folder's advisory lock; raise BlockingIOError if another process holds it."""
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

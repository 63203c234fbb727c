"""Scratch folders inside a suite. Their names begin with a dot, and readers skip them."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows a folder of a killed run stays
    fcntl = None

PREFIX = ".difftest-"
YOUNG = 60  # seconds, in which a new folder gets its lock


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Yield an empty folder inside `folder`, and remove it afterwards.

    A killed run leaves its folder, and the next run removes it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_left(folder)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
    try:
        with held(path):
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def remove_left(folder: Path) -> None:
    """Remove the scratch folders that no process holds."""
    for path in folder.glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            if fcntl and time.time() - path.stat().st_mtime > YOUNG:
                with held(path):
                    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a folder's lock, which ends with this process; BlockingIOError if another has it."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)

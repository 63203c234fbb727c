"""Put a finished folder in the place of another, so that a reader finds the old one or the new one, whole."""

import ctypes
import os
import shutil
import sys
from pathlib import Path

AT_FDCWD = -100  # linux/fcntl.h: paths are relative to the working directory
RENAME_EXCHANGE = 2  # linux/fs.h


def put_in_place(finished: Path, target: Path) -> None:
    """Make `finished` the folder at `target` on the same file system, and delete what was there before.

    A kill leaves either folder whole at `target`; the other one is left at `finished` or, where the two
    cannot be exchanged in one step, at `aside(target)`: see `recover`.
    """
    if not target.exists():
        finished.rename(target)
        return
    if exchange(finished, target):
        shutil.rmtree(finished)
        return
    replace(finished, target)


def exchange(first: Path, second: Path) -> bool:
    """Exchange two folders atomically with renameat2(2); False where the system or file system cannot."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0


def replace(finished: Path, target: Path) -> None:
    """Move the old folder aside and the finished one in; back if that fails."""
    old = aside(target)
    target.rename(old)
    try:
        finished.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)


def recover(target: Path) -> None:
    """Undo a `replace` that was killed between its two renames, and delete one killed after them."""
    old = aside(target)
    if old.exists() and not target.exists():
        old.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def aside(target: Path) -> Path:
    """Return where `replace` keeps the old folder."""
    return target.with_name(f".{target.name}-old")

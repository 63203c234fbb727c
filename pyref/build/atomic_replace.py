"""Replace a folder so that a reader finds either the whole old one or the whole new one."""

import ctypes
import os
import shutil
import sys
from pathlib import Path

AT_FDCWD = -100  # linux/fcntl.h: paths are relative to the working directory
RENAME_EXCHANGE = 2  # linux/fs.h


def put_in_place(finished: Path, target: Path) -> None:
    """Move the folder `finished` to `target` on the same file system, and delete the old folder.

    After a kill `target` is either folder, whole. The other one stays at `finished`, or at
    `aside(target)` if the system cannot exchange two folders in one step; `recover` deals with it.
    """
    if not target.exists():
        finished.rename(target)
        return
    if exchange(finished, target):
        shutil.rmtree(finished)
        return
    replace(finished, target)


def exchange(first: Path, second: Path) -> bool:
    """Exchange two folders atomically with renameat2(2); return False if the system cannot."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0


def replace(finished: Path, target: Path) -> None:
    """Move the old folder aside and the finished one in; move the old one back if this fails."""
    old = aside(target)
    target.rename(old)
    try:
        finished.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)


def recover(target: Path) -> None:
    """Complete or undo a `replace` that was killed: before its second rename, or after it."""
    old = aside(target)
    if old.exists() and not target.exists():
        old.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def aside(target: Path) -> Path:
    """Return the path at which `replace` keeps the old folder."""
    return target.with_name(f".{target.name}-old")

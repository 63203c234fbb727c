"""A capture that is stopped leaves no folder, and one that is killed harms no suite."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pyref.build import case_folder
from pyref.build.scratch import PREFIX, held, scratch
from pyref.tests.support import ROOT

# A module whose case is being written when the file "writing" appears.
SLOW = """
import time
from pathlib import Path
import torch
from pyref.build import case_folder

save = case_folder.save

def slowly(folder, section, arrays):
    saved = save(folder, section, arrays)
    Path("writing").touch()
    time.sleep(60)
    return saved

case_folder.save = slowly

def make():
    return torch.nn.Linear(3, 3), torch.zeros(2, 3)
"""


def capture(folder: Path) -> subprocess.Popen:
    """Start a capture into `folder`/cases, and wait until it writes its case."""
    (folder / "slow.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, "-m", "pyref", "capture", "slow.py:make", "--name", "mine/slow"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    while not (folder / "writing").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_stopped_capture_leaves_no_folder(name, tmp_path):
    if signal.getsignal(signal.Signals[name]) is signal.SIG_IGN:
        pytest.skip("nohup has programs ignore it")
    process = capture(tmp_path)
    process.send_signal(signal.Signals[name])
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.Signals[name]
    assert b"Traceback" not in errors
    assert list((tmp_path / "cases").rglob("*")) == [tmp_path / "cases/mine"]


def test_a_killed_capture_leaves_a_hidden_folder_that_the_next_removes(tmp_path):
    process = capture(tmp_path)
    process.kill()
    process.communicate()
    (left,) = (tmp_path / "cases/mine").iterdir()
    assert left.name.startswith(PREFIX)
    with scratch(left.parent):
        assert left.exists(), "a young folder may be about to get its lock"
    os.utime(left, (0, 0))
    with held(left), scratch(left.parent):
        assert left.exists(), "another process holds it"
    with scratch(left.parent) as other:
        assert list(left.parent.iterdir()) == [other]
    assert list(left.parent.iterdir()) == []


def test_a_full_disk_is_told_with_the_file(tmp_path, monkeypatch):
    def full(*_args, **_keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match=r"inputs/x\.npy: No space left on device"):
        case_folder.save(tmp_path, "inputs", {"x": np.zeros(3)})

"""Hold the attention in difftest_subject.py against PyTorch. It needs difftest on the PATH."""

import shutil
import subprocess
import sys
from pathlib import Path

SUBJECT = Path(__file__).with_name("difftest_subject.py")


def test_attention_is_pytorchs():
    difftest = shutil.which("difftest")
    assert difftest, "difftest is not on the PATH: go install github.com/difftest/difftest/cmd/difftest@latest"
    run = subprocess.run([difftest, "-q", "--", sys.executable, SUBJECT], capture_output=True, text=True)
    assert run.returncode == 0, f"\n{run.stdout}{run.stderr}"

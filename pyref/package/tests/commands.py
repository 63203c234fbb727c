"""Commands as a user runs them."""

import subprocess
from pathlib import Path


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess:
    """Run a command to its end, whatever its exit status, and return what it printed."""
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False, **options)

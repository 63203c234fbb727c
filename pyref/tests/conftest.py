"""The suite under test, made once."""

from pathlib import Path

import pytest

from pyref import suite
from pyref.table import CASES


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a suite that this process made. No test writes to it."""
    folder = tmp_path_factory.mktemp("made") / "fixtures"
    suite.generate(CASES, folder)
    return folder

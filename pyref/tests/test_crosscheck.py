"""The cross-check stands on its own feet, and lets nothing wrong pass."""

import shutil

import numpy as np
import pytest

from pyref import crosscheck
from pyref.tests.support import each_case, python


@each_case
def test_pytorch_agrees(case, made):
    deviation = crosscheck.deviation(made / case.name)
    print(f"{case.name}: {deviation:.1e}")
    assert deviation < crosscheck.TOLERANCE


@pytest.mark.parametrize("element", [1.00001, np.nan, np.inf])
def test_a_truth_with_one_wrong_element_is_refused(element, made, tmp_path):
    folder = shutil.copytree(made / "mha/causal", tmp_path / "mha/causal")
    truth = np.load(folder / "expected/truth.npy")
    truth[1, 2, 3] *= element
    np.save(folder / "expected/truth.npy", truth)
    with pytest.raises(ValueError, match=r"^mha/causal: pytorch's float64 result is .* away"):
        crosscheck.verify(folder)


def test_a_computation_that_gives_nan_agrees_with_nothing(made, tmp_path):
    folder = shutil.copytree(made / "mha/causal", tmp_path / "mha/causal")
    query = np.load(folder / "inputs/query.npy")
    query[1, 2, 3] = np.nan
    np.save(folder / "inputs/query.npy", query)
    with pytest.raises(ValueError, match="is inf away"):
        crosscheck.verify(folder)


def test_it_imports_neither_torch_nor_anything_else_of_pyref():
    code = (
        "import sys, pyref.crosscheck; print(*sorted(m for m in sys.modules if m[:5] in ('torch', 'pyref')))"
    )
    imported = python("-c", code).stdout.split()
    assert imported[:2] == ["pyref", "pyref.crosscheck"]
    assert [name for name in imported[2:] if not name.startswith("pyref.crosscheck.")] == []

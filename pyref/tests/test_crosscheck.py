"""The cross-check is independent of PyTorch, and refuses every wrong truth."""

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


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("sdpa/alibi", "truth"),
        ("mha/causal", "truth"),
        ("mha/weights", "truth"),
        ("mha/weights", "weights_truth"),
        ("mha/weights-left-padding", "weights_truth"),
        ("decoder/cache-chunk", "truth"),
    ],
)
@pytest.mark.parametrize("factor", [1.00001, np.nan, np.inf])
def test_a_truth_with_one_wrong_element_is_refused(factor, name, file, made, tmp_path):
    folder = shutil.copytree(made / name, tmp_path / name)
    truth = np.load(folder / f"expected/{file}.npy")
    truth.flat[np.nanargmax(truth)] *= factor
    np.save(folder / f"expected/{file}.npy", truth)
    with pytest.raises(ValueError, match=rf"^{name}: pytorch's float64 result is .* away"):
        crosscheck.verify(folder)


def test_a_number_in_place_of_nan_is_refused(made, tmp_path):
    folder = shutil.copytree(made / "mha/fast-left-padding", tmp_path / "mha/fast-left-padding")
    truth = np.load(folder / "expected/truth.npy")
    assert np.isnan(truth[0, 0]).all()
    truth[0, 0] = 0
    np.save(folder / "expected/truth.npy", truth)
    with pytest.raises(ValueError, match="is inf away"):
        crosscheck.verify(folder)


def test_a_computation_that_gives_nan_agrees_with_nothing(made, tmp_path):
    folder = shutil.copytree(made / "mha/causal", tmp_path / "mha/causal")
    query = np.load(folder / "inputs/query.npy")
    query[1, 2, 3] = np.nan
    np.save(folder / "inputs/query.npy", query)
    with pytest.raises(ValueError, match="is inf away"):
        crosscheck.verify(folder)


def test_slopes_are_those_that_were_published():
    assert crosscheck.attention.slopes(8).tolist() == [2**-power for power in range(1, 9)]
    four, eight = [2**-2, 2**-4, 2**-6, 2**-8], [2**-1, 2**-3]
    assert crosscheck.attention.slopes(6).tolist() == four + eight


def test_bfloat16_is_read_from_its_bits():
    bits = np.array([0x3F80, 0xC000, 0x0001, 0xFF80], np.uint16)
    assert crosscheck.widen(bits).tolist() == [1, -2, 2.0**-133, -np.inf]


def test_it_imports_neither_torch_nor_anything_else_of_pyref():
    code = (
        "import sys, pyref.crosscheck; print(*sorted(m for m in sys.modules if m[:5] in ('torch', 'pyref')))"
    )
    imported = python("-c", code).stdout.split()
    assert imported[:2] == ["pyref", "pyref.crosscheck"]
    assert [name for name in imported[2:] if not name.startswith("pyref.crosscheck.")] == []

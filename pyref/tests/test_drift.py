"""What `--check` says, and its exit code."""

import json
import shutil

import numpy as np
import pytest

from pyref import drift
from pyref.tests.support import REGENERATE, contents, python


def test_a_check_of_the_same_suite_is_identical_and_exits_0(made):
    before = contents(made)
    result = python(str(REGENERATE), "--check", "--into", str(made))
    lines = result.stdout.splitlines()
    assert result.returncode == 0
    assert lines[:-1] == [f"identical  {file}" for file in sorted(before)]
    assert lines[-1] == f"{made}: {len(before)} identical"
    assert contents(made) == before


def test_a_check_names_every_difference_and_exits_1(made, tmp_path):
    suite = shutil.copytree(made, tmp_path / "fixtures")
    output = suite / "mha/causal/expected/output.npy"
    output.write_bytes(output.read_bytes()[:-1] + bytes([output.read_bytes()[-1] ^ 0x80]))
    (suite / "mha/causal/extra.npy").write_bytes(b"")
    (suite / "seed/causal/case.json").unlink()
    before = contents(suite)
    result = python(str(REGENERATE), "--check", "--into", str(suite))
    differences = [line for line in result.stdout.splitlines() if not line.startswith("identical")]
    assert result.returncode == 1
    assert differences[0].startswith("drift      mha/causal/expected/output.npy: 1 of 1800 elements: largest")
    assert differences[1:] == [
        "gone       mha/causal/extra.npy",
        "new        seed/causal/case.json",
        f"{suite}: 1 drift, 1 gone, 117 identical, 1 new",
    ]
    assert contents(suite) == before


@pytest.mark.parametrize(
    ("before", "after", "largest", "rms", "ulp"),
    [
        (2.0, np.nextafter(np.float32(2), np.float32(3)), "2.38e-07", "6.61e-08", 1),
        (-2.0, 2.0, "4.00e+00", "1.11e+00", 2**31),
        (1.0, 0.0, "1.00e+00", "3.16e-01", 127 * 2**23),
        (-1e-45, 1e-45, "2.80e-45", "9.34e-46", 2),
        (1.0, np.nan, "nan", "nan", 257 * 2**22),
    ],
)
def test_numbers_that_moved_are_measured(before, after, largest, rms, ulp):
    others = [3.0, -np.inf]
    said = drift.numbers(np.array([before, *others], np.float32), np.array([after, *others], np.float32))
    assert said == f"1 of 3 elements: largest absolute {largest}, relative rms {rms}, largest ulp {ulp}"


def test_a_change_of_shape_or_type_is_said_in_place_of_numbers():
    assert drift.numbers(np.zeros(2), np.zeros(3)) == "float64 (2,) became float64 (3,)"
    assert drift.numbers(np.zeros(2), np.zeros(2, bool)) == "float64 (2,) became bool (2,)"


def test_masks_have_no_magnitudes():
    assert drift.numbers(np.array([True, False]), np.array([True, True])) == "1 of 2 elements"


def test_fields_of_json_are_named(tmp_path):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps({"a": {"b": 1, "c": [1]}, "d": 2}))
    new.write_text(json.dumps({"a": {"b": 1, "c": [2]}, "e": 2}))
    assert drift.detail(old, new) == "a.c, d, e"
    new.write_text(json.dumps(json.loads(old.read_text()), indent=1))
    assert drift.detail(old, new) == "only the layout of the text"


@pytest.mark.parametrize("name", ["broken.npy", "broken.json"])
def test_a_broken_file_is_drift_not_a_crash(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x93NUMPY")
    assert drift.detail(tmp_path / name, tmp_path / name).startswith("cannot be read: ")

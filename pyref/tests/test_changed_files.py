"""The output of `--check`, and its exit status."""

import shutil

from pyref.tests.support import REGENERATE, contents, python


def test_a_check_of_the_same_suite_counts_its_files_and_exits_0(made):
    before = contents(made)
    result = python(str(REGENERATE), "--check", "--into", str(made))
    assert result.returncode == 0
    assert result.stdout == f"{made}: {len(before)} identical\n"
    assert contents(made) == before


def test_a_check_names_every_difference_and_exits_1(made, tmp_path):
    suite = shutil.copytree(made, tmp_path / "fixtures")
    output = suite / "mha/causal/expected/output.npy"
    output.write_bytes(output.read_bytes()[:-1] + bytes([output.read_bytes()[-1] ^ 0x80]))
    (suite / "mha/causal/extra.npy").write_bytes(b"")
    (suite / "seed/causal/case.json").unlink()
    before = contents(suite)
    result = python(str(REGENERATE), "--check", "--into", str(suite))
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        "differs  mha/causal/expected/output.npy",
        "gone     mha/causal/extra.npy",
        "new      seed/causal/case.json",
        f"{suite}: 1 differs, 1 gone, {len(contents(made)) - 2} identical, 1 new",
        f"to see how far: pyref/regenerate --into DIR, then difftest review {suite} DIR",
    ]
    assert contents(suite) == before


def test_files_that_are_missing_alone_need_no_numbers(made, tmp_path):
    suite = shutil.copytree(made, tmp_path / "fixtures")
    (suite / "seed/causal/case.json").unlink()
    result = python(str(REGENERATE), "--check", "--into", str(suite))
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        "new      seed/causal/case.json",
        f"{suite}: {len(contents(suite))} identical, 1 new",
    ]

"""PyTorch gives the committed bytes on every run and on every x86-64 machine with AVX2."""

from pyref import zoo
from pyref.build.pinned_torch import torch
from pyref.table import CASES
from pyref.tests.support import FIXTURES, REGENERATE, contents, python

# glibc and MKL then choose their kernels as if the CPU had no AVX2. ATen obeys pyref's variable.
HIDDEN = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
}


def test_torch_is_single_threaded_and_without_onednn():
    assert torch.get_num_threads() == 1
    assert not torch.backends.mkldnn.enabled
    assert torch.backends.cpu.get_cpu_capability() == "AVX2"


def test_torch_is_not_imported_without_the_variables():
    result = python("-c", "import pyref.build.pinned_torch", ATEN_CPU_CAPABILITY="", MKL_CBWR="AVX2")
    assert result.returncode == 1
    assert result.stderr.endswith(
        "RuntimeError: pyref runs through pyref/regenerate only: ATEN_CPU_CAPABILITY is , want avx2;"
        " MKL_CBWR is AVX2, want COMPATIBLE\n"
    )


def test_a_second_run_without_vector_extensions_gives_the_same_bytes(made, tmp_path):
    result = python(str(REGENERATE), "--into", str(tmp_path / "again"), **HIDDEN)
    assert result.stdout == f"{tmp_path / 'again'}: {len(CASES) + len(zoo.CASES)} cases\n", result.stderr
    assert contents(tmp_path / "again") == contents(made)


def test_the_committed_cases_are_these(made):
    groups = {case.group for case in CASES} | zoo.GROUPS
    committed = {file: data for file, data in contents(FIXTURES).items() if file.split("/")[0] in groups}
    assert contents(made) == committed

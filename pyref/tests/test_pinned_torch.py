"""PyTorch is set up so that every x86-64 machine with AVX2 gives the same bytes."""

from pyref.build.pinned_torch import torch
from pyref.tests.support import python


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

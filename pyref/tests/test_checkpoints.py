"""The committed files of the Go tests are the ones that this code writes."""

from pathlib import Path

import numpy as np
import pytest

from pyref.build import checkpoints
from pyref.build.pinned_torch import torch

COMMITTED = Path(__file__).parents[2] / "harness" / "internal" / "checkpoint" / "testdata"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    checkpoints.write(folder)
    return folder


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_committed_files_are_these(written):
    assert names(written) == names(COMMITTED)


@pytest.mark.parametrize("name", sorted(set(names(COMMITTED)) - checkpoints.BY_CONTENT))
def test_bytes_are_reproducible(written, name):
    assert (written / name).read_bytes() == (COMMITTED / name).read_bytes()


@pytest.mark.parametrize("name", ["layer-legacy.pt", "views-legacy.pt", "bits-legacy.pt"])
def test_legacy_files_hold_the_same(written, name):
    new, old = (torch.load(folder / name, weights_only=True) for folder in (written, COMMITTED))
    assert list(new) == list(old)
    for key, value in new.items():
        assert torch.equal(value, old[key])
        assert (value.stride(), value.storage_offset()) == (old[key].stride(), old[key].storage_offset())


def test_compressed_arrays_hold_the_same(written):
    new, old = (np.load(folder / "layer-compressed.npz") for folder in (written, COMMITTED))
    assert list(new) == list(old)
    assert all((new[key] == old[key]).all() for key in new)


def test_views_share_one_storage():
    assert len({value.untyped_storage().data_ptr() for value in checkpoints.views().values()}) == 1


def test_some_views_are_not_contiguous():
    strided = {name for name, value in checkpoints.views().items() if not value.is_contiguous()}
    assert strided == {"transposed", "permuted", "column", "every_other", "expanded"}

"""Autocast is left out of the truth, and its noise is stored beside."""

import json
from pathlib import Path

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.capture import capture, state_dict
from pyref.capture.submodules import capture_submodules
from pyref.tests.support import Command, verdict

nn, functional, Tensor = torch.nn, torch.nn.functional, torch.Tensor
TOKENS = (torch.arange(36).view(4, 9) ** 2 + 3) % 37
BFLOAT16 = torch.bfloat16


class Block(nn.Module):
    """An embedding, a norm and an MLP. It enters autocast itself if it is asked to."""

    def __init__(self, enters: bool = False) -> None:
        super().__init__()
        self.enters = enters
        self.embed, self.norm = nn.Embedding(37, 32), nn.LayerNorm(32)
        self.up, self.down = nn.Linear(32, 48), nn.Linear(48, 32)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the output of the block."""
        if self.enters:
            with torch.autocast("cpu", dtype=BFLOAT16):
                return self.computed(tokens).float()
        return self.computed(tokens)

    def computed(self, tokens: Tensor) -> Tensor:
        """Return the output in the current autocast."""
        x = self.embed(tokens)
        return self.norm(x + self.down(functional.gelu(self.up(self.norm(x)))))


def block(enters: bool = False) -> Block:
    """Return a block with the same parameters each time."""
    torch.manual_seed(7)
    return Block(enters).eval()


def expected(case: Path, name: str) -> np.ndarray:
    """Return an array of a case."""
    return np.load(case / "expected" / f"{name}.npy")


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    """Return a folder with the block captured without autocast, within it, and with its own."""
    folder = tmp_path_factory.mktemp("autocast")
    capture(block(), TOKENS, "block/plain", folder)
    capture(block(enters=True), TOKENS, "block/own", folder)
    with torch.autocast("cpu", dtype=BFLOAT16):
        capture(block(), TOKENS, "block/around", folder)
        assert torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cpu")
    return folder


def outputs() -> dict[str, np.ndarray]:
    """Return the outputs that the user sees, under autocast."""
    with torch.no_grad():
        own = block(enters=True)(TOKENS).numpy()
        with torch.autocast("cpu", dtype=BFLOAT16):
            around = block()(TOKENS).float().numpy()
    return {"own": own, "around": around}


def judged(difftest: Command, cases: Path, name: str, output: np.ndarray, *options: str) -> str:
    """Return the verdict on an output."""
    file = cases / "output.npy"
    np.save(file, output)
    (result,) = difftest.report("check", f"block/{name}", file, "--fixtures", cases, *options)["results"]
    return verdict(result)


@pytest.mark.parametrize("name", ["own", "around"])
def test_the_truth_has_no_autocast(cases, name):
    plain, case = cases / "block/plain", cases / "block" / name
    for array in ("output", "truth"):
        np.testing.assert_array_equal(expected(case, array), expected(plain, array))
    assert json.loads((case / "case.json").read_text())["graph"].keys() == {"sha256"}
    assert "without autocast to bfloat16" in (case / "case.json").read_text()
    assert "without autocast" not in (plain / "case.json").read_text()


@pytest.mark.parametrize("name", ["own", "around"])
def test_the_noise_of_autocast_is_its_own(cases, name):
    noise = expected(cases / "block" / name, "sigma_bfloat16")
    z = (outputs()[name] - expected(cases / "block/plain", "truth")) / noise
    assert 0.1 < np.sqrt(np.mean(z**2)) < 1
    assert np.abs(z).max() < 5
    # The embedding, the sum and the norms stay in float32. Plain bfloat16 rounds them, too.
    whole = expected(cases / "block/plain", "sigma_bfloat16")
    assert np.sqrt(np.mean(noise**2)) < 0.7 * np.sqrt(np.mean(whole**2))


@pytest.mark.parametrize("name", ["own", "around"])
def test_an_output_under_autocast(difftest, cases, name):
    output, truth = outputs()[name], expected(cases / "block/plain", "truth")
    assert judged(difftest, cases, name, output) == "fail: rounding"
    assert judged(difftest, cases, name, output, "--precision", "bfloat16") == "pass"
    worse = truth + 30 * (output - truth)
    assert judged(difftest, cases, name, worse, "--precision", "bfloat16").startswith("fail")


def test_submodules_are_called_without_autocast(tmp_path):
    with torch.autocast("cpu", dtype=BFLOAT16):
        captured = capture_submodules(block(), TOKENS, "up", "block/sub", tmp_path)
    assert not captured.refused
    (case,) = captured.folders
    given = np.load(next((case / "inputs").glob("*.npy")))
    plain = block()
    np.testing.assert_array_equal(given, plain.norm(plain.embed(TOKENS)).detach().numpy())
    assert "without autocast to bfloat16" in (case / "case.json").read_text()


def test_an_error_leaves_autocast_as_it_was(tmp_path):
    before = torch.autocast.__enter__
    with torch.autocast("cpu", dtype=BFLOAT16), pytest.raises(ValueError, match="fails in float32"):
        capture(block(), torch.randn(3, 4), "a/b", tmp_path)
    assert torch.autocast.__enter__ is before
    assert not torch.is_autocast_enabled("cpu")


def test_rounded_weights_in_float32_are_plain(difftest, tmp_path):
    """A model that was float16 once computes in float32, and nothing is said about it."""
    notes: list[str] = []
    case = capture(block().half().float(), TOKENS, "block/once", tmp_path, say=notes.append)
    assert notes == []
    stored = np.load(case / "state_dict/up.weight.npy")
    np.testing.assert_array_equal(stored, block().up.weight.detach().half().float().numpy())
    np.testing.assert_array_equal(stored, state_dict(block().half().float())["up.weight"])
    own = expected(case, "output")
    assert judged(difftest, tmp_path, "once", own) == "pass"
    whole = block()(TOKENS).detach().numpy()  # with the weights before they were rounded
    assert judged(difftest, tmp_path, "once", whole).startswith("fail")

"""The truth has exact tables, and cases that rounding decides are refused."""

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.capture import any_module, capture, exact, run
from pyref.capture.call import Call


class Rotation(torch.nn.Module):
    """Sines and cosines of positions, from frequencies that are not in the state dict."""

    def __init__(self, size: int, base: float = 10000.0, persistent: bool = False):
        super().__init__()
        self.size, self.base = size, base
        frequencies = 1.0 / base ** (torch.arange(0, size, 2, dtype=torch.float) / size)
        self.register_buffer("frequencies", frequencies, persistent=persistent)
        self.table = torch.polar(torch.ones(4, size // 2), torch.arange(4.0)[:, None] * frequencies)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rotate x of shape (tokens, size // 2)."""
        angles = torch.arange(len(x)).float()[:, None] * self.frequencies.float()
        return x * angles.cos() + angles.sin() + self.table.real.sum()


class Around(torch.nn.Module):
    """A module that holds the configuration of another inside it."""

    def __init__(self, config: dict):
        super().__init__()
        self.config = config
        self.inner = Inner(config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale x."""
        return x * self.inner.thirds


class Inner(torch.nn.Module):
    """A table made from a configuration that the module does not keep."""

    def __init__(self, config: dict):
        super().__init__()
        self.register_buffer("thirds", torch.ones(3) / config["divisor"], persistent=False)


def frequencies(size: int, base: float = 10000.0) -> np.ndarray:
    return base ** -(np.arange(0, size, 2) / size)


def test_tables_are_computed_again_in_float64():
    wide = exact.double(Rotation(16, 500.0))
    assert wide.frequencies.dtype == torch.float64
    np.testing.assert_allclose(wide.frequencies.numpy(), frequencies(16, 500.0), rtol=1e-15)
    assert wide.table.dtype == torch.complex128
    np.testing.assert_allclose(wide.table[3].angle().numpy(), 3 * frequencies(16, 500.0), rtol=1e-14)


def test_a_configuration_may_belong_to_a_module_around():
    wide = exact.double(Around({"divisor": 3}))
    assert (wide.inner.thirds == 1 / 3).all()


def test_the_state_dict_stays_as_it_is():
    module = Rotation(16, persistent=True)
    wide = exact.double(module)
    assert torch.equal(wide.frequencies, module.frequencies.double())


def test_a_table_that_comes_out_otherwise_stays_as_it_is():
    module = Rotation(16)
    module.base = 10001.0  # not the base of the table
    assert torch.equal(exact.double(module).frequencies, module.frequencies.double())
    module = Rotation(16)
    module.frequencies[3] *= 1.001  # changed after it was made
    assert torch.equal(exact.double(module).frequencies, module.frequencies.double())
    del module.size  # cannot be built again
    assert torch.equal(exact.double(module).frequencies, module.frequencies.double())


def test_building_again_draws_no_random_numbers():
    torch.manual_seed(3)
    want = torch.rand(2)
    torch.manual_seed(3)
    exact.double(Rotation(16))
    assert torch.equal(torch.rand(2), want)


def test_the_truth_of_far_positions():
    module, x = Rotation(16), torch.ones(3000, 8)
    truth = run.double("rotation", module, Call.by_keyword(module, {"x": x}))[0]
    angles = np.arange(3000)[:, None] * frequencies(16)
    constant = np.cos(np.arange(4)[:, None] * frequencies(16)).sum()
    np.testing.assert_allclose(truth, np.cos(angles) + np.sin(angles) + constant, atol=1e-11)


def test_a_program_that_computes_the_table_itself_is_within_the_noise():
    module, x = Rotation(16), torch.ones(3000, 8)
    call = Call.by_keyword(module, {"x": x})
    truth = run.double("rotation", module, call)[0]
    sigma = any_module.sigma("rotation", module, call, truth, Stream(1))
    own = np.float32(10000) ** -(np.arange(0, 16, 2, dtype=np.float32) / np.float32(16))
    angles = np.arange(3000, dtype=np.float32)[:, None] * own
    table = np.cos(np.arange(4, dtype=np.float32)[:, None] * own).sum(dtype=np.float32)
    z = np.abs(np.cos(angles) + np.sin(angles) + table - truth) / sigma
    assert z.max() < 20
    assert np.sqrt((z**2).mean()) < 2


def test_integers_in_a_buffer_are_not_nudged():
    module = torch.nn.Module()
    module.register_buffer("mask", torch.tensor([0.0, 1.0, 0.3, -torch.inf]))
    moved = {any_module.nudged(module, Call({}), Stream(2), i)[0].mask[2].item() for i in range(9)}
    kept = [any_module.nudged(module, Call({}), Stream(2), i)[0].mask[[0, 1, 3]] for i in range(9)]
    assert len(moved) == 3
    assert all(torch.equal(k, torch.tensor([0.0, 1.0, -torch.inf])) for k in kept)


class Router(torch.nn.Module):
    """The value of the expert with the largest score."""

    def __init__(self, gap: float):
        super().__init__()
        self.gate = torch.nn.Linear(4, 3)
        with torch.no_grad():
            self.gate.weight[1] = self.gate.weight[0]
            self.gate.weight[2] = -self.gate.weight[0]
            self.gate.bias.copy_(torch.tensor([0.5, 0.5 + gap, -9.0]))
        self.experts = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Choose."""
        _, chosen = self.gate(x).topk(1)
        return self.experts[chosen[:, 0]] * x[:, :2]


def test_scores_within_rounding_are_refused(tmp_path):
    x = {"x": torch.randn(5, 4, generator=torch.Generator().manual_seed(1))}
    with pytest.raises(ValueError, match=r"chooses between scores that lie .* apart, and rounding moves them"):
        capture(Router(1e-7), x, "mine/router", tmp_path)
    assert capture(Router(1e-2), x, "mine/router", tmp_path).is_dir()


class Short(torch.nn.Module):
    """A sum that is rounded to bfloat16."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Round."""
        return self.linear(x).to(torch.bfloat16).to(x.dtype)


def test_a_shorter_type_inside_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"computes in torch.bfloat16 on float32 parameters"):
        capture(Short(), {"x": torch.ones(2, 4)}, "mine/short", tmp_path)


def test_exact_numbers_are_no_reason_to_refuse(tmp_path):
    class Signs(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return one for positive numbers, else zero."""
            return (x > 0).to(x.dtype)

    folder = capture(Signs(), {"x": torch.randn(2, 4)}, "mine/signs", tmp_path)
    assert not np.load(folder / "expected" / "sigma.npy").any()


def test_an_eps_that_float64_would_change():
    module, x = torch.nn.RMSNorm(4), torch.full((1, 4), 1e-4)
    truth = run.double("norm", module, Call.by_keyword(module, {"x": x}))[0]
    want = np.float64(x) / np.sqrt(np.float64(x) ** 2 + np.finfo(np.float32).eps)
    np.testing.assert_allclose(truth, want, rtol=1e-12)

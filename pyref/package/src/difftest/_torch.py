"""What needs PyTorch: cases from its modules, and the outputs of the modules inside a model."""

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difftest._cases import Case, PathLike, case

if TYPE_CHECKING:
    import torch


class CaptureWarning(UserWarning):
    """A captured case differs from the module, or cannot see some mistakes."""


def capture(
    module: "torch.nn.Module | Callable[..., Any]",
    inputs: object,
    name: str,
    *,
    into: PathLike = "cases",
    output: str = "",
    shake: int | None = None,
    vary: bool = False,
) -> Case:
    """Write a case of one call, `module(**inputs)`, into a suite, and return it.

    `name` is GROUP/NAME, and replaces an earlier capture of that name. `inputs` is a dict of
    arguments, a tuple or list of arguments, or one argument. `output` is the part of the result
    that is the output, such as "logits"; without it, the first tensor of floats. With a seed in
    `shake`, all parameters are drawn anew, so that the case sees a mistake in each. With `vary`,
    the case also holds what the module computes for other batches and numbers of tokens, for fuzz.
    The module is not changed.

    A CaptureWarning tells what differs from the module, and what the case cannot see. ValueError if
    the module cannot be captured. ImportError without PyTorch.
    """
    needs_torch("capture")
    from difftest._pyref.capture import blind, call
    from difftest._pyref.capture import capture as write
    from difftest._pyref.capture.module_of import module_of
    from difftest._pyref.capture.shake import shaken

    whole, notes = module_of(module), list[str]()
    write(whole, inputs, name, Path(into), output, notes.append, shake, vary)
    spots = blind.spots(shaken(whole, shake), call.Call.of(whole, inputs))
    warn([*notes, *(f"this case cannot see everything: {spot}" for spot in spots)])
    return case(name, suite=into)


def capture_outputs(
    module: "torch.nn.Module | Callable[..., Any]",
    inputs: object,
    name: str,
    *,
    into: PathLike = "cases",
    output: str = "*",
    shake: int | None = None,
) -> list[Case]:
    """Write a case NAME/OUTPUT for each output of a module that the pattern `output` matches.

    capture describes the other arguments. An output that cannot be captured becomes a
    CaptureWarning.
    """
    needs_torch("capture_outputs")
    from difftest._pyref.capture.outputs import capture_outputs as write

    notes = list[str]()
    captured = write(module, inputs, output, name, Path(into), notes.append, shake)
    warn([*notes, *refusals(captured)])
    return made(captured, into)


def capture_submodules(
    module: "torch.nn.Module",
    inputs: object,
    name: str,
    pattern: str,
    *,
    into: PathLike = "cases",
    shake: int | None = None,
) -> list[Case]:
    """Run a model once, and write a case NAME-PATH for each submodule that `pattern` matches.

    The pattern is a glob over the names of `module.named_modules()`, such as "layers.*". Each case
    has the inputs that the submodule got in the model. capture describes the other arguments. A
    submodule that cannot be captured becomes a CaptureWarning.
    """
    needs_torch("capture_submodules")
    from difftest._pyref.capture.submodules import capture_submodules as write

    notes = list[str]()
    captured = write(module, inputs, pattern, name, Path(into), notes.append, shake)
    warn([*notes, *refusals(captured)])
    return made(captured, into)


def made(captured: Any, suite: PathLike) -> list[Case]:
    """Return the cases that a capture wrote."""
    return [case(folder.relative_to(suite).as_posix(), suite=suite) for folder in captured.folders]


@contextmanager
def record(model: "torch.nn.Module") -> "Iterator[dict[str, Any]]":
    """Yield a dict that gets the output of every module inside `model`, by its path, as they run.

    It is a trace for check, assert_matches and save_output, which find the first wrong module by
    it:

        with difftest.record(model) as trace:
            output = model(**inputs)
        difftest.assert_matches("mine/llama", output, trace=trace, suite="cases")

    A module that runs several times leaves its last output. In a port to another library, a dict of
    your own does the same. ImportError without PyTorch.
    """
    needs_torch("record")
    from difftest._pyref.trace import recorded

    with recorded(model) as outputs:
        yield outputs


def needs_torch(function: str) -> None:
    """Raise ImportError if PyTorch is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise ImportError(f"difftest.{function} needs PyTorch: pip install torch")


def refusals(captured: Any) -> list[str]:
    """Return a line for each case that a capture could not write."""
    return [f"{name}: not captured: {reason}" for name, reason in captured.refused.items()]


def warn(notes: list[str]) -> None:
    """Warn at the line that called the function that calls this one."""
    for note in notes:
        warnings.warn(note, CaptureWarning, stacklevel=3)

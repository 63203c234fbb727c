"""An independent computation of a case in NumPy and float64: PyTorch can be wrong or misused.

It shares no code with the PyTorch side and reads the files of a written case like any other reader.
It splits heads with einsum and attends query by query over the keys that the query sees. So it
never adds a mask to a score and never divides by the sum of an empty row.
"""

import json
from pathlib import Path

import numpy as np

from pyref.crosscheck import attention, decoder, mha, rotary

# Relative to the largest element: some thousand float64 roundings. Any mistake is far larger.
TOLERANCE = 1e-12
TRUTHS = {"output": "truth", "weights": "weights_truth"}  # the file of each computed array


def verify(folder: Path) -> None:
    """Raise ValueError unless the truths in a case's folder agree with this computation."""
    difference = deviation(folder)
    if not difference <= TOLERANCE:
        raise ValueError(
            f"{folder.parent.name}/{folder.name}: pytorch's float64 result is {difference:.1e} away from"
            f" the numpy cross-check, relative to its largest element; at most {TOLERANCE:.0e} is allowed"
        )


def deviation(folder: Path) -> float:
    """Return the largest difference from a truth, relative to the truth's largest element."""
    case = json.loads((folder / "case.json").read_text(encoding="ascii"))
    got = compute(case["config"], read(folder, case["inputs"]), read(folder, case.get("state_dict", {})))
    wanted = {name: case["expected"][file] for name, file in TRUTHS.items() if file in case["expected"]}
    return max(distance(got[name], np.load(folder / file)) for name, file in wanted.items())


def distance(got: np.ndarray, want: np.ndarray) -> float:
    """Return the largest difference over the largest element; inf if the NaNs stand elsewhere."""
    finite = np.isfinite(want)
    if got.shape != want.shape or np.isinf(want).any() or (np.isfinite(got) != finite).any():
        return np.inf
    return float(np.abs(got - want)[finite].max() / np.abs(want[finite]).max())


def read(folder: Path, files: dict[str, str]) -> dict[str, np.ndarray]:
    """Return arrays by name, floats as float64."""
    return {name: widen(np.load(folder / file)) for name, file in files.items()}


def widen(array: np.ndarray) -> np.ndarray:
    """Return floats as float64; uint16 holds the bits of bfloat16, the upper half of a float32."""
    if array.dtype == np.uint16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array if array.dtype in (np.bool_, np.int64) else array.astype(np.float64)


def compute(
    config: dict, inputs: dict[str, np.ndarray], parameters: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return "output", (..., L, Ev) of the function or (B, L, D) of a layer, and any "weights"."""
    parameters = without_prefix(config, parameters)
    match config.get("keys"):
        case None if "style" in config:
            return rotary.compute(config, inputs)
        case None:
            return attention.compute(config, inputs)
        case "torch" | "torch-separate" | "seed":
            return mha.compute(config, inputs, parameters)
        case _:
            return decoder.compute(config, inputs, parameters)


def without_prefix(config: dict, parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the parameters under the layer's own names."""
    return {name.removeprefix(config.get("prefix", "")): array for name, array in parameters.items()}

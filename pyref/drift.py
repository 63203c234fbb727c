"""What a regeneration changed: file by file, identical bytes or how far the numbers moved."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Drift:
    """One file's outcome: `kind` is identical, drift, new or gone; `detail` says more about drift."""

    kind: str
    file: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind:<9}  {self.file}" + (f": {self.detail}" if self.detail else "")


def compare(old: Path, new: Path, groups: Iterable[str]) -> Iterator[Drift]:
    """Compare every file below the group folders of two suites, in order of their names."""
    olds, news = files(old, groups), files(new, groups)
    for file in sorted(olds | news):
        if file not in olds:
            yield Drift("new", file)
        elif file not in news:
            yield Drift("gone", file)
        elif (old / file).read_bytes() == (new / file).read_bytes():
            yield Drift("identical", file)
        else:
            yield Drift("drift", file, detail(old / file, new / file))


def files(suite: Path, groups: Iterable[str]) -> set[str]:
    """Return the paths of all files below the group folders, relative to the suite."""
    paths = (path for group in groups for path in (suite / group).rglob("*") if not path.is_dir())
    return {path.relative_to(suite).as_posix() for path in paths}


def detail(old: Path, new: Path) -> str:
    """Say how two files that differ do so; the old one may hold anything."""
    try:
        if old.suffix == ".npy":
            return numbers(np.load(old, allow_pickle=False), np.load(new, allow_pickle=False))
        return fields(json.loads(old.read_bytes()), json.loads(new.read_bytes()))
    except (ValueError, EOFError) as error:
        return f"cannot be read: {error}"


def fields(before: dict, after: dict) -> str:
    """Name the fields of case.json that changed."""
    olds, news = flatten(before), flatten(after)
    changed = [name for name in {**olds, **news} if olds.get(name) != news.get(name)]
    return ", ".join(changed) or "only the layout of the text"


def flatten(value: object, name: str = "") -> dict[str, object]:
    """Return the leaves of nested objects by dotted name."""
    if not isinstance(value, dict):
        return {name: value}
    leaves: dict[str, object] = {}
    for key, field in value.items():
        leaves |= flatten(field, f"{name}.{key}" if name else key)
    return leaves


def numbers(before: np.ndarray, after: np.ndarray) -> str:
    """Say how far apart two arrays are; elements that are infinite in both do not count."""
    if (before.shape, before.dtype) != (after.shape, after.dtype):
        return f"{before.dtype} {before.shape} became {after.dtype} {after.shape}"
    moved = bits(before) != bits(after)
    share = f"{np.count_nonzero(moved)} of {moved.size} elements"
    if before.dtype.kind != "f":
        return share
    a, b = before[moved].astype(np.float64), after[moved].astype(np.float64)
    size = np.sum(before[np.isfinite(before)].astype(np.float64) ** 2)
    largest, rms = np.abs(b - a).max(), np.sqrt(np.sum((b - a) ** 2) / size)
    ulps = max(abs(i - j) for i, j in zip(ranks(before[moved]), ranks(after[moved]), strict=True))
    return f"{share}: largest absolute {largest:.2e}, relative rms {rms:.2e}, largest ulp {ulps}"


def ranks(array: np.ndarray) -> list[int]:
    """Return the place of each float among all floats: neighbours differ by one and both zeros are 0."""
    magnitudes = bits(array) & np.iinfo(bits(array).dtype).max // 2
    return [-int(m) if s else int(m) for m, s in zip(magnitudes.flat, np.signbit(array).flat, strict=True)]


def bits(array: np.ndarray) -> np.ndarray:
    """Return the bit patterns of an array as unsigned integers."""
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")

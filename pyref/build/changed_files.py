"""Which files a regeneration changed. `difftest review` reports how far their numbers moved."""

from collections.abc import Iterable
from pathlib import Path


def compare(old: Path, new: Path, groups: Iterable[str]) -> dict[str, str]:
    """Return "identical", "differs", "new" or "gone" for every file below the group folders."""
    olds, news = files(old, groups), files(new, groups)
    outcomes = dict.fromkeys(olds - news, "gone") | dict.fromkeys(news - olds, "new")
    for file in olds & news:
        outcomes[file] = "identical" if (old / file).read_bytes() == (new / file).read_bytes() else "differs"
    return dict(sorted(outcomes.items()))


def files(suite: Path, groups: Iterable[str]) -> set[str]:
    """Return the paths of all files below the group folders, relative to the suite."""
    paths = (path for group in groups for path in (suite / group).rglob("*") if not path.is_dir())
    return {path.relative_to(suite).as_posix() for path in paths}

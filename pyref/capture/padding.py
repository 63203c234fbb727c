"""The rows of padded tokens, which do not matter to anyone.

A mask hides padded tokens from all others. Their own rows of the output are leftovers: eager
attention gives a query without keys the mean of all values, and scaled_dot_product_attention gives
zeros. A right program may leave anything there.

No name of an argument is trusted. A mask marks rows only if two runs prove them: with other tokens
in the padded places, no other row may change. The two implementations of attention in Hugging
Face's models are compared, too: a query that sees no key is marked where they differ.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from pyref.capture import check, exact, run
from pyref.capture.call import Call
from pyref.capture.float64 import in_float64

HIDDEN = -1e4  # added to a score, it leaves a weight of zero
STILL = 1e-12  # of the largest element: what float64 may move in rows that a change cannot reach
APART = 1e-6  # of the largest element: two implementations of attention are nearer
OTHER = {"eager": "sdpa", "sdpa": "eager"}
PARTS = ("decoder", "encoder", "src", "tgt", "memory")


@dataclass(frozen=True)
class Padded:
    """The padded rows of values, in their first two dimensions, by the name of a mask."""

    rows: Mapping[str, np.ndarray] = field(default_factory=dict)

    def of(self, value: np.ndarray) -> np.ndarray | None:
        """Return which elements of a value are padded, None if its rows are no tokens."""
        for rows in self.rows.values():
            if value.shape[:2] == rows.shape:
                return np.broadcast_to(rows.reshape(rows.shape + (1,) * (value.ndim - 2)), value.shape)
        return None

    def settled(self, output: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return two results with zeros for padded elements that are not finite in both."""
        padded = self.of(truth)
        if padded is None or output.shape != truth.shape:
            return output, truth
        chance = padded & ~(np.isfinite(output) & np.isfinite(truth))
        zeros = np.zeros((), dtype=output.dtype)
        return np.where(chance, zeros, output), np.where(chance, 0.0, truth)

    def zeros(self, value: np.ndarray) -> np.ndarray:
        """Return a value with zeros for padded elements."""
        padded = self.of(value)
        return value if padded is None else np.where(padded, np.zeros((), dtype=value.dtype), value)

    def deviation(self, variance: np.ndarray) -> np.ndarray:
        """Return the root of each variance plus the mean over its row.

        A padded element counts in no mean. If it has no variance, it gets none.
        """
        padded = self.of(variance)
        if padded is None:
            return np.sqrt(variance + variance.mean(axis=-1 if variance.ndim else None, keepdims=True))
        whole = padded.all(axis=-1, keepdims=True)
        mean = variance.mean(axis=-1, keepdims=True, where=whole | ~padded)
        deviation = np.sqrt(variance + mean)
        return np.where(padded & ~np.isfinite(deviation), 0.0, deviation)

    def notes(self, output: np.ndarray) -> Iterator[str]:
        """Yield a line for each mask: how many rows are not judged."""
        for mask, rows in self.rows.items():
            where = "of the output" if output.shape[:2] == rows.shape else "of values inside"
            yield f"{rows.sum()} of {rows.size} rows {where} are padded by {mask} and are not judged"


NONE = Padded()


@dataclass(frozen=True)
class Candidate:
    """A mask, the tokens (batch, position) that it hides, and the queries that see no key."""

    mask: str
    hidden: np.ndarray
    empty: np.ndarray


def padded(name: str, module: torch.nn.Module, call: Call) -> Padded:
    """Return the padded rows of the output, and of values inside with the same first dimensions.

    A module that cannot run in float64 has none.
    """
    try:
        return Padded(rows(name, module, call))
    except ValueError:  # the capture will say why
        return NONE


def rows(name: str, module: torch.nn.Module, call: Call) -> dict[str, np.ndarray]:
    """Return which rows of values are padded, by the name of a mask."""
    found: dict[str, np.ndarray] = {}
    for candidate in candidates(call):
        marked = proved(name, module, call, candidate)
        shapes = [other.shape for other in found.values()]
        if candidate.mask not in found and marked is not None and marked.shape not in shapes:
            found[candidate.mask] = marked
    return found


def unseen(name: str, module: torch.nn.Module, call: Call, marked: Padded) -> Iterator[str]:
    """Yield a line for each mask that changes no row that matters, such as one of later tokens."""
    for mask, rows in marked.rows.items():
        array = call.arrays[mask]
        hidden = rows if array.shape == rows.shape else rows.T
        if array.shape != hidden.shape:
            continue
        whole = np.where(hidden, array[~hidden].flat[0], array)
        before, after = (
            run.double(name, module, one)[0] for one in (call, call.with_arguments(**{mask: whole}))
        )
        padded = marked.of(before)
        changed = np.abs(before - after) > STILL * np.abs(before).max(initial=0)
        if not (changed if padded is None else changed & ~padded).any():
            yield f"{mask} changes no row that is judged: a program that ignores it passes: pad on the left"


def candidates(call: Call) -> Iterator[Candidate]:
    """Yield what each mask among the arguments may hide, in either sense of true."""
    for name, array in call.arrays.items():
        if "mask" not in name.lower():
            continue
        if array.ndim == 2 and np.isin(array, (0, 1)).all():
            for hidden in (array == 0, array == 1):
                yield Candidate(name, hidden, np.zeros_like(hidden))
        elif array.ndim == 2 and array.dtype.kind == "f":
            yield Candidate(name, array <= HIDDEN, np.zeros(array.shape, dtype=bool))
        elif array.ndim in (3, 4) and array.shape[-1] == array.shape[-2]:
            seen = array.astype(bool) if array.dtype.kind in "biu" else array > HIDDEN
            seen = seen.any(axis=1) if array.ndim == 4 else seen
            yield Candidate(name, ~seen.any(axis=-2), ~seen.any(axis=-1))


def proved(name: str, module: torch.nn.Module, call: Call, candidate: Candidate) -> np.ndarray | None:
    """Return the rows that a mask leaves to chance, None if there is no proof of any."""
    marked = candidate.empty & differing(name, module, call, candidate.empty.shape)
    if candidate.hidden.any() and not candidate.hidden.all():
        other = with_other_tokens(call, candidate)
        if other is not None:
            before, after = values(name, module, call), values(name, module, other)
            hidden = reached(before, after, candidate.hidden)
            if hidden is not None:
                turned = marked if hidden.shape == marked.shape else marked.T
                return hidden | turned
    return marked if marked.any() and not marked.all() else None


def with_other_tokens(call: Call, candidate: Candidate) -> Call | None:
    """Return the call with other tokens in the hidden places, None if it has no tokens."""
    changed = {}
    for name, array in call.arrays.items():
        turned = turned_to(array, candidate.hidden)
        if turned is not None and tokens_of(candidate.mask, name):
            changed[name] = replaced(array, turned)
    changed = {name: array for name, array in changed.items() if array is not None}
    return call.with_arguments(**changed) if changed else None


def turned_to(array: np.ndarray, hidden: np.ndarray) -> np.ndarray | None:
    """Return hidden places in the order of an array's first dimensions, None if they do not fit."""
    if array.dtype.kind not in "iuf" or array.ndim < 2:
        return None
    if array.shape[:2] == hidden.shape:
        return hidden
    return hidden.T if array.shape[:2] == hidden.T.shape else None


def tokens_of(mask: str, name: str) -> bool:
    """Report whether an argument may hold the tokens of a mask, by their names."""
    if "mask" in name.lower() or "position" in name.lower():
        return False
    of_mask = [part for part in PARTS if mask.startswith(part)]
    of_tokens = [part for part in PARTS if name.startswith(part)]
    return of_mask == of_tokens or (not of_mask and of_tokens == ["src"])


def replaced(array: np.ndarray, hidden: np.ndarray) -> np.ndarray | None:
    """Return an array with other values in the hidden places, None if it has no others."""
    made = array.copy()
    if array.dtype.kind == "f":
        made[hidden] = np.where(array[hidden] == 0, 1, -2 * array[hidden])
        return made
    known = np.unique(array)
    if known.size < 2:
        return None
    made[hidden] = known[(np.searchsorted(known, array[hidden]) + 1) % known.size]
    return made


def values(name: str, module: torch.nn.Module, call: Call) -> dict[str, np.ndarray]:
    """Return the float64 outputs of the modules inside a module by their paths, and its own by "".

    Of several calls of a module the last counts.
    """
    wide = exact.double(module)
    seen: dict[str, np.ndarray] = {}
    with in_float64(), noting(wide, seen):
        result = run.called(name, wide, call, np.float64)
    seen[""] = check.output(name, result, call.output).detach().numpy().copy()
    return seen


@contextmanager
def noting(module: torch.nn.Module, seen: dict[str, np.ndarray]) -> Iterator[None]:
    """Note the outputs of the modules inside a module."""

    def note(path: str, result: object) -> None:
        if isinstance(result, (tuple, list)) and result:
            result = result[0]
        if isinstance(result, torch.Tensor) and result.is_floating_point() and result.dim() > 1:
            seen[path] = result.detach().numpy().copy()

    handles = [
        inner.register_forward_hook(lambda _, __, result, path=path: note(path, result))
        for path, inner in module.named_modules()
        if path
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def reached(
    before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], hidden: np.ndarray
) -> np.ndarray | None:
    """Return the hidden rows in the order of the values that they are rows of.

    None if the tokens there reach another row, or do not reach the hidden rows of the output, which
    then belong to other tokens.
    """
    orders = [hidden] if hidden.shape == hidden.T.shape else [hidden, hidden.T]
    for order in orders:
        fitting = {path: a for path, a in before.items() if a.shape[:2] == order.shape and path in after}
        changes = {path: moved(a, after[path]) for path, a in fitting.items()}
        if any((change & ~order).any() for change in changes.values()):
            continue
        whole = before[""].shape == after[""].shape and moved(before[""], after[""])
        if whole is False or ("" not in fitting and np.any(whole)):
            continue
        if "" in changes:  # NaN is no result that another program must give
            changes = {"": changes[""] | ~np.isfinite(before[""]).reshape(*order.shape, -1).all(axis=-1)}
        if any((change & order).any() for change in changes.values()):
            return order
    return None


def moved(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return which rows, in the first two dimensions, two values differ in by more than float64."""
    off = np.where(a == b, 0, np.abs(a - b))
    off = np.where(np.isnan(a) & np.isnan(b), 0, np.where(np.isnan(off), np.inf, off))
    large = np.abs(a[np.isfinite(a)]).max(initial=0)
    return (off > STILL * large).reshape(*a.shape[:2], -1).any(axis=-1)


def differing(name: str, module: torch.nn.Module, call: Call, shape: tuple[int, ...]) -> np.ndarray:
    """Return the rows in which eager attention and PyTorch's own differ, none if there is one."""
    other = switched(module)
    if other is None:
        return np.zeros(shape, dtype=bool)
    try:
        a, b = (run.double(name, one, call)[0] for one in (module, other))
    except ValueError:  # some models have one implementation only
        return np.zeros(shape, dtype=bool)
    if a.shape != b.shape or a.shape[:2] != shape:
        return np.zeros(shape, dtype=bool)
    off = np.where(np.isfinite(a) & np.isfinite(b), np.abs(a - b), np.where(a == b, 0, np.inf))
    large = np.abs(a[np.isfinite(a)]).max(initial=0)
    return (off > APART * large).reshape(*shape, -1).any(axis=-1)


def switched(module: torch.nn.Module) -> torch.nn.Module | None:
    """Return a copy of a Hugging Face module with the other implementation of attention."""
    other, any_switch = copy.deepcopy(module), False
    switched_configs = set()
    for inner in other.modules():
        config = getattr(inner, "config", None)
        chosen = getattr(config, "_attn_implementation", None)
        if chosen in OTHER and id(config) not in switched_configs:
            switched_configs.add(id(config))
            config._attn_implementation = OTHER[chosen]
            any_switch = True
    return other if any_switch else None

"""Arrays of any library as NumPy arrays that the command can read."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

FLOATS = (np.float16, np.float32, np.float64)


def to_numpy(value: object, name: str = "output") -> Array:
    """Return an array, a tensor or nested lists of floats as a NumPy array.

    A tensor may be on a GPU, need gradients, or have any strides. bfloat16 and float8 become
    float32, which holds the same numbers. TypeError or ValueError if `value` is nothing of the
    sort.
    """
    if is_tensor(value):
        value = from_torch(value, name)
    elif hasattr(value, "__cuda_array_interface__") and hasattr(value, "get"):
        value = value.get()  # CuPy copies from the GPU only if told to
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: a masked array; fill the masked places first: array.filled(0)")
    if value is None or isinstance(value, (str, bytes, Mapping, set)):
        raise TypeError(f"{name}: {type(value).__name__}, want an array or a tensor of floats")
    return of_floats(plain(value, name), name)


def is_tensor(value: object) -> bool:
    """Report whether a value is a tensor of PyTorch, without importing PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def from_torch(tensor: Any, name: str) -> Array:
    """Return a tensor of PyTorch as an array."""
    import torch

    try:
        if tensor.is_quantized:
            tensor = tensor.dequantize()
        if tensor.layout is not torch.strided:
            tensor = tensor.to_dense()
        tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
        if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
            tensor = tensor.float()
        array: Array = tensor.numpy()
    except (NotImplementedError, RuntimeError, TypeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise TypeError(f"{name}: this tensor has no values to read: {lines[0]}") from error
    return array


def plain(value: Any, name: str) -> Array:
    """Return what NumPy makes of a value, or a list with tensors in it."""
    if isinstance(value, (list, tuple)) and any(is_tensor(part) for part in value):
        value = [from_torch(part, name) if is_tensor(part) else part for part in value]
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise ValueError(f"{name}: no array can be made of it: {error}") from error


def of_floats(array: Array, name: str) -> Array:
    """Return an array in a type of floats that the command reads; TypeError if it has none."""
    if array.dtype.type in FLOATS:
        return array
    if array.dtype.name.startswith(("bfloat16", "float8")):  # of the package ml_dtypes, as in JAX
        return array.astype(np.float32)
    if array.dtype.kind == "f":  # longdouble
        return array.astype(np.float64)
    raise TypeError(f"{name}: dtype {array.dtype}, want floats")


def save_output(
    folder: Path | str,
    output: object,
    *,
    weights: object = None,
    trace: Mapping[str, object] | None = None,
) -> Path:
    """Write an output where `difftest check DIR` looks for it, and return its file.

    `folder` is DIR/CASE. It gets output.npy and, where given, weights.npy with the attention
    weights and output/PATH.npy for each module of a model in `trace`.

    >>> import numpy, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saved = save_output(folder, numpy.zeros((2, 3)), trace={"layers.0.mlp": numpy.ones(3)})
    ...     saved.name, (saved.parent / "output" / "layers.0.mlp.npy").is_file()
    ('output.npy', True)
    """
    folder = Path(folder)
    for file, array in files(output, weights, trace):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / file, array, allow_pickle=False)
    return folder / "output.npy"


def files(output: object, weights: object, trace: Mapping[str, object] | None) -> Iterator[tuple[str, Array]]:
    """Yield the files of an output and their arrays. Nothing is yielded before all are arrays."""
    arrays = {"output.npy": to_numpy(output)}
    if weights is not None:
        arrays["weights.npy"] = to_numpy(weights, "weights")
    for path, value in (trace or {}).items():
        if not path or path in (".", "..") or any(sign in path for sign in "/\\:\0"):
            raise ValueError(f"trace: {path!r} is not the path of a module, such as model.layers.0.mlp")
        arrays[f"output/{path}.npy"] = to_numpy(value, f"trace of {path}")
    yield from arrays.items()

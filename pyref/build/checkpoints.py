"""Small files of tensors by every common writer: torch.save, safetensors and NumPy.

The Go tests in harness/internal/checkpoint read them. Every value follows from its index, so that a
test can write it down.
"""

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from pyref.build.pinned_torch import torch

# Files whose bytes vary: storages in a legacy file are named by addresses, and compressed bytes are
# the compressor's choice. They are compared by content.
BY_CONTENT = {"layer-legacy.pt", "views-legacy.pt", "bits-legacy.pt", "layer-compressed.npz"}


def write(folder: Path) -> None:
    """Write every file into an existing folder."""
    write_layer(folder)
    write_dtypes(folder)
    write_views(folder)
    write_wrapped(folder)
    write_arrays(folder)
    write_bits(folder)
    write_rare_types(folder)
    write_shards(folder)


def counted(*shape: int) -> torch.Tensor:
    """Return 0, 1, 2, ... in a shape, as float32."""
    return torch.arange(np.prod(shape, dtype=int), dtype=torch.float32).reshape(shape)


def layer() -> dict[str, torch.Tensor]:
    """Return a state dict of nn.MultiheadAttention(4, 2); element i is (i - 5) / 8 everywhere."""
    shapes = {
        "in_proj_weight": (12, 4),
        "in_proj_bias": (12,),
        "out_proj.weight": (4, 4),
        "out_proj.bias": (4,),
    }
    return {name: (counted(*shape) - 5) / 8 for name, shape in shapes.items()}


def write_layer(folder: Path) -> None:
    """Write one state dict with each writer."""
    module = torch.nn.MultiheadAttention(4, 2)
    module.load_state_dict(layer())
    torch.save(module.state_dict(), folder / "layer.pt")
    torch.save(module.state_dict(), folder / "layer-legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(module.state_dict(), folder / "layer-protocol4.pth", pickle_protocol=4)
    save_file(module.state_dict(), folder / "layer.safetensors", metadata={"format": "pt"})
    arrays = {name: value.numpy() for name, value in layer().items()}
    np.savez(folder / "layer.npz", **arrays)
    np.savez_compressed(folder / "layer-compressed.npz", **arrays)


def dtypes() -> dict[str, torch.Tensor]:
    """Return a tensor of every dtype, a scalar, and a tensor without elements."""
    numbers = torch.tensor([1.0, -2.5, 2.0**-20, 0.0], dtype=torch.float64)
    tensors = {
        str(dtype).removeprefix("torch."): numbers.to(dtype)
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    }
    tensors["not_finite"] = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0])
    tensors["fine"] = torch.tensor([1 / 3], dtype=torch.float64)
    for dtype in (torch.int8, torch.int16, torch.int32, torch.int64):
        tensors[str(dtype).removeprefix("torch.")] = torch.tensor([-1, 100], dtype=dtype)
    for dtype in (torch.uint8, torch.uint16, torch.uint32, torch.uint64):
        tensors[str(dtype).removeprefix("torch.")] = torch.tensor([1, 200], dtype=dtype)
    tensors["bool"] = torch.tensor([True, False])
    tensors["num_batches_tracked"] = torch.tensor(7)
    tensors["scalar"] = torch.tensor(0.5)
    tensors["empty"] = torch.zeros(0, 3)
    return tensors


def write_dtypes(folder: Path) -> None:
    """Write every dtype with the two writers that support all of them."""
    torch.save(dtypes(), folder / "dtypes.pt")
    save_file(dtypes(), folder / "dtypes.safetensors")


def views() -> dict[str, torch.Tensor]:
    """Return views of one storage with the values 0 to 23."""
    base = counted(2, 3, 4)
    return {
        "whole": base,
        "transposed": base.reshape(6, 4).T,
        "permuted": base.permute(2, 0, 1),
        "column": base[:, :, 1],
        "tail": base.flatten()[20:],
        "every_other": base.flatten()[1::2],
        "expanded": base[1, 2, :1].expand(3, 2),
        "one": base[1, 0, 2],
        "none": base[2:],
    }


def write_views(folder: Path) -> None:
    """Write views in both formats of torch.save."""
    torch.save(views(), folder / "views.pt")
    torch.save(views(), folder / "views-legacy.pt", _use_new_zipfile_serialization=False)


def write_wrapped(folder: Path) -> None:
    """Write files of training scripts: a nested state dict, parameters, a tensor, a module."""
    weight = counted(2, 3)
    momentum = {
        "state": {0: {"momentum_buffer": counted(2, 3)}},
        "param_groups": [{"lr": 0.1, "params": [0]}],
    }
    checkpoint = {"epoch": 3, "state_dict": OrderedDict(weight=weight), "optimizer": momentum, "loss": None}
    torch.save(checkpoint, folder / "nested.pt")
    parameters = {
        "weight": torch.nn.Parameter(weight),
        "frozen": torch.nn.Parameter(weight, requires_grad=False),
    }
    torch.save(parameters, folder / "parameters.pt")
    torch.save(weight, folder / "tensor.pt")
    torch.save({"weight": weight, "step": 12, "name": "mine"}, folder / "beside.pt")
    module = torch.nn.Linear(3, 2, bias=False)
    module.weight = parameters["weight"]
    torch.save(module, folder / "module.pt")
    torch.save({"weight": weight.to_sparse()}, folder / "sparse.pt")
    torch.save({"one": weight, "two": [weight]}, folder / "list.pt")


def write_arrays(folder: Path) -> None:
    """Write arrays in the forms that only NumPy has."""
    six = np.arange(6, dtype=np.float32).reshape(2, 3)
    arrays = {
        "fortran": np.asfortranarray(six),
        "big_endian": six.astype(">f4"),
        "half": six.astype(np.float16),
    }
    arrays |= {"integers": np.array([1, -2], np.int32), "scalar": np.array(0.5), "layer.0/w": six}
    np.savez(folder / "arrays.npz", **arrays)
    np.save(folder / "array.npy", np.asfortranarray(six.astype(">f8")))


def write_bits(folder: Path) -> None:
    """Write tensors with the negative bit, which PyTorch sets to negate numbers later."""
    numbers = torch.complex(counted(2, 3), counted(2, 3) + 1)
    tensors = {
        "imaginary": numbers.conj().imag,
        "transposed": numbers.conj().imag.T,
        "real": numbers.conj().real,
        "integers": torch._neg_view(torch.tensor([1, -2, 0, -(2**31)], dtype=torch.int32)),
        "half": torch._neg_view(counted(3).to(torch.float16)),
        "bytes": torch._neg_view(torch.tensor([0, 1, 255], dtype=torch.uint8)),
        "conjugated": numbers.clone().conj(),
    }
    torch.save(tensors, folder / "bits-legacy.pt", _use_new_zipfile_serialization=False)
    tensors["words"] = torch._neg_view(torch.tensor([0, 1, 256], dtype=torch.uint16))
    torch.save(tensors, folder / "bits.pt")


def write_rare_types(folder: Path) -> None:
    """Write every number of two types of 8 bits, and types whose values are only listed."""
    codes = torch.arange(256, dtype=torch.uint8)
    tensors = {}
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        name = str(dtype).removeprefix("torch.")
        tensors[name] = codes.clone().view(dtype)
        tensors[f"{name} as float32"] = tensors[name].float()
    tensors["complex64"] = torch.complex(counted(3, 2), counted(3, 2))
    tensors["float8_e8m0fnu"] = codes[:4].clone().view(torch.float8_e8m0fnu)
    save_file(tensors, folder / "rare-types.safetensors")
    tensors["complex128"] = tensors["complex64"].to(torch.complex128)
    tensors["float8_e4m3fnuz"] = codes[:4].clone().view(torch.float8_e4m3fnuz)
    torch.save(tensors, folder / "rare-types.pt")


def write_shards(folder: Path) -> None:
    """Write the layer in two files and an index, as Hugging Face names them."""
    names = sorted(layer())
    for kind, base, save in (
        ("safetensors", "model", save_file),
        ("bin", "pytorch_model", torch.save),
    ):
        place = folder / f"shards-{kind}"
        place.mkdir(exist_ok=True)
        weight_map = {}
        for number, chosen in enumerate((names[:1], names[1:]), start=1):
            file = f"{base}-{number:05}-of-00002.{kind}"
            save({name: layer()[name] for name in chosen}, place / file)
            weight_map |= dict.fromkeys(chosen, file)
        size = sum(value.nbytes for value in layer().values())
        index = {"metadata": {"total_size": size}, "weight_map": weight_map}
        (place / f"{base}.{kind}.index.json").write_text(json.dumps(index, indent=2) + "\n")

"""What someone who ports a module needs to know beside its parameters: its structure and its settings."""

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch

LINES = 2000  # of the structure; Go reads no more
WIDTH = 1000  # of a line
BYTES = 1 << 16  # of the settings as JSON
DEEPEST = 8
DROPPED = re.compile(r"^_|name_or_path|secret|passw|credential|api_?key|auth|^(hf_|use_)?token$", re.I)
PATH = re.compile(r"^(/|~|\./|\.\./|[A-Za-z]:[\\/]|\\\\|[a-z]+://)")


def describe(module: torch.nn.Module, dtype: torch.dtype) -> dict:
    """Return the fields of a case's config, without those that are empty."""
    fields = {
        "structure": structure(module),
        "settings": settings(module),
        "dtype": None if dtype is torch.float32 else str(dtype).removeprefix("torch."),
    }
    return {name: value for name, value in fields.items() if value}


def structure(module: torch.nn.Module) -> list[str]:
    """Return the lines of the module as PyTorch prints it, without the user's own folder."""
    text = repr(module).replace(str(Path.home()), "~")
    lines = [re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", line)[:WIDTH] for line in text.splitlines()]
    return lines if len(lines) <= LINES else [*lines[: LINES - 1], f"... {len(lines) - LINES + 1} more lines"]


def settings(module: torch.nn.Module) -> dict:
    """Return the module's `config` as an object of JSON, empty if it has none or a very large one."""
    found = plain(fields_of(getattr(module, "config", None)), 0)
    if not isinstance(found, dict) or len(json.dumps(found)) > BYTES:
        return {}
    return found


def fields_of(config: object) -> dict:
    """Return the fields of a configuration: a Hugging Face one, a dataclass, a dict or any other object."""
    if isinstance(config, Mapping):
        return dict(config)
    if callable(getattr(config, "to_dict", None)):
        return config.to_dict()
    if dataclasses.is_dataclass(config):
        return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return dict(vars(config)) if hasattr(config, "__dict__") and not isinstance(config, type) else {}


def plain(value: object, depth: int) -> object:
    """Return a value of JSON, without secrets and paths. The name of its class stands for a deep value."""
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value).removeprefix("torch.")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if depth < DEEPEST and isinstance(value, Mapping):
        return {
            str(key): plain(child, depth + 1)
            for key, child in value.items()
            if not DROPPED.search(str(key)) and fits(child)
        }
    if depth < DEEPEST and isinstance(value, (list, tuple, set, frozenset)):
        return [plain(child, depth + 1) for child in value if fits(child)]
    return type(value).__qualname__


def fits(value: object) -> bool:
    """Report whether a value may stand in the settings: no path, address or text with control characters."""
    if isinstance(value, str):
        return not PATH.search(value) and value.isprintable() and len(value) <= WIDTH
    return isinstance(
        value,
        (type(None), bool, int, float, Mapping, list, tuple, set, frozenset, torch.dtype, torch.device),
    )

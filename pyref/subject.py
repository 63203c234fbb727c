"""Let difftest test attention that is written in Python: one file, which needs NumPy and nothing else.

    from subject import serve

    def sdpa(query, key, value, *, config, allow=None, bias=None, sinks=None): ...
    def mha(query, key, value, *, config, state_dict, block=None, padding=None, **more): ...

    serve(sdpa=sdpa, mha=mha)

    difftest -- python mine.py

Every array is given by its name in the request, and only those that a case has; harness/PROTOCOL.md
says what each is, and what stands in config. Numbers of bfloat16 come as float32, and whatever is returned
is rounded to the type of the case. A layer returns its output, or the output and the weights where
config["need_weights"] asks for them. NotImplementedError skips a case, with its message as the reason; any
other exception is an error of that case, with its traceback. What is printed goes to stderr, because stdout
belongs to the protocol.

A captured module is served as serve(module=...), its inputs by name; python -m pyref serve does it for any
torch.nn.Module.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

PROTOCOL = 1
OPS = {"sdpa": "scaled_dot_product_attention", "mha": "multi_head_attention", "module": "module"}


def serve(
    *,
    sdpa: Callable | None = None,
    mha: Callable | None = None,
    module: Callable | None = None,
    name: str = "",
    version: str = "",
    precision: str = "",
    features: list[str] | None = None,
) -> None:
    """Answer every message until difftest says stop, or serve one folder, which --once names last.

    The precision is declared where it is less than float32; features, where given, are all that is offered
    beyond plain attention.
    """
    offered = {OPS["sdpa"]: sdpa, OPS["mha"]: mha, OPS["module"]: module}
    functions = {op: function for op, function in offered.items() if function is not None}
    folder = Path(sys.argv[-1])
    if (folder / "request.json").is_file():
        request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
        reply = answer(functions, folder, request)
        if reply["type"] != "ok":
            (folder / "reply.json").write_text(json.dumps(reply), encoding="utf-8")
        return
    about = {
        "protocol": PROTOCOL,
        "name": name or Path(sys.argv[0]).stem,
        "version": version,
        "language": "python",
        "precision": precision,
        "ops": list(functions),
        "features": features,
    }
    converse(functions, about, own_stdout())


def own_stdout() -> TextIO:
    """Return stdout for the protocol alone: from now on whatever else is printed goes to stderr."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    sys.stdout.flush()
    os.dup2(2, 1)
    return own


def converse(functions: dict[str, Callable], about: dict, out: TextIO) -> None:
    """Answer the messages on stdin, a line each."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        match message["type"]:
            case "start":
                reply = {"type": "started", **about}
            case "run":
                reply = answer(functions, Path(message["dir"]), message["request"])
            case "done":
                reply = {"type": "ok"}
            case _:
                return
        out.write(json.dumps({"seq": message["seq"], **reply}) + "\n")
        out.flush()


def answer(functions: dict[str, Callable], folder: Path, request: dict) -> dict[str, str]:
    """Compute one request and return the reply, ok or what came of it instead."""
    if request["op"] not in functions:
        return {"type": "skipped", "reason": f"{request['op']} is not offered"}
    try:
        compute(functions[request["op"]], folder, request)
    except NotImplementedError as reason:
        return {"type": "skipped", "reason": str(reason) or "not implemented"}
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        return {"type": "error", "message": message, "traceback": traceback.format_exc()}
    return {"type": "ok"}


def compute(function: Callable, folder: Path, request: dict) -> None:
    """Call a function on the arrays of a request and write what it returns."""
    arguments = load(folder, request["inputs"])
    if request["state_dict"]:
        arguments["state_dict"] = load(folder, request["state_dict"])
    results = function(**arguments, config=request["config"])
    output, weights = results if isinstance(results, tuple) else (results, None)
    write(folder / request["output"], output, request["precision"])
    if request["weights"] is not None and weights is not None:
        write(folder / request["weights"], weights, request["precision"])


def load(folder: Path, files: dict[str, str]) -> dict[str, Any]:
    """Return arrays by name, names of one file the same array, bits of bfloat16 as float32."""
    arrays = {file: np.load(folder / file, allow_pickle=False) for file in set(files.values())}
    for file, array in arrays.items():
        if array.dtype == np.uint16:
            arrays[file] = (array.astype(np.uint32) << 16).view(np.float32)
    return {name: arrays[file] for name, file in files.items()}


def write(file: Path, array: Any, precision: str) -> None:
    """Write an array as a type of NumPy, or as the bits of the nearest bfloat16."""
    if precision == "bfloat16":
        np.save(file, bfloat16(np.asarray(array, dtype=np.float32)))
    else:
        np.save(file, np.asarray(array).astype(precision))


def bfloat16(array: np.ndarray) -> np.ndarray:
    """Return the upper halves of float32, rounded to nearest, ties to even; NaN stays NaN."""
    bits = array.view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)

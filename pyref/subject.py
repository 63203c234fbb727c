"""Let difftest test attention written in Python. This one file needs NumPy and nothing else.

    from subject import serve

    def sdpa(query, key, value, *, config, allow=None, bias=None, sinks=None): ...
    def mha(query, key, value, *, config, state_dict, block=None, padding=None, **more): ...

    serve(sdpa=sdpa, mha=mha)

    difftest -- python mine.py

The arrays of a case are keyword arguments under their names in the request. harness/PROTOCOL.md
describes every array and every field of config. bfloat16 arrives as float32, and results are
rounded to the dtype of the case. A layer returns its output, or output and attention weights if
config["need_weights"] is set.

NotImplementedError skips a case, with its message as the reason. Any other exception is an error of
that case, with its traceback. Prints go to stderr, because stdout belongs to the protocol.

serve(module=...) serves a captured module, with its inputs by name. It may return its output and a
dict of the outputs of modules inside it, by their paths. `python -m pyref serve` serves any
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
OPS = {
    "sdpa": "scaled_dot_product_attention",
    "mha": "multi_head_attention",
    "rope": "rotary_embedding",
    "module": "module",
}


def serve(
    *,
    sdpa: Callable | None = None,
    mha: Callable | None = None,
    rope: Callable | None = None,
    module: Callable | None = None,
    name: str = "",
    version: str = "",
    precision: str = "",
    features: list[str] | None = None,
) -> None:
    """Answer every message until difftest says stop, or serve the one folder of `difftest --once`.

    `precision` declares an arithmetic of fewer bits than float32, such as "tf32". `features` lists
    all that is offered beyond plain attention; None offers everything.
    """
    offered = {OPS["sdpa"]: sdpa, OPS["mha"]: mha, OPS["rope"]: rope, OPS["module"]: module}
    functions = {op: function for op, function in offered.items() if function is not None}
    folder = Path(sys.argv[-1])
    if (folder / "request.json").is_file():
        request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
        reply = answer(functions, folder, request)
        if reply["type"] == "ok" and precision:
            reply["precision"] = precision
        if reply != {"type": "ok"}:
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
    """Return a private stdout for the protocol, and send all other prints to stderr."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    sys.stdout.flush()
    os.dup2(2, 1)
    return own


def converse(functions: dict[str, Callable], about: dict, out: TextIO) -> None:
    """Answer the messages on stdin, one per line."""
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
    """Compute one request, and return the reply: ok, skipped or error."""
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
    """Call a function on the arrays of a request, and write its results."""
    arguments = load(folder, request["inputs"])
    if request["state_dict"]:
        arguments["state_dict"] = load(folder, request["state_dict"])
    results = function(**arguments, config=request["config"])
    output, weights = results if isinstance(results, tuple) else (results, None)
    write(folder / request["output"], output, request["precision"])
    if isinstance(weights, dict):
        (folder / "output").mkdir(exist_ok=True)
        for path, inside in weights.items():
            write(folder / "output" / f"{path}.npy", inside, request["precision"])
        return
    if request["weights"] is not None and weights is not None:
        write(folder / request["weights"], weights, request["precision"])


def load(folder: Path, files: dict[str, str]) -> dict[str, Any]:
    """Return arrays by name, one array per file; bits of bfloat16 become float32."""
    arrays = {file: np.load(folder / file, allow_pickle=False) for file in set(files.values())}
    for file, array in arrays.items():
        if array.dtype == np.uint16:
            arrays[file] = (array.astype(np.uint32) << 16).view(np.float32)
    return {name: arrays[file] for name, file in files.items()}


def write(file: Path, array: Any, precision: str) -> None:
    """Write an array in a NumPy dtype, or as the bits of the nearest bfloat16."""
    if precision == "bfloat16":
        np.save(file, bfloat16(np.asarray(array, dtype=np.float32)))
    else:
        np.save(file, np.asarray(array).astype(precision))


def bfloat16(array: np.ndarray) -> np.ndarray:
    """Return float32 rounded to the bits of bfloat16, ties to even; NaN stays NaN."""
    bits = array.view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)

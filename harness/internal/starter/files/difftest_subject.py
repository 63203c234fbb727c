"""Your attention, as difftest runs it: difftest -- python difftest_subject.py.

Fill in sdpa or layer. Raise NotImplementedError for what you do not offer: the case is skipped
then. The page on the protocol describes every array and every field of config:
https://github.com/difftest/difftest/blob/main/harness/PROTOCOL.md
"""

import json
import os
import sys
import traceback
from pathlib import Path

import numpy as np


def sdpa(query, key, value, *, config, allow=None, bias=None, **more):
    """Return scaled_dot_product_attention of (B, H, L, E), (B, H, S, E) and (B, H, S, V)."""
    raise RuntimeError("difftest_subject.py: fill in sdpa, or raise NotImplementedError")


def layer(query, key, value, *, config, state_dict, block=None, padding=None, bias=None, **more):
    """Return the output of an attention layer with these parameters, (B, L, D)."""
    raise RuntimeError("difftest_subject.py: fill in layer, or raise NotImplementedError")


OFFERED = {"scaled_dot_product_attention": sdpa, "multi_head_attention": layer}


def main():
    """Answer every message of difftest. Prints go to stderr, because stdout is for the answers."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if message["type"] == "start":
            answer = {"type": "started", "protocol": 1, "name": "mine", "ops": list(OFFERED)}
        elif message["type"] == "run":
            answer = run(Path(message["dir"]), message["request"])
        elif message["type"] == "done":
            answer = {"type": "ok"}
        else:
            return
        answers.write(json.dumps({"seq": message["seq"], **answer}) + "\n")
        answers.flush()


def run(folder, request):
    """Compute one case and write its output."""
    try:
        arrays = load(folder, request["inputs"])
        if request["state_dict"]:
            arrays["state_dict"] = load(folder, request["state_dict"])
        output = OFFERED[request["op"]](**arrays, config=request["config"])
        np.save(folder / request["output"], np.asarray(output, dtype=request["precision"]))
    except NotImplementedError as reason:
        return {"type": "skipped", "reason": str(reason) or "not implemented"}
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return {"type": "error", "message": text, "traceback": traceback.format_exc()}
    return {"type": "ok"}


def load(folder, files):
    """Return arrays by their names."""
    if any(np.load(folder / file, mmap_mode="r").dtype == np.uint16 for file in files.values()):
        raise NotImplementedError("bfloat16 arrives as its bits, in uint16")
    return {name: np.load(folder / file, allow_pickle=False) for name, file in files.items()}


if __name__ == "__main__":
    main()

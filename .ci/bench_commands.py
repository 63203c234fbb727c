"""Measure commands of difftest, beside NumPy or beside a bar in seconds: see bench.

A row starts both programs anew and counts all that they take, with their start. Cases and files are
made in a temporary folder. A ratio of a bar is the bar over what difftest takes.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

MAKE = """
import sys, numpy as np
name, count, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
x = np.random.default_rng(1).standard_normal(count << 20, dtype=np.float32).reshape(-1, 8192)
if kind == "npy": np.save(name, x)
if kind == "fortran": np.save(name, np.asfortranarray(x))
if kind == "near": np.save(name, np.nextafter(x, np.float32(0)))
parts = {f"layer.{i}.weight": part for i, part in enumerate(np.split(x, 16))}
if kind == "npz": np.savez(name, **parts)
if kind == "safetensors":
    import torch
    from safetensors.torch import save_file
    save_file({key: torch.from_numpy(part.copy()) for key, part in parts.items()}, name)
if kind == "pt":
    import torch
    torch.save({key: torch.from_numpy(part.copy()) for key, part in parts.items()}, name)
"""
COMPARE = """
import sys, numpy as np
a, b = np.load(sys.argv[1]), np.load(sys.argv[2])
d = np.abs(a - b)
ulp = d / np.spacing(np.maximum(np.abs(a), np.abs(b)))
print((a == b).sum(), d.max(), np.linalg.norm(d) / np.linalg.norm(b), np.median(ulp))
"""
WEIGHTS = """
import sys, numpy as np
name = sys.argv[1]
if name.endswith((".npy", ".npz")):
    x = np.load(name)
    tensors = [x] if name.endswith(".npy") else [x[key] for key in x]
elif name.endswith(".safetensors"):
    from safetensors.numpy import load_file
    tensors = load_file(name).values()
else:
    import torch
    tensors = [part.numpy() for part in torch.load(name).values()]
for x in tensors: print(x.mean(), x.std(), (x == 0).sum())
"""
# Wrong outputs of a case: a known mistake, the scale applied twice, and one that nobody knows.
WRONG = """
import json, sys, pathlib, numpy as np, torch
case, output, kind, heads = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
truth = np.load(case / "expected/truth.npy")
if kind == "unexplained":
    np.save(output, (truth * truth + truth / 10).astype(np.float32))
    sys.exit()
x = torch.from_numpy(np.load(case / "inputs/query.npy"))
state = {p.stem: torch.from_numpy(np.load(p)) for p in (case / "state_dict").glob("*.npy")}
if "in_proj_weight" in state:
    weights, biases = state["in_proj_weight"].chunk(3), state["in_proj_bias"].chunk(3)
else:
    weights, biases = ([state[f"{n}_proj.{of}"] for n in "qkv"] for of in ("weight", "bias"))
width = x.shape[2] // heads
q, k, v = (torch.nn.functional.linear(x, w, b).unflatten(2, (-1, width)).transpose(1, 2)
           for w, b in zip(weights, biases))
mixed = torch.nn.functional.scaled_dot_product_attention(
    q, k, v, is_causal=True, scale=1 / width, enable_gqa=k.shape[1] != heads)
out = "out_proj" if "out_proj.weight" in state else "o_proj"
context = mixed.transpose(1, 2).flatten(2)
y = torch.nn.functional.linear(context, state[out + ".weight"], state[out + ".bias"])
np.save(output, y.numpy())
"""


class Cost(NamedTuple):
    """What a process takes."""

    seconds: float  # of CPU
    megabytes: float  # at most


class Row(NamedTuple):
    """A command of difftest, and a program of NumPy or a bar for its seconds and its megabytes."""

    what: str
    arguments: list[str]
    program: str | None  # a key of PROGRAMS
    files: list[str]  # the arguments of the program
    seconds: float | None
    megabytes: float | None


PROGRAMS = {"compare": COMPARE, "weights": WEIGHTS, "load": "import sys, numpy as np; np.load(sys.argv[1])"}

# A name of a case, its options for difftest new, the kind of its wrong output, and its bars.
DIAGNOSES = [
    ("B2_T1024_D768_H12", "--batch 2 --queries 1024 --heads 12 --head-dim 64", "known", 3, None),
    ("B2_T1024_D768_H12", "--batch 2 --queries 1024 --heads 12 --head-dim 64", "unexplained", 6, None),
    ("B1_T256_D512_H8", "--batch 1 --queries 256 --heads 8 --head-dim 64", "unexplained", 2, None),
    (
        "B1_T512_D2048_H32_Hk8",
        "--batch 1 --queries 512 --heads 32 --kv-heads 8 --head-dim 64",
        "known",
        3,
        700,
    ),
    (
        "B1_T2048_D4096_H32_Hk8",
        "--batch 1 --queries 2048 --heads 32 --kv-heads 8 --head-dim 128",
        "known",
        30,
        3000,
    ),
]
# Small cases that see few mistakes and many, for the growth with mistakes and their pairs.
GROWTH = [
    ("plain", "--layer --queries 7"),
    ("decoder", "--layer --queries 7 --kv-heads 2 --causal --rope half --past 3"),
    (
        "everything",
        "--layer --queries 7 --kv-heads 2 --causal --rope half --past 3 --window 5 --softcap 20 --sinks",
    ),
]
FORMATS = ["npy", "fortran.npy", "npz", "safetensors", "pt"]


def cost(arguments: list, threads: int, statuses: tuple = (0, 1)) -> Cost:
    """Run a process to its end and return what it took."""
    environment = {**os.environ, "GOMAXPROCS": str(threads), "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in statuses:
        raise SystemExit(f"{arguments}: exit status {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


class Bench:
    """The files that rows need, made when they are first needed."""

    def __init__(self, difftest: Path, python: Path, folder: Path):
        self.difftest, self.python, self.folder = difftest, python, folder

    def tensor(self, name: str, megabytes: int, kind: str) -> str:
        """Return a file of random numbers."""
        path = self.folder / name
        if not path.exists():
            subprocess.run([self.python, "-c", MAKE, path, str(megabytes // 4), kind], check=True)
        return str(path)

    def case(self, name: str, options: str) -> None:
        """Make a case."""
        if not (self.folder / "cases" / "bench" / name).exists():
            command = [
                self.difftest,
                "new",
                f"bench/{name}",
                *options.split(),
                "--into",
                self.folder / "cases",
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def wrong(self, name: str, options: str, kind: str) -> str:
        """Return a wrong output of a case."""
        self.case(name, options)
        path = self.folder / f"{name}-{kind}.npy"
        words = options.split()
        heads = words[words.index("--heads") + 1] if "--heads" in words else "4"
        case = self.folder / "cases" / "bench" / name
        subprocess.run([self.python, "-c", WRONG, case, path, kind, heads], check=True)
        return str(path)

    def copies(self, count: int) -> str:
        """Return a folder of cases that are copies of one."""
        self.case("small", "--queries 5")
        folder = self.folder / f"copies{count}"
        for i in range(0 if folder.exists() else count):
            copy = folder / "bench" / f"c{i}"
            shutil.copytree(self.folder / "cases" / "bench" / "small", copy)
            manifest = (copy / "case.json").read_text()
            (copy / "case.json").write_text(manifest.replace('"bench/small"', f'"bench/c{i}"'))
        return str(folder)

    def check(self, name: str, output: str) -> list[str]:
        """Return the arguments that judge an output of a case."""
        return ["check", f"bench/{name}", output, "--fixtures", str(self.folder / "cases")]


def rows(bench: Bench):
    """Yield the name of each row and a function that makes it."""
    for name, options, kind, seconds, megabytes in DIAGNOSES:
        options = f"--layer --causal {options}"
        what = f"diagnosis, {kind}, {name.replace('_', ' ')}"
        yield (
            what,
            lambda what=what, name=name, options=options, kind=kind, seconds=seconds, most=megabytes: Row(
                what, bench.check(name, bench.wrong(name, options, kind)), None, [], seconds, most
            ),
        )

    def compared() -> Row:
        files = [bench.tensor("a.npy", 256, "npy"), bench.tensor("b.npy", 256, "near")]
        return Row("compare, 2 x 256 MB", ["compare", *files], "compare", files, None, 100)

    yield "compare, 2 x 256 MB", compared
    for form in FORMATS:
        what = f"weights, 1 GB, {form}"

        def listed(what=what, form=form) -> Row:
            kind = "fortran" if form.startswith("fortran") else form
            file = bench.tensor(f"big.{form}", 1024, kind)
            return Row(what, ["weights", file], "weights", [file], None, 150)

        yield what, listed
    gate = "gate, every embedded case of attention"
    yield gate, lambda: Row(gate, ["--skip", "models/**", "--skip", "blocks/**"], None, [], 0.12, None)
    for count in (100, 1000, 10000):
        what = f"how cost grows with cases, {count}"
        most = 300 if count == 10000 else None
        yield (
            what,
            lambda what=what, count=count, most=most: Row(
                what, ["--fixtures", bench.copies(count), "--quiet"], None, [], None, most
            ),
        )
    for name, options in GROWTH:
        what = f"how cost grows with mistakes, {name}"
        yield (
            what,
            lambda what=what, name=name, options=options: Row(
                what, bench.check(name, bench.wrong(name, options, "unexplained")), None, [], None, None
            ),
        )

"""The NumPy example with one number wrong: `python wrong_number.py NUMBER VALUE`.

An edit replaces a piece of the example's source that stands there once. VALUE is the wrong number.
"""

import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples/numpy_attention.py"

ROTATE = 'rotate(x, config["first_position"], **config["rope"]) for x in (q, k)'
ADDED = "scores = (scores + added).astype(np.float32)"
SINKS = "total = total + np.exp(sinks[:, None, None] - largest)"
PROJECT = "    q, k, v = project(config, state, query, key, value)"

EDITS = {
    "scale": [('np.float32(config["scale"])', 'np.float32(config["scale"] * VALUE)')],
    "temperature": [
        (ADDED, "scores = ((scores + added) / VALUE).astype(np.float32)"),
        (SINKS, "total = total + np.exp(sinks[:, None, None] / VALUE - largest)"),
    ],
    "softcap": [('cap = np.float32(config["softcap"])', "cap = np.float32(VALUE)")],
    "score-offset": [("np.tanh(scores / cap)", "np.tanh((scores + np.float32(VALUE)) / cap)")],
    "sink-offset": [(SINKS, "total = total + np.exp(sinks[:, None, None] + np.float32(VALUE) - largest)")],
    "alibi-bias-max": [("-8 * (h + 1)", "-VALUE * (h + 1)"), ("-4 * (2", "-VALUE / 2 * (2")],
    "zero-keys": [
        (
            "total = weights.sum(axis=-1, keepdims=True)",
            "total = weights.sum(axis=-1, keepdims=True) + np.float32(VALUE) * np.exp(-largest)",
        )
    ],
    "rope-base": [("base ** (", "VALUE ** (")],
    "rope-factor": [("np.arange(x.shape[2])) / factor", "np.arange(x.shape[2])) / VALUE")],
    "rope-dim": [("    positions = (first", "    dim = VALUE\n    positions = (first")],
    "rope-query-position": [
        (ROTATE, 'rotate(x, config["first_position"] + n, **config["rope"]) for x, n in ((q, VALUE), (k, 0))')
    ],
    "rope-first-position": [
        (ROTATE, 'rotate(x, config["first_position"] + VALUE, **config["rope"]) for x in (q, k)')
    ],
    "qk-norm-epsilon": [("np.float32(eps)", "np.float32(VALUE)")],
    "window": [('np.abs(ahead) < config["window"]', "np.abs(ahead) < VALUE")],
    "causal-offset": [("sees &= ahead <= 0", "sees &= ahead <= VALUE")],
    "first-position": [
        (PROJECT, '    config = config | {"first_position": config["first_position"] + VALUE}\n' + PROJECT)
    ],
    "relative-clip": [
        ("np.clip(distances(config, L, S), -R, R)", "np.clip(distances(config, L, S), -VALUE, VALUE)")
    ],
    "cache-key-factor": [("[past_key, k]", "[np.float32(VALUE) * past_key, k]")],
    "cache-value-factor": [("[past_value, v]", "[np.float32(VALUE) * past_value, v]")],
}


def edited(number: str, value: str) -> str:
    """Return the source of the example with a wrong number."""
    source = EXAMPLE.read_text()
    for old, new in EDITS[number]:
        assert source.count(old) == 1, old
        source = source.replace(old, new.replace("VALUE", f"({value})"))
    return source


if __name__ == "__main__":
    name, value = sys.argv[1:]
    exec(compile(edited(name, value), EXAMPLE, "exec"), {"__name__": "__main__", "__file__": str(EXAMPLE)})

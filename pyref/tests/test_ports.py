"""The NumPy ports of models pass in every order of summation, and their mistakes are named."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.capture import capture
from pyref.models import store
from pyref.tests.support import ROOT, Command, verdict

sys.path.insert(0, str(ROOT / "pyref/examples/models"))
import bert
import gpt2
import llama
import port

# The class of a wrong number of the configuration, which has no name.
NUMBER = "wrong-number"

# The name of each mistake. Mistakes with None may stay without a name, but never get one of these.
NAMES = {
    "llama": {
        "offset": "norm-offset-added",
        "tied": "head-tied",
        "gelu": "gelu-tanh",
        "relu": "activation-relu",
        "exchanged": "gate-up-exchanged",
        "eps": NUMBER,
        "base": NUMBER,
        "scaled": "embedding-scale-added",
        "unnormed": "norm-final-missing",
        "residual": "residual-from-norm",
        "interleaved": "rope-other-style",
        "tiled": "kv-heads-tiled",
        "unscaled": "scale-missing",
        "acausal": "causal-missing",
        "reordered": "layers-reversed",
    },
    "gpt2": {
        "gain": None,
        "eps": NUMBER,
        "erf": "gelu-erf",
        "quick": "gelu-quick",
        "relu": "activation-relu",
        "grouped": "fused-read-per-head",
        "transposed": "output-weight-transposed",
        "shifted": "positions-plus-one",
        "unplaced": "positions-missing",
        "parallel": "residual-parallel",
        "exchanged": "norms-exchanged",
        "unnormed": "norm-final-missing",
        "rms": "norm-mean-kept",
        "unbiased": "mlp-bias-missing",
        "acausal": "causal-missing",
    },
    "bert": {
        "eps": NUMBER,
        "tanh": "gelu-tanh",
        "relu": "activation-relu",
        "shifted": "positions-plus-two",
        "untyped": "token-types-missing",
        "unnormed": "norm-embedding-missing",
        "prenorm": "norm-before-branch",
        "rms": "norm-mean-kept",
        "sample": "norm-variance-unbiased",
        "exchanged": "norms-exchanged",
        "unbiased": "biases-missing",
        "padded": "padding-ignored",
        "causal": "causal-added",
        "unmerged": "heads-merge-untransposed",
        "reordered": "layers-reversed",
    },
}

# The first wrong module of some mistakes, without the prefix of the model, and the name of the
# mistake there.
FIRST = {
    "llama": {
        "offset": ("layers.0.input_layernorm", "norm-offset-added"),
        "gelu": ("layers.0.mlp.down_proj", "gelu-tanh"),
        "residual": ("layers.0.post_attention_layernorm", "residual-from-norm"),
        "tiled": ("layers.0.self_attn.o_proj", "kv-heads-tiled"),
        "unnormed": ("lm_head", "norm-final-missing"),
    },
    "gpt2": {
        "shifted": ("wpe", "positions-plus-one"),
        "rms": ("h.0.ln_1", "norm-mean-kept"),
        "erf": ("h.0.mlp.act", "gelu-erf"),
        "parallel": ("h.0.ln_2", "residual-parallel"),
        "unnormed": ("lm_head", "norm-final-missing"),
    },
    "bert": {
        "untyped": ("embeddings.LayerNorm", "token-types-missing"),
        "padded": ("encoder.layer.0.attention.self", "padding-ignored"),
        "sample": ("embeddings.LayerNorm", "norm-variance-unbiased"),
        "tanh": ("encoder.layer.0.intermediate", "gelu-tanh"),
        "reordered": ("encoder.layer.0.attention.self.query", "layers-reversed"),
    },
}
PORTS = {"decoder": llama, "llama": llama, "gpt2": gpt2, "bert": bert}


def decoder() -> tuple[torch.nn.Module, dict]:
    """Return the decoder of pyref.models, which has Llama's names, and its configuration."""
    model = store.models()["llama"][0]
    s = model.settings
    config = {
        "num_hidden_layers": s.layers,
        "num_attention_heads": s.heads,
        "num_key_value_heads": s.kv_heads,
        "rms_norm_eps": s.eps,
        "rope_theta": s.base,
    }
    return model, config


def hugging_face(name: str) -> tuple[torch.nn.Module, dict]:
    """Return a tiny model of transformers, and its configuration."""
    transformers = pytest.importorskip("transformers")
    tokens = {"vocab_size": 31, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    sizes = tokens | {
        "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4,
        "max_position_embeddings": 16,
    }  # fmt: skip
    match name:
        case "llama":
            config = transformers.LlamaConfig(**sizes, num_key_value_heads=2)
            model = transformers.LlamaForCausalLM(config)
        case "gpt2":
            config = transformers.GPT2Config(**tokens, n_embd=24, n_layer=3, n_head=4, n_positions=16)
            model = transformers.GPT2LMHeadModel(config)
        case "bert":
            config = transformers.BertConfig(**sizes)
            model = transformers.BertModel(config, add_pooling_layer=False)
    config.use_cache = False
    return model, config.to_dict()


MODELS: dict[str, Callable] = {
    "decoder": decoder,
    **{name: lambda name=name: hugging_face(name) for name in ("llama", "gpt2", "bert")},
}


@pytest.fixture(scope="module", params=MODELS)
def captured(request, tmp_path_factory) -> tuple[Path, str, ModuleType, dict]:
    """Return a folder of cases, the name of its only case, the port, and the configuration."""
    model, config = MODELS[request.param]()
    shake(model, Stream(11))
    folder = tmp_path_factory.mktemp("ports")
    capture(model.eval(), store.inputs(), f"ports/{request.param}", folder)
    return folder, request.param, PORTS[request.param], config


@torch.no_grad()
def shake(model: torch.nn.Module, stream: Stream) -> None:
    """Draw every parameter so that each mistake shows; weights of one dimension are a norm's."""
    for name, parameter in model.named_parameters():
        drawn = torch.from_numpy(stream.normal(name, tuple(parameter.shape)).astype(np.float32))
        if parameter.dim() == 2:
            size = 0.2 if "emb" in name or ".wte" in name or ".wpe" in name else parameter.shape[1] ** -0.5
            parameter.copy_(size * drawn)
        else:
            parameter.copy_((1.0 if name.endswith("weight") else 0.0) + 0.2 * drawn)


def judged(difftest: Command, captured: tuple, plan: port.Plan, output: Path) -> tuple[str, list[str]]:
    """Return the verdict on a port, and the names that difftest gives."""
    folder, name, module, config = captured
    state, inputs = port.read(folder / "ports" / name)
    compute = getattr(module, module.__name__)
    np.save(output, compute(config, state, inputs, plan).astype(np.float32))
    report = difftest.report("check", f"ports/{name}", output, "--fixtures", folder)
    (case,) = report["results"]
    return verdict(case), [match["id"] for match in case["matches"]]


def traced(difftest: Command, captured: tuple, plan: port.Plan, folder: Path) -> tuple[str, dict]:
    """Return the verdict on a port, and the trace of its modules."""
    cases, name, module, config = captured
    state, inputs = port.read(cases / "ports" / name)
    output = getattr(module, module.__name__)(config, state, inputs, plan)
    np.save(folder / "output.npy", output.astype(np.float32))
    port.save_trace(folder / "modules", plan.trace)
    files = (folder / "output.npy", "--trace", folder / "modules")
    (case,) = difftest.report("check", f"ports/{name}", *files, "--fixtures", cases)["results"]
    return verdict(case), case["trace"]


@pytest.mark.parametrize("order", port.BLOCKS)
def test_a_right_port_has_no_wrong_module(difftest, captured, tmp_path, order):
    result, trace = traced(difftest, captured, port.Plan(order), tmp_path)
    assert (result, trace.get("first")) == ("pass", None)
    assert not [module for module in trace["modules"] if not module["ok"]]
    assert len(trace["modules"]) > 25


@pytest.mark.parametrize("number", range(5))
def test_the_first_wrong_module_of_a_port_is_named(difftest, captured, tmp_path, number):
    mistake, (path, name) = list(FIRST[captured[2].__name__].items())[number]
    result, trace = traced(difftest, captured, port.Plan("blocked", mistake), tmp_path)
    assert result.startswith("fail")
    assert trace["first"].removeprefix("model.").removeprefix("transformer.") == path
    assert name in [match["id"] for match in trace["matches"]]


@pytest.mark.parametrize("order", port.BLOCKS)
def test_a_right_port_passes_in_any_order_of_summation(difftest, captured, tmp_path, order):
    assert judged(difftest, captured, port.Plan(order), tmp_path / "output.npy") == ("pass", [])


@pytest.mark.parametrize("number", range(15))
def test_a_mistake_of_a_port_gets_its_name(difftest, captured, tmp_path, number):
    module = captured[2]
    names = NAMES[module.__name__]
    assert list(names) == list(module.MISTAKES)
    mistake = list(names)[number]
    result, named = judged(difftest, captured, port.Plan("blocked", mistake), tmp_path / "output.npy")
    assert result.startswith("fail")
    if names[mistake] is None:
        assert not set(named) & set(names.values())
    elif names[mistake] == NUMBER:
        assert (result, named) == (f"fail: {NUMBER}", [])
    else:
        assert names[mistake] in named

"""Mistakes in ports of attention modules of transformers get their names.

A port is a module of pyref.models.attention with the parameters of the captured one. It shares no
code with it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.capture import capture
from pyref.models import attention, attention_planted, attention_store
from pyref.models.attention import Settings
from pyref.tests.support import Command, verdict

nn, Tensor = torch.nn, torch.Tensor
BATCH, TOKENS, WIDTH, HEADS, SIZE = 4, 7, 30, 5, 6
EVERYWHERE, OWN = attention_planted.EVERYWHERE, attention_planted.OWN
# Without an output projection these are another order of the output's features.
MERGES = ("heads-merge-untransposed", "heads-merge-strided", "heads-merge-reversed")
BY_MASK = ("causal-missing", "causal-next-seen", "causal-self-hidden")


@dataclass(frozen=True)
class Subject:
    """A module of attention, its arguments, and a port with the same parameters."""

    module: nn.Module
    arguments: dict[str, object]
    port: attention.Attention
    mistakes: tuple[str, ...]  # in addition to EVERYWHERE


def settings(**values: object) -> Settings:
    """Return the sizes of all subjects with other options."""
    return Settings(**{"width": WIDTH, "heads": HEADS, "kv_heads": HEADS, "size": SIZE, **values})


def tokens() -> Tensor:
    """Return four sequences."""
    return torch.from_numpy(Stream(23).normal("x", (BATCH, TOKENS, WIDTH)))


def padding() -> Tensor:
    """Return the padded tokens. They stand on the left, so that later tokens see them."""
    return torch.arange(TOKENS) < torch.tensor([[3], [1], [0], [2]])


def added(port: attention.Attention) -> Tensor:
    """Return the mask that is added to scores."""
    return torch.zeros(BATCH, 1, TOKENS, TOKENS).masked_fill(
        ~port.seen(TOKENS, padding()), torch.finfo(torch.float32).min
    )


class First(nn.Module):
    """A module that returns the first of its inner module's results."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, **arguments: object) -> Tensor:
        """Return the first result."""
        return self.inner(**arguments)[0]


def configured(kind: str, **values: object) -> object:
    """Return the configuration of a model that computes attention itself."""
    config = getattr(pytest.importorskip("transformers"), kind)(**values)
    config._attn_implementation = "eager"
    return config


def llama() -> Subject:
    """Return LlamaAttention: grouped heads that are rotated."""
    config = configured(
        "LlamaConfig", hidden_size=WIDTH, num_attention_heads=HEADS, num_key_value_heads=1, head_dim=SIZE,
        attention_bias=True, num_hidden_layers=1,
    )  # fmt: skip
    from transformers.models.llama.modeling_llama import LlamaAttention

    port = attention.Attention(settings(kv_heads=1, rotated=SIZE))
    angles = attention.tables(TOKENS, SIZE, torch.float32)
    arguments = {
        "hidden_states": tokens(),
        "position_embeddings": tuple(table.expand(BATCH, -1, -1) for table in angles),
        "attention_mask": added(port),
    }
    rotary = ("rope-missing", "rope-other-style", "rope-backwards")
    return Subject(First(LlamaAttention(config, 0)), arguments, port, (*BY_MASK, *rotary))


def gpt2() -> Subject:
    """Return GPT2Attention: one fused projection."""
    config = configured("GPT2Config", n_embd=WIDTH, n_head=HEADS, n_layer=1)
    from transformers.models.gpt2.modeling_gpt2 import GPT2Attention

    port = attention.Fused(settings())
    arguments = {"hidden_states": tokens(), "attention_mask": added(port)}
    fused = ("query-key-swapped", "projections-rotated", "causal-transposed", "padding-inverted")
    return Subject(First(GPT2Attention(config, layer_idx=0)), arguments, port, (*BY_MASK, *fused))


class WithoutOutput(attention.Attention):
    """Attention without an output projection."""

    def hold(self, width: int, inner: int, keys: int) -> None:
        """Make the projections with BERT's names."""
        self.query, self.key, self.value = (nn.Linear(width, size) for size in (inner, keys, keys))

    def project(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values as (B, H, T, E)."""
        return self.split(self.query(x)), self.split(self.key(memory)), self.split(self.value(memory))

    def finish(self, merged: Tensor) -> Tensor:
        """Return the heads side by side."""
        return merged


def bert() -> Subject:
    """Return BertSelfAttention: neither causal nor with an output projection."""
    config = configured("BertConfig", hidden_size=WIDTH, num_attention_heads=HEADS, num_hidden_layers=1)
    from transformers.models.bert.modeling_bert import BertSelfAttention

    port = WithoutOutput(settings(causal=False))
    arguments = {"hidden_states": tokens(), "attention_mask": added(port)}
    return Subject(First(BertSelfAttention(config)), arguments, port, ("padding-ignored", "causal-added"))


def t5() -> Subject:
    """Return T5Attention: biases by distance, no scale, no biases of projections."""
    config = configured("T5Config", d_model=WIDTH, d_kv=SIZE, num_heads=HEADS, num_layers=1)
    from transformers.models.t5.modeling_t5 import T5Attention

    port = attention.Attention(settings(scale=1.0, causal=False, distances=TOKENS, biases=False))
    arguments = {"hidden_states": tokens(), "mask": added(port)}
    relative = ("relative-missing", "relative-transposed", "padding-ignored", "causal-added")
    module = First(T5Attention(config, has_relative_attention_bias=True, layer_idx=0))
    return Subject(module, arguments, port, relative)


class ByHand(nn.Module):
    """Attention as many write it, with scaled queries."""

    def __init__(self) -> None:
        super().__init__()
        names = ("q_proj", "k_proj", "v_proj", "o_proj")
        self.layers = nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in names})

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the attention of x to itself, where the mask is true."""

        def heads(name: str) -> Tensor:
            return self.layers[name](x).unflatten(-1, (HEADS, SIZE)).movedim(2, 1)

        scores = torch.einsum("bhld,bhsd->bhls", heads("q_proj") / SIZE**0.5, heads("k_proj"))
        weights = torch.where(mask, scores, torch.finfo(scores.dtype).min).softmax(dim=-1)
        return self.layers["o_proj"](torch.einsum("bhls,bhsd->blhd", weights, heads("v_proj")).flatten(2))


def by_hand() -> Subject:
    """Return a module of four projections that no library has."""
    port = attention.Attention(settings())
    arguments = {"x": tokens(), "mask": port.seen(TOKENS, padding())}
    return Subject(ByHand(), arguments, port, (*BY_MASK, "query-bias-missing", "output-bias-missing"))


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "llama": llama, "gpt2": gpt2, "bert": bert, "t5": t5, "by-hand": by_hand,
}  # fmt: skip


@torch.no_grad()
def copy_parameters(module: nn.Module, port: attention.Attention) -> None:
    """Give a port the parameters of a module, by the ends of their names."""
    given = dict(module.named_parameters())
    for name, parameter in port.named_parameters():
        if name == "relative.weight":
            parameter.copy_(by_distance(given["inner.relative_attention_bias.weight"]))
            continue
        end = name.replace("_proj", "") if isinstance(module, First) and "inner.q.weight" in given else name
        (value,) = (value for key, value in given.items() if key.endswith("." + end))
        parameter.copy_(value)


def by_distance(table: Tensor) -> Tensor:
    """Return T5's biases of the distances -TOKENS to TOKENS: short ones have a row each."""
    distance = torch.arange(-TOKENS, TOKENS + 1)
    return table[distance.abs() + (len(table) // 2) * (distance > 0)]


def plants(subject: Subject) -> Iterator[tuple[str, attention_planted.Plant]]:
    """Yield at least twenty mistakes in a port."""
    own = {name: plant for group in OWN.values() for name, plant in group.items()}
    if not subject.port.settings.causal:
        own |= OWN["relative"]
    scaled = {"scale-missing", "scale-inverted"} if subject.port.settings.scale == 1 else set()
    for name in [name for name in EVERYWHERE if name not in scaled] + list(subject.mistakes):
        yield name, (EVERYWHERE | own)[name]


def check(difftest: Command, folder: Path, case: str, output: np.ndarray) -> tuple[str, list[str]]:
    """Return the verdict on an output, and the names that difftest gives."""
    file = folder / "output.npy"
    np.save(file, output)
    (result,) = difftest.report("check", case, file, "--fixtures", folder)["results"]
    return verdict(result), [match["id"] for match in result["matches"]]


@pytest.mark.parametrize("name", SUBJECTS)
def test_mistakes_in_a_port_of_attention_get_their_names(name, difftest, tmp_path):
    subject = SUBJECTS[name]()
    attention_store.shake(subject.module, Stream(len(name)))
    copy_parameters(subject.module, subject.port)
    capture(subject.module.eval(), subject.arguments, f"attention/{name}", tmp_path)
    judged = lambda port: check(  # noqa: E731
        difftest, tmp_path, f"attention/{name}", port(tokens(), padding()).detach().numpy()
    )
    assert judged(subject.port) == ("pass", [])
    found = {}
    for identity, plant in plants(subject):
        port = SUBJECTS[name]().port
        copy_parameters(subject.module, port)
        plant(port)
        found[identity] = judged(port)
    assert len(found) >= 20
    unnamed = {identity: result for identity, (result, names) in found.items() if identity not in names}
    assert unnamed == dict.fromkeys(MERGES if name == "bert" else (), "fail: wrong-layout")

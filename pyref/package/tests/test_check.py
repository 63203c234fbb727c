"""An output is judged as the command judges it, whatever holds the numbers."""

import gc
import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy_layer import MISTAKES, layer

import difftest
from commands import run

ROOT = Path(__file__).resolve().parents[3]
MODELS = ROOT / "harness" / "internal" / "edits" / "testdata"
CASE = difftest.case("seed/causal")
RIGHT, WRONG = layer(CASE, causal=True), layer(CASE, causal=False)


def expected(case: str, file: str = "output") -> np.ndarray:
    """Return what PyTorch computed for an embedded case."""
    return np.load(ROOT / "fixtures" / case / "expected" / f"{file}.npy")


def test_a_right_output_passes():
    result = difftest.check("seed/causal", RIGHT)
    assert (result.verdict, result.kind, result.causes, result.passed) == ("pass", "match", (), True)
    assert result
    assert result.brief.startswith("ok    seed/causal  max z")
    difftest.assert_matches(CASE, RIGHT)


def test_a_wrong_output_has_its_cause_its_explanation_and_its_texts():
    result = difftest.check(CASE, WRONG)
    assert not result
    assert (result.case, result.verdict, result.kind) == ("seed/causal", "fail", "missing-feature")
    assert [cause.id for cause in result.causes] == ["causal-missing"]
    assert result.causes[0].title == "the causal mask missing"
    assert result.causes[0].fix.startswith("Hide key j from query i")
    assert result.explanation.startswith("the output is this case computed with the causal mask missing\n")
    assert len(result.brief.splitlines()) <= 8
    assert str(result) == result.text
    assert set(result.brief.splitlines()) < set(result.text.splitlines())
    assert "recovered" in result.text
    assert result.report["results"][0]["comparison"]["elements"] == WRONG.size


def test_an_assertion_says_the_failure_in_eight_lines():
    with pytest.raises(AssertionError) as raised:
        difftest.assert_matches(CASE, WRONG)
    said, brief = str(raised.value).splitlines(), difftest.check(CASE, WRONG).brief.splitlines()
    assert [line for line in said if "rerun" not in line] == [line for line in brief if "rerun" not in line]


def by_the_command(case: str, output: np.ndarray, folder: Path, *flags: str | Path) -> list[str]:
    """Return the ids of the causes that the command prints for an output in a folder."""
    difftest.save_output(folder / case, output)
    command = [difftest.binary(), "check", folder, "--case", case, "--json", *flags]
    done = run(*command)
    return [cause["id"] for cause in json.loads(done.stdout)["causes"]]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_has_the_causes_of_the_command(mistake, tmp_path):
    output = layer(CASE, mistake=mistake)
    result = difftest.check(CASE, output)
    assert [cause.id for cause in result.causes] == by_the_command("seed/causal", output, tmp_path)
    assert mistake in named(result)


@pytest.mark.parametrize("model", ["llama", "bert", "pyramid"])
def test_a_mistake_in_a_model_has_the_causes_of_the_command(model, tmp_path):
    identity = json.loads((MODELS / f"{model}.json").read_text())[5]
    output = np.load(MODELS / f"{model}.npy")[5]
    result = difftest.check(model, output, suite=MODELS / "models")
    flags = ("--fixtures", MODELS / "models")
    assert [cause.id for cause in result.causes] == by_the_command(model, output, tmp_path, *flags)
    assert identity in named(result)


def named(result: difftest.Result) -> set[str]:
    """Return the ids of all mistakes that explain an output."""
    return {name for cause in result.causes for name in (cause.id, *cause.alternatives)}


OUTPUTS = {
    "float64": lambda x: x.astype(np.float64),
    "longdouble": lambda x: x.astype(np.longdouble),
    "big endian": lambda x: x.astype(">f4"),
    "Fortran order": np.asfortranarray,
    "not contiguous": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "read only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "nested lists": lambda x: x.tolist(),
    "a list of arrays": list,
    "an output and no weights": lambda x: (x, None),
    "an output and weights that nobody asks for": lambda x: (x, np.ones((4, 12, 12))),
}


@pytest.mark.parametrize("make", OUTPUTS.values(), ids=OUTPUTS)
def test_any_array_of_floats_is_taken(make):
    assert difftest.check(CASE, make(RIGHT)).verdict == "pass"
    assert [cause.id for cause in difftest.check(CASE, make(WRONG)).causes] == ["causal-missing"]


def test_floats_of_ml_dtypes_keep_their_numbers():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    result = difftest.check(CASE, RIGHT.astype(ml_dtypes.bfloat16))
    assert [cause.id for cause in result.causes] == ["output-bfloat16"]
    assert difftest.check(CASE, RIGHT.astype(ml_dtypes.float8_e4m3fn)).verdict == "fail"


class OnGPU:
    """An array as CuPy has it, which NumPy must not read before get copies it."""

    __cuda_array_interface__ = {"version": 3}  # noqa: RUF012, the name is the protocol's

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def get(self) -> np.ndarray:
        """Return a copy in the memory of NumPy."""
        return self.array

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise TypeError("implicit conversion")


def test_arrays_on_a_gpu_are_copied():
    assert difftest.check(CASE, OnGPU(RIGHT)).passed


REFUSED = {
    "output: NoneType, want an array": None,
    "output: str, want an array": "output.npy",
    "output: dict, want an array": {"output": RIGHT},
    "output: dtype int64, want floats": RIGHT.astype(np.int64),
    "output: dtype int32, want floats": RIGHT.astype(np.int32),
    "output: dtype bool, want floats": RIGHT > 0,
    "output: dtype complex64, want floats": RIGHT.astype(np.complex64),
    "output: dtype object, want floats": object(),
    "output: no array can be made of it": [[1.0, 2.0], [3.0]],
    "output: a masked array": np.ma.masked_array(RIGHT, RIGHT > 0),
    "output: a tuple of 3": (RIGHT, None, None),
}


@pytest.mark.parametrize(("problem", "output"), REFUSED.items(), ids=REFUSED)
def test_anything_else_is_one_clear_error(problem, output):
    with pytest.raises((TypeError, ValueError)) as raised:
        difftest.check(CASE, output)
    assert str(raised.value).startswith(problem)


def test_another_shape_is_a_failure():
    result = difftest.check(CASE, RIGHT[0])
    assert result.verdict == "fail"
    assert "the output has shape (12, 64), want (4, 12, 64)" in result.explanation


def test_not_a_number_is_a_failure():
    output = RIGHT.copy()
    output[1, 2, 3] = np.nan
    assert difftest.check(CASE, output).kind == "non-finite"


def test_attention_weights_are_judged_where_the_case_has_them():
    output, weights = expected("mha/weights"), expected("mha/weights", "weights")
    assert difftest.check("mha/weights", (output, weights)).passed
    assert difftest.check("mha/weights", output, weights=weights).passed
    wrong = difftest.check("mha/weights", (output, weights * 0.5))
    assert (wrong.verdict, wrong.passed) == ("fail", False)
    assert "weights" in wrong.explanation
    missing = difftest.check("mha/weights", output)
    assert missing.verdict == "error"
    assert "the case asks for attention weights" in missing.explanation
    with pytest.raises(difftest.DifftestError, match="the case has no attention weights"):
        difftest.check(CASE, RIGHT, weights=weights)


def test_a_lower_precision_can_be_declared():
    half = expected("sdpa/causal").astype(np.float16)
    assert difftest.check("sdpa/causal", half).kind == "rounding"
    assert difftest.check("sdpa/causal", half, precision="float16").passed
    with pytest.raises(difftest.DifftestError, match="int3"):
        difftest.check("sdpa/causal", half, precision="int3")


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("seed/causl", 4, '"seed/causl" selects no case (did you mean seed/causal?)'),
        ("seed", 2, '"seed" selects 3 cases, want one of layouts/seed-parallel, seed/causal, seed/unmasked'),
        ("seed/*", 2, '"seed/*" selects 2 cases, want one of seed/causal, seed/unmasked'),
        ("../seed/causal", 4, '"../seed/causal" selects no case'),
        ("", 4, '"" selects no case'),
    ],
)
def test_a_bad_name_is_answered_as_by_the_command(name, status, message):
    for ask in (lambda: difftest.check(name, RIGHT), lambda: difftest.case(name)):
        with pytest.raises(difftest.DifftestError) as raised:
            ask()
        assert str(raised.value).startswith(message)
        assert raised.value.status == status


@pytest.mark.parametrize(
    "name", ["..", "../x", "seed/../../x", "/tmp/x", "C:\\x", "seed//causal", "seed/causal\n"]
)
def test_no_name_leads_out_of_a_folder(name, monkeypatch):
    written = []
    monkeypatch.setattr(difftest._judge, "save_output", lambda *arguments, **_: written.append(arguments))
    with pytest.raises(difftest.DifftestError):
        difftest.check(name, RIGHT)
    assert written == []


def test_a_suite_that_is_none_is_an_error(tmp_path):
    with pytest.raises(difftest.DifftestError, match="nowhere"):
        difftest.check("mine/gate", RIGHT, suite=tmp_path / "nowhere")


def test_the_page_is_framed_and_reaches_nothing():
    shown = difftest.check(CASE, WRONG)._repr_html_()
    frame = re.fullmatch(r'<iframe srcdoc="([^"]*)" sandbox="allow-scripts" [^<>]*></iframe>', shown)
    page = html.unescape(frame[1])
    assert page.startswith("<!DOCTYPE html>")
    assert "default-src 'none'" in html.unescape(page)
    assert "causal-missing" in page
    assert page.count("<section") == 1
    assert "<h1>" not in page
    passed = html.unescape(difftest.check(CASE, RIGHT)._repr_html_())
    assert "causal-missing" not in passed
    assert "<b>passed</b>" in passed


def test_a_page_shows_what_a_subject_wrote_as_text():
    output = np.load(MODELS / "llama.npy")[5]
    evil = "<img src=x onerror=alert(1)>"
    result = difftest.check("llama", output, suite=MODELS / "models", trace={evil: output})
    page = html.unescape(re.search(r'srcdoc="([^"]*)"', result._repr_html_())[1])
    assert evil in result.text
    assert "<img src=x" not in page
    assert html.escape(evil) in page


def test_outputs_are_removed_with_their_result(monkeypatch):
    monkeypatch.setattr(difftest._judge, "recorder", None)
    result = difftest.check(CASE, WRONG)
    folder = result._outputs.folder
    assert (folder / "seed" / "causal" / "output.npy").is_file()
    assert "rerun" not in result.text + result.brief + result._repr_html_()
    assert "rerun" not in result.report["results"][0]
    del result
    gc.collect()
    assert not folder.exists()


def test_a_github_workflow_gets_no_summary_of_each_output(monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    difftest.check(CASE, WRONG)
    assert not (tmp_path / "summary").exists()


def test_the_shards_of_a_test_are_not_those_of_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("TEST_TOTAL_SHARDS", "2")
    monkeypatch.setenv("XML_OUTPUT_FILE", str(tmp_path / "test.xml"))
    for index in ("0", "1"):
        monkeypatch.setenv("TEST_SHARD_INDEX", index)
        assert difftest.check(CASE, RIGHT).passed
    assert not (tmp_path / "test.xml").exists()


def test_an_output_is_saved_where_the_command_looks(tmp_path):
    name = "models/llama"
    trace = {"model.layers.0.mlp": np.zeros((2, 3), np.float32)}
    file = difftest.save_output(tmp_path / name, expected(name), trace=trace)
    assert file == tmp_path / name / "output.npy"
    done = run(difftest.binary(), "check", tmp_path, "--json")
    result = next(r for r in json.loads(done.stdout)["results"] if r["case"] == name)
    assert result["verdict"] == "pass"
    assert [module["path"] for module in result["trace"]["modules"]] == ["model.layers.0.mlp"]


@pytest.mark.parametrize("path", ["", "..", "a/b", "../../x", "a\\b", "a\0b"])
def test_a_trace_stays_in_its_folder(path, tmp_path):
    with pytest.raises(ValueError, match="is not the path of a module"):
        difftest.save_output(tmp_path / "case", RIGHT, trace={path: RIGHT})
    assert not (tmp_path / "case").exists()

"""The files of a case are as case.json lists them, in the layout that readers rely on."""

import hashlib
import json

import numpy as np
import pytest

from pyref.build import case_folder, environment
from pyref.tests import support
from pyref.tests.support import each_case

FIELDS = [
    "version",
    "name",
    "purpose",
    "op",
    "config",
    "inputs",
    "state_dict",
    "expected",
    "files",
]

ON_DISK = {"float16": "<f2", "bfloat16": "<u2", "float32": "<f4", "float64": "<f8", "bool": "|b1"}
ON_DISK |= {"int64": "<i8"}


@each_case
def test_fields_come_in_order_and_a_function_has_no_state_dict(case, made):
    fields = list(support.record(made, case.name))
    assert fields == [
        name
        for name in [*FIELDS, "provenance"]
        if name != "state_dict" or case.operation.name == "multi_head_attention"
    ]


@each_case
def test_every_file_is_listed_and_every_listed_file_is_used(case, made):
    fields = support.record(made, case.name)
    on_disk = set(support.contents(made / case.name)) - {"case.json"}
    used = {file for name in ("inputs", "state_dict", "expected") for file in fields.get(name, {}).values()}
    assert set(fields["files"]) == on_disk == used


@each_case
def test_every_file_has_the_recorded_bytes_dtype_and_shape(case, made):
    for file, about in support.record(made, case.name)["files"].items():
        path = made / case.name / file
        array = np.load(path)
        assert about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert about["shape"] == list(array.shape)
        assert ON_DISK[about["dtype"]] == array.dtype.str
        assert array.flags.c_contiguous


@each_case
def test_truths_are_float64_masks_are_bool_and_the_rest_is_as_precise_as_the_case(case, made):
    precision = case.operation.precision
    special = dict.fromkeys(["truth", "weights_truth"], "float64")
    special |= dict.fromkeys(["allow", "block", "padding"], "bool")
    special |= dict.fromkeys(["key_lengths", "first_positions", "positions"], "int64")
    special["output"] = "float32" if precision == "float64" else precision
    assert support.record(made, case.name)["config"].get("precision", "float32") == precision
    for file, about in support.record(made, case.name)["files"].items():
        name = file.rpartition("/")[2].removesuffix(".npy")
        assert about["dtype"] == special.get(name, precision), file


@each_case
def test_text_is_ascii_with_lists_on_one_line(case, made):
    text = (made / case.name / "case.json").read_text(encoding="ascii")
    assert text.endswith("}\n")
    assert "[\n" not in text
    assert json.loads(text) == support.record(made, case.name)


@each_case
def test_provenance_says_how_to_make_the_same_bytes(case, made):
    provenance = support.record(made, case.name)["provenance"]
    assert provenance["torch"].split("+")[0] == environment.pins()["torch"]
    assert provenance["numpy"] == environment.pins()["numpy"]
    assert (provenance["threads"], provenance["mkldnn"]) == (1, False)
    assert provenance["environment"] == environment.VARIABLES
    assert provenance["seed"] == case.seed


@pytest.mark.parametrize(
    ("name", "same"),
    [("mha/causal", {"query", "key", "value"}), ("mha/cross", {"key", "value"}), ("mha/cross-kdim", set())],
)
def test_a_tensor_in_several_roles_is_stored_once(name, same, made):
    inputs = support.record(made, name)["inputs"]
    stored = [inputs[role] for role in ("query", "key", "value")]
    assert len(set(stored)) == 3 - max(len(same) - 1, 0)
    assert len({inputs[role] for role in same}) <= 1


def test_json_is_indented_by_two_with_lists_on_one_line():
    assert case_folder.dump({"a": {"b": [1, "x"]}, "c": None}) == (
        '{\n  "a": {\n    "b": [1, "x"]\n  },\n  "c": null\n}'
    )

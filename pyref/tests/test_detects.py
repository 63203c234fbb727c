"""The table claims exactly the mistakes that change a case's output: each is planted in PyTorch and run."""

from dataclasses import replace

import numpy as np

from pyref.case import MISTAKES, Arrays, Case
from pyref.stream import Stream
from pyref.tests.support import each_case

CLEAR = 0.01  # relative rms: a correct float32 implementation is below 1e-5, every planted mistake above this


def planted(case: Case, mistake: str) -> np.ndarray | None:
    """Return PyTorch's float64 output with a mistake made in it; None if there is nothing to make it with."""
    operation, inputs, parameters = case.operation, *drawn(case)
    match mistake:
        case "weights-unit-normal" if parameters:
            other = Stream(case.seed + 1)
            parameters = {name: other.normal(name, array.shape) for name, array in parameters.items()}
        case "weights-random" if parameters:
            parameters = operation.draw_parameters(Stream(case.seed + 1))
        case "weights-zero" if parameters:
            parameters = {name: np.zeros_like(array) for name, array in parameters.items()}
        case "causal-missing" if operation.config["causality"] == "top-left":
            operation = replace(operation, **{causal_field(operation): False})
        case "padding-ignored" if "padding" in inputs:
            inputs = {role: array for role, array in inputs.items() if role != "padding"}
        case "mask-ignored" if "allow" in inputs:
            operation = replace(operation, mask=None)
        case "bias-ignored" if "bias" in inputs:
            operation = replace(operation, mask=None)
        case "scale-missing":
            inputs, parameters = unscaled(inputs, parameters)
        case _:
            return None
    return operation.forward(inputs, parameters, np.float64)


def drawn(case: Case) -> tuple[Arrays, Arrays]:
    """Return a case's inputs and parameters."""
    stream = Stream(case.seed)
    return case.operation.draw_inputs(stream), case.operation.draw_parameters(stream)


def causal_field(operation: object) -> str:
    """Return the name of the operation's switch for the causal mask."""
    return "causal" if hasattr(operation, "causal") else "flag_mask"


def unscaled(inputs: Arrays, parameters: Arrays) -> tuple[Arrays, Arrays]:
    """Return what gives the scores without 1/sqrt(E): queries, or what projects them, times sqrt(E)."""
    if not parameters:
        return {**inputs, "query": inputs["query"] * np.sqrt(inputs["query"].shape[-1])}, parameters
    D = inputs["query"].shape[-1]
    larger = {name: array.copy() for name, array in parameters.items()}
    for name in larger.keys() & {"in_proj_weight", "in_proj_bias", "q_proj_weight", "W_Q"}:
        larger[name][:D] *= np.sqrt(D / 4)  # every layer of the table has 4 heads
    return inputs, larger


def relative_rms(got: np.ndarray, want: np.ndarray) -> float:
    """Return RMS(got - want) / RMS(want)."""
    return float(np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)))


@each_case
def test_a_case_claims_exactly_the_mistakes_that_it_can_see(case):
    truth = case.operation.forward(*drawn(case), np.float64)
    outputs = {mistake: planted(case, mistake) for mistake in MISTAKES}
    rels = {mistake: relative_rms(output, truth) for mistake, output in outputs.items() if output is not None}
    assert {mistake for mistake, rel in rels.items() if rel > CLEAR} == set(case.detects), rels


@each_case
def test_claims_are_known_and_in_order(case):
    assert list(case.detects) == [mistake for mistake in MISTAKES if mistake in case.detects]

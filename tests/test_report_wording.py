import math

import pytest

from lossdoctor.finding import Measurement, Onset
from lossdoctor.report import wording
from tests.reports import finding, outcome


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (2.0, "2"),
        (0.693147, "0.6931"),
        (-1.5, "-1.5"),
        (3554.7, "3,555"),
        (1234567, "1,234,567"),
        (12345678, "1.23e7"),
        (1.2e-7, "1.2e-7"),
        (1e-4, "1e-4"),
        (0.001, "0.001"),
        (2.5e10, "2.5e10"),
        (math.nan, "NaN"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
    ],
)
def test_number(value, text):
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("value", "threshold", "fires", "text"),
    [
        (0.35, 0.1, "above", "0.35 > 0.1"),
        (1.2e-7, 1e-3, "below", "1.2e-7 < 0.001"),
        (2.0000123, 2.0, "above", "2.00001 > 2"),
        (0.05, 0.1, "above", "0.05 (limit 0.1)"),
        (math.nan, 0.1, "above", "NaN (limit 0.1)"),
        (0.6931, None, None, "0.6931"),
    ],
)
def test_comparison(value, threshold, fires, text):
    measured = Measurement(name="x", value=value, threshold=threshold, fires=fires)
    assert wording.comparison(measured) == text


def test_onset_counts_epochs_from_1_as_keras_prints_them():
    assert wording.onset(finding("x", onset=Onset(epoch=0))) == "since epoch 1"
    assert wording.onset(finding("x", onset=Onset(epoch=3, step=1087))) == (
        "since epoch 4, step 1,087"
    )
    assert wording.onset(finding("x", onset=Onset(epoch=0, step=0))) == "since the first step"
    assert wording.onset(finding("x", onset=None)) == ""


def test_layers_are_cut_to_a_few():
    assert wording.layers(finding("x", layers=())) == ""
    assert wording.layers(finding("x", layers=("a",))) == "layer a"
    many = tuple(f"d{i}" for i in range(50))
    assert wording.layers(finding("x", layers=many)) == "layers d0, d1, d2, d3, d4, d5 and 44 more"


def test_reasons_are_grouped_the_most_frequent_first():
    missing = [
        outcome("a", "not_applicable", "no x"),
        outcome("b", "not_applicable", "no y"),
        outcome("c", "not_applicable", "no y"),
    ]
    assert wording.by_reason(missing) == {"no y": ["b", "c"], "no x": ["a"]}

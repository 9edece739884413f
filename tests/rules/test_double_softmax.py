import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import LossRecord, RunRecord
from tests.records import config_record, findings_of, mlp, outcome_of

ONE_HOT = np.eye(3)[np.arange(90) % 3]
SOFTMAX = mlp(units=3, activation="softmax")


def logits(name="categorical_crossentropy", **fields):
    return LossRecord(name=name, from_logits=True, **fields)


def squashed_twice(inner="softmax", activation="softmax", units=3):
    model = mlp(units=units, activation=activation)
    output = dataclasses.replace(model.outputs[0], inner_activation=inner)
    return dataclasses.replace(model, outputs=(output,))


def of(model, loss):
    return findings_of("double_softmax", config_record(model=model, loss=loss, y=ONE_HOT))


def test_from_logits_on_a_softmax_is_a_contradiction_keras_repairs():
    (finding,) = of(SOFTMAX, logits())
    assert finding.severity is Severity.WARNING
    assert "Keras finds the logits behind them" in finding.message
    assert 'loss="categorical_crossentropy"' in finding.remedies[0].code


def test_it_is_an_error_where_keras_cannot_find_the_logits():
    half = dataclasses.replace(SOFTMAX.outputs[0], dtype="float16")
    cases = [
        (dataclasses.replace(SOFTMAX, outputs=(half,)), logits()),
        (mlp(activation="sigmoid"), logits("binary_focal_crossentropy")),
        (mlp(activation="hard_sigmoid"), logits("binary_crossentropy")),
    ]
    for model, loss in cases:
        (finding,) = of(model, loss)
        assert finding.severity is Severity.ERROR
        assert "squashes them a second time" in finding.message


def test_label_smoothing_is_kept():
    (finding,) = of(SOFTMAX, logits(label_smoothing=0.1))
    assert "CategoricalCrossentropy(label_smoothing=0.1)" in finding.remedies[0].code


@pytest.mark.parametrize(
    ("inner", "activation", "units", "ceiling"),
    [
        ("softmax", "softmax", 3, "0.58"),
        ("softmax", "softmax", 10, "0.23"),
        ("sigmoid", "sigmoid", 1, "0.73"),
        ("sigmoid", "softmax", 2, "0.73"),
    ],
)
def test_two_in_a_row_cannot_get_sure(inner, activation, units, ceiling):
    (finding,) = of(squashed_twice(inner, activation, units), "categorical_crossentropy")
    assert finding.severity is Severity.ERROR
    assert f"no probability can exceed {ceiling}" in finding.message


def test_a_custom_loss_with_logits_is_recognized():
    own = LossRecord(name="mine", custom=True, with_logits=True)
    (finding,) = of(SOFTMAX, own)
    assert finding.severity is Severity.ERROR
    assert '"activation": "linear"' in finding.remedies[0].code


def test_silent_on_the_normal_cases():
    for inner in ("linear", "relu", None):
        assert not of(squashed_twice(inner), "categorical_crossentropy")
    assert not of(mlp(units=3), logits())
    assert not of(SOFTMAX, "categorical_crossentropy")
    assert not of(SOFTMAX, LossRecord(name="mine", custom=True))
    assert not of(mlp(activation=None), logits())


def test_not_applicable_without_a_model():
    assert outcome_of("double_softmax", RunRecord(source="history")).status == "not_applicable"

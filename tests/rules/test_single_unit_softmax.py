import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import LossRecord, RunRecord
from tests.records import chain, config_record, dense, findings_of, mlp, outcome_of

LABELS = np.array([0, 1] * 50)
CONTINUOUS = np.linspace(-1, 1, 100)
SOFTMAX = mlp(activation="softmax")


def test_fires_and_proposes_a_sigmoid_for_two_classes():
    record = config_record(model=SOFTMAX, loss="binary_crossentropy", y=LABELS)
    (finding,) = findings_of("single_unit_softmax", record)
    assert finding.severity is Severity.ERROR
    assert "returns 1.0 for every example; the loss hides it" in finding.message
    assert '"activation": "sigmoid"' in finding.remedies[0].code
    assert finding.layers == ("dense_1",)


def test_proposes_a_linear_unit_for_continuous_targets():
    (finding,) = findings_of("single_unit_softmax", config_record(model=SOFTMAX, y=CONTINUOUS))
    assert '"activation": "linear"' in finding.remedies[0].code
    assert "its gradient is exactly zero" in finding.message


@pytest.mark.parametrize(
    ("loss", "labels", "activation", "units", "compiled"),
    [
        ("categorical_crossentropy", np.arange(90) % 3, "softmax", 3, "sparse_categorical"),
        ("categorical_crossentropy", LABELS, "sigmoid", None, "binary_crossentropy"),
        ("binary_crossentropy", np.eye(3)[np.arange(90) % 3], "softmax", 3, "categorical"),
        ("hinge", 2 * LABELS - 1, "tanh", None, "hinge"),
        ("poisson", np.arange(100) ** 2, "softplus", None, "poisson"),
    ],
)
def test_the_proposed_head_suits_the_labels(loss, labels, activation, units, compiled):
    record = config_record(model=SOFTMAX, loss=loss, y=labels)
    code = findings_of("single_unit_softmax", record)[0].remedies[0].code
    assert f'"activation": "{activation}"' in code
    assert (f'"units": {units}' in code) == (units is not None)
    assert f'loss="{compiled}' in code


def test_fires_under_a_loss_of_its_own_and_without_labels():
    custom = LossRecord(name="my_loss", custom=True)
    for record in (
        config_record(model=SOFTMAX, loss=custom, y=LABELS),
        config_record(model=SOFTMAX),
    ):
        (finding,) = findings_of("single_unit_softmax", record)
        assert '"activation": "sigmoid"' in finding.remedies[0].code


@pytest.mark.parametrize(("steps", "code"), [((30,), "axis=1"), ((), '"activation": "sigmoid"')])
def test_a_hidden_softmax_over_one_unit_is_found_wherever_it_stands(steps, code):
    scores = dense("scores", 1, 8, activation="softmax")
    shape = (None, *steps, 1)
    scores = dataclasses.replace(scores, output_shape=shape, input_shape=(None, *steps, 8))
    record = config_record(model=chain(scores, dense("head", 1, 1)), y=CONTINUOUS)
    (finding,) = findings_of("single_unit_softmax", record)
    assert finding.severity is Severity.WARNING
    assert finding.layers == ("scores",)
    assert code in finding.remedies[0].code
    wide = dataclasses.replace(scores, output_shape=(None, *steps, 4), config={"units": 4})
    record = config_record(model=chain(wide, dense("head", 1, 4)), y=CONTINUOUS)
    assert not findings_of("single_unit_softmax", record)


def test_silent_on_two_units_and_on_a_sigmoid():
    for model in (mlp(units=2, activation="softmax"), mlp(activation="sigmoid")):
        assert not findings_of("single_unit_softmax", config_record(model=model, y=LABELS))


def test_not_applicable_without_a_model():
    outcome = outcome_of("single_unit_softmax", RunRecord(source="history"))
    assert outcome.status == "not_applicable"
    assert "LossDoctor()" in outcome.reason

import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import RunRecord
from lossdoctor.record.summary import summarize
from tests.records import config_record, findings_of, history_record, mlp, outcome_of

TARGETS = np.linspace(-1, 1, 100)
NOISE = np.random.default_rng(0).normal(size=(100, 1))


def of(predictions, y=TARGETS, *, initial=None, **options):
    record = config_record(y=y, predictions=predictions, **options)
    if initial is not None:
        before = (summarize(initial, name="y_pred"),)
        train = dataclasses.replace(record.train, initial_predictions=before)
        record = dataclasses.replace(record, train=train)
    return findings_of("constant_predictions", record)


def test_fires_on_one_answer_for_all():
    (finding,) = of(np.full((100, 1), 0.3))
    assert finding.severity is Severity.ERROR
    assert "0.00% of the spread of the targets" in finding.message
    assert finding.measurements[0].value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("scale", "fires"), [(0.011, False), (0.009, True)])
def test_the_spread_is_relative_to_that_of_the_targets(scale, fires):
    predictions = (TARGETS * scale)[:, None]
    assert bool(of(predictions)) == fires
    assert bool(of(1e6 * predictions, 1e6 * TARGETS)) == fires


def test_the_remedy_depends_on_whether_answers_ever_varied():
    constant = np.full((100, 1), 0.3)
    (finding,) = of(constant, initial=NOISE)
    assert "varied before training" in finding.message
    assert "learning_rate=0.001" in finding.remedies[0].code
    (finding,) = of(constant, initial=constant)
    assert "inputs vary" in finding.remedies[0].text


def test_class_ids_are_measured_by_the_spread_of_their_shares():
    ids = np.arange(90) % 3
    options = {
        "model": mlp(units=3, activation="softmax"),
        "loss": "sparse_categorical_crossentropy",
    }
    assert of(np.full((90, 3), 1 / 3), ids, **options)
    assert not of(np.eye(3)[ids], ids, **options)


def test_silent_on_answers_that_vary():
    assert not of(NOISE)


def test_not_applicable_where_the_targets_are_constant_or_nothing_was_recorded():
    constant = config_record(y=np.ones(100), predictions=np.ones((100, 1)))
    assert outcome_of("constant_predictions", constant).status == "not_applicable"
    outcome = outcome_of("constant_predictions", RunRecord(source="history"))
    assert "LossDoctor()" in outcome.reason


def test_a_history_that_stands_at_the_loss_of_chance():
    (finding,) = findings_of(
        "constant_predictions", history_record(loss=[0.9, 0.7] + [0.69315] * 8)
    )
    assert finding.severity is Severity.WARNING
    assert "ln 2" in finding.message
    improving = history_record(loss=[0.693, 0.6931, 0.6932, 0.69, 0.68, 0.6, 0.5])
    assert not findings_of("constant_predictions", improving)
    informed = history_record(loss=[0.69315] * 9, accuracy=[0.9] * 9)
    assert not findings_of("constant_predictions", informed)


def test_a_history_whose_accuracy_never_moves():
    loss = np.linspace(0.8, 0.1, 10)
    (finding,) = findings_of("constant_predictions", history_record(loss=loss, accuracy=[0.5] * 10))
    assert "same class" in finding.message
    perfect = history_record(loss=loss, accuracy=[1.0] * 10)
    assert not findings_of("constant_predictions", perfect)

import dataclasses

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import TargetPairing
from lossdoctor.record.summary import summarize
from tests.records import config_record, findings_of, history_record, mlp, outcome_of

BITS = np.arange(100) % 2
SIGMOID = mlp(activation="sigmoid")


def record(share, *, initial=None, loss="binary_crossentropy"):
    made = config_record(model=SIGMOID, loss=loss, y=BITS, predictions=BITS[:, None] * 1.0)
    pairing = TargetPairing(output=0, rows=100, saturated_wrong=share)
    before = () if initial is None else (summarize(initial, name="y_pred"),)
    train = dataclasses.replace(made.train, pairing=(pairing,), initial_predictions=before)
    return dataclasses.replace(made, train=train)


@pytest.mark.parametrize(("share", "fires"), [(0.04, False), (0.06, True)])
def test_fires_above_the_share_of_label_noise(share, fires):
    assert bool(findings_of("saturated_output", record(share))) == fires


def test_proposes_smaller_steps_where_the_untrained_model_was_not_sure():
    initial = np.random.default_rng(0).uniform(0.3, 0.7, size=(100, 1))
    (finding,) = findings_of("saturated_output", record(0.5, initial=initial))
    assert finding.severity is Severity.ERROR
    assert "at the end of training" in finding.message
    assert "learning_rate=0.001" in finding.remedies[0].code


def test_proposes_scaled_inputs_where_it_was():
    (finding,) = findings_of("saturated_output", record(0.5, initial=1.0 * BITS[:, None]))
    assert "before its first step" in finding.message
    assert "X_val = (X_val - mean) / std" in finding.remedies[0].code


@pytest.mark.parametrize("constant", [15.33, 15.42, 15.94, 16.118, 20.72])
def test_a_history_whose_loss_counts_errors(constant):
    accuracy = np.array([0.4, 0.5, 0.52, 0.51, 0.53])
    clipped = history_record(loss=constant * (1 - accuracy), accuracy=accuracy)
    (finding,) = findings_of("saturated_output", clipped)
    assert finding.severity is Severity.WARNING
    healthy = history_record(loss=2.0 * (1 - accuracy), accuracy=accuracy)
    assert not findings_of("saturated_output", healthy)
    near = history_record(loss=0.97 * constant * (1 - accuracy), accuracy=accuracy)
    assert not findings_of("saturated_output", near)


def test_silent_on_a_perfect_history():
    perfect = history_record(loss=[0.1, 0.01, 0.001], accuracy=[1.0, 1.0, 1.0])
    assert not findings_of("saturated_output", perfect)


def test_not_applicable_under_other_losses_or_without_predictions():
    assert "cross-entropy" in outcome_of("saturated_output", record(0.5, loss="hinge")).reason
    config = config_record(model=SIGMOID, loss="binary_crossentropy", y=BITS)
    assert outcome_of("saturated_output", config).status == "not_applicable"
    assert outcome_of("saturated_output", history_record(loss=[1.0])).status == "not_applicable"

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import LossRecord, RunRecord
from tests.records import config_record, findings_of, history_record, mlp, outcome_of

IDS = np.arange(150) % 3
BITS = np.arange(150) % 2
ONE_HOT = np.eye(3)[IDS]
NORMAL = np.random.default_rng(0).normal(size=150)


def record(y, metric="BinaryAccuracy", *, activation="linear", loss="mean_squared_error", units=1):
    return config_record(
        model=mlp(units=units, activation=activation), loss=loss, y=y, metrics={"accuracy": metric}
    )


def of(*arguments, **options):
    return findings_of("metric_task", record(*arguments, **options))


@pytest.mark.parametrize("y", [NORMAL, 100 + NORMAL, np.arange(10.0), np.abs(NORMAL) / 5])
def test_accuracy_of_quantities(y):
    (finding,) = of(y)
    assert finding.severity is Severity.WARNING
    assert 'metrics=["mae"]' in finding.remedies[0].code


def test_labels_other_than_zero_and_one():
    (finding,) = of(2 * BITS - 1, activation="tanh", loss="hinge")
    assert "labels -1 and 1" in finding.message
    assert "def sign_accuracy" in finding.remedies[0].code
    assert "metrics=[sign_accuracy]" in finding.remedies[0].code
    assert of(IDS, activation="sigmoid", loss="binary_crossentropy")


def test_binary_accuracy_over_one_hot_rows_is_inflated():
    (finding,) = of(ONE_HOT, activation="sigmoid", loss="binary_crossentropy", units=3)
    assert finding.measurements[0].value == pytest.approx(2 / 3)
    assert 'metrics=["accuracy"]' in finding.remedies[0].code
    two = np.eye(2)[BITS]
    assert not of(two, activation="softmax", loss="categorical_crossentropy", units=2)


def test_sparse_and_row_accuracies_mixed_up():
    softmax = {"activation": "softmax", "units": 3}
    assert of(ONE_HOT, "SparseCategoricalAccuracy", loss="categorical_crossentropy", **softmax)
    assert of(IDS, "CategoricalAccuracy", loss="sparse_categorical_crossentropy", **softmax)
    one_unit = {"activation": "sigmoid", "loss": "binary_crossentropy"}
    (finding,) = of(BITS, "CategoricalAccuracy", **one_unit)
    assert "always that unit" in finding.message
    assert of(BITS, "Accuracy", **one_unit)


def test_logits_compared_with_a_half_are_worth_knowing_only():
    logits = LossRecord(name="binary_crossentropy", from_logits=True)
    (finding,) = of(BITS, loss=logits)
    assert finding.severity is Severity.INFO


def test_silent_on_accuracies_that_fit():
    assert not of(BITS, activation="sigmoid", loss="binary_crossentropy")
    assert not of(BITS)
    assert not of(BITS, activation="tanh", loss="hinge")
    softmax = {"activation": "softmax", "units": 3}
    assert not of(ONE_HOT, "CategoricalAccuracy", loss="categorical_crossentropy", **softmax)
    sparse = {"loss": "sparse_categorical_crossentropy", **softmax}
    assert not of(IDS, "SparseCategoricalAccuracy", **sparse)
    assert not of(ONE_HOT, "CategoricalAccuracy", **softmax)


def test_not_applicable_without_an_accuracy_or_without_labels():
    outcome = outcome_of(
        "metric_task", config_record(y=NORMAL, metrics={"mae": "MeanAbsoluteError"})
    )
    assert outcome.reason == "no accuracy is compiled"
    assert outcome_of("metric_task", RunRecord(source="history")).status == "not_applicable"


def test_history_of_an_accuracy_that_is_always_zero():
    logs = {"loss": np.geomspace(1.0, 0.1, 20)}
    (finding,) = findings_of("metric_task", history_record(accuracy=np.zeros(20), **logs))
    assert "exactly 0 in all 20 epochs" in finding.message
    assert not findings_of("metric_task", history_record(accuracy=np.full(20, 0.01), **logs))
    assert outcome_of("metric_task", history_record(**logs)).status == "not_applicable"

import dataclasses

import numpy as np
import pytest

from lossdoctor.record.run import TargetPairing
from tests.records import findings_of, history_record, outcome_of, trained

SLUG = "overfitting"
TRAIN = np.geomspace(1.0, 0.02, 60)
TURNING = np.r_[np.linspace(1.0, 0.5, 20), np.linspace(0.5, 0.9, 40)]
GOOD = np.linspace(0.5, 0.99, 60)
WORSENING = np.r_[np.linspace(0.5, 0.8, 20), np.linspace(0.8, 0.7, 40)]


def test_fires_on_a_validation_loss_that_turned_and_rose():
    (finding,) = findings_of(SLUG, trained(TRAIN, val_loss=TURNING))
    assert "its best was" in finding.message
    assert finding.onset.epoch in range(18, 24)
    assert "EarlyStopping" in finding.remedies[0].code
    assert "regularizers.L2" in finding.remedies[1].code


def test_fires_where_the_metric_worsens_too():
    record = trained(TRAIN, val_loss=TURNING, accuracy=GOOD, val_accuracy=WORSENING, rows=500)
    assert findings_of(SLUG, record)


def test_fires_on_a_wide_gap_without_a_rise():
    flat = np.r_[np.linspace(1.0, 0.7, 20), np.full(40, 0.7)]
    assert findings_of(SLUG, trained(TRAIN, val_loss=flat))


def test_validation_rows_lying_idle_are_the_first_remedy():
    record = trained(TRAIN, val_loss=TURNING)
    record = dataclasses.replace(record, train=dataclasses.replace(record.train, rows=30))
    remedy = findings_of(SLUG, record)[0].remedies[0]
    assert "500 lie in the validation set against only 30" in remedy.text
    assert "np.concatenate([X, X_val[held_back:]])" in remedy.code


@pytest.mark.parametrize(
    "logs",
    [
        {"val_loss": TRAIN + 0.05},
        {"val_loss": np.where(np.arange(60) == 59, 0.9, TRAIN + 0.05)},
        {"val_loss": 0.4 + 0.1 * np.random.default_rng(0).normal(size=60)},
        {"val_loss": TURNING, "accuracy": GOOD, "val_accuracy": np.linspace(0.5, 0.95, 60)},
        {"val_loss": np.r_[np.linspace(1.0, 0.3, 20), np.linspace(0.3, 0.34, 40)]},
        {"val_loss": TRAIN * 0.8},
    ],
    ids=[
        "small gap",
        "one bad epoch",
        "noisy validation",
        "metric holds",
        "hardly risen",
        "dropout: validation below training",
    ],
)
def test_silent_on_look_alikes(logs):
    assert not findings_of(SLUG, trained(TRAIN, **logs))


def test_silent_where_nothing_was_learned():
    flat = np.full(60, 1.0)
    assert not findings_of(SLUG, trained(flat, val_loss=flat + 0.6))


@pytest.mark.parametrize(("end", "fires"), [(0.54, False), (0.57, True)])
def test_boundary_of_the_rise(end, fires):
    rising = np.r_[np.linspace(1.0, 0.5, 20), np.linspace(0.5, end, 40)]
    assert bool(findings_of(SLUG, trained(np.linspace(1.0, 0.3, 60), val_loss=rising))) is fires


@pytest.mark.parametrize(("gap", "fires"), [(0.38, False), (0.42, True)])
def test_boundary_of_the_gap(gap, fires):
    train = np.r_[np.linspace(1.0, 0.2, 20), np.full(40, 0.2)]
    apart = np.r_[np.linspace(1.2, 0.2 + gap, 20), np.full(40, 0.2 + gap)]
    assert bool(findings_of(SLUG, trained(train, val_loss=apart))) is fires


@pytest.mark.parametrize(("accuracy", "fires"), [(0.92, False), (0.8, True)])
def test_boundary_of_the_metric_gap(accuracy, fires):
    logs = {"accuracy": np.full(60, 0.99), "val_accuracy": np.full(60, accuracy)}
    assert bool(findings_of(SLUG, trained(TRAIN, val_loss=TURNING, **logs))) is fires


def test_a_metric_far_below_training_tells_from_few_validation_rows():
    far_below = {"accuracy": GOOD, "val_accuracy": np.full(60, 0.6)}
    record = trained(TRAIN, val_loss=TURNING, **far_below, rows=30)
    assert len(findings_of(SLUG, record)) == 1


def test_cannot_tell_from_a_few_validation_rows():
    outcome = outcome_of(SLUG, trained(TRAIN, val_loss=TURNING, rows=30))
    assert outcome.status == "not_applicable"
    assert "30 validation examples" in outcome.reason


def test_history_alone():
    assert findings_of(SLUG, history_record(loss=TRAIN, val_loss=TURNING))
    assert not findings_of(SLUG, history_record(loss=TRAIN, val_loss=TRAIN + 0.01))
    assert outcome_of(SLUG, history_record(loss=TRAIN)).status == "not_applicable"


def test_silent_where_both_losses_rise():
    rising = np.r_[np.linspace(1.0, 0.5, 20), np.linspace(0.5, 0.68, 40)]
    assert not findings_of(SLUG, trained(rising, val_loss=rising + 0.05))


@pytest.mark.parametrize(("wrong", "fires"), [(0.05, False), (0.25, True)])
def test_without_a_metric_the_recorded_answers_tell_whether_decisions_got_worse(wrong, fires):
    def paired(error_rate):
        pairing = TargetPairing(output=0, rows=500, error_rate=error_rate, chance_error_rate=0.5)
        return (pairing,)

    rising = np.r_[np.geomspace(1.0, 0.1, 10), np.linspace(0.1, 0.3, 20)]
    record = trained(np.geomspace(1.0, 0.01, 30), val_loss=rising)
    found = findings_of(
        SLUG,
        dataclasses.replace(
            record,
            train=dataclasses.replace(record.train, pairing=paired(0.0)),
            validation=dataclasses.replace(record.validation, pairing=paired(wrong)),
        ),
    )
    assert bool(found) == fires

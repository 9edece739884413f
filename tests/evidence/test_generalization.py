import numpy as np
import pytest

from lossdoctor.evidence import NotApplicable, NotRecorded
from lossdoctor.evidence.generalization import Generalization
from tests.records import history_record, trained

TURNING = np.r_[np.linspace(1.0, 0.5, 20), np.linspace(0.5, 0.9, 40)]
TRAIN = np.geomspace(1.0, 0.02, 60)


def curves(record):
    return Generalization.from_record(record)


def test_needs_a_validation_loss():
    with pytest.raises(NotRecorded, match="validation loss"):
        curves(history_record(loss=[1.0]))
    with pytest.raises(NotApplicable, match="finite"):
        curves(history_record(loss=[1.0, 0.5], val_loss=[np.nan, np.nan]))


def test_epochs_without_validation_are_left_out():
    found = curves(history_record(loss=np.arange(6.0), val_loss=[np.nan, 5.0] * 3))
    assert found.epoch.tolist() == [1, 3, 5]
    assert found.train.tolist() == [1.0, 3.0, 5.0]


def test_rise_and_gap():
    found = curves(trained(TRAIN, val_loss=TURNING))
    assert found.best_epoch in range(18, 22)
    assert found.rise == pytest.approx(0.37, abs=0.03)
    assert found.gap == pytest.approx(0.85, abs=0.03)
    assert found.has_risen(0.01)
    assert found.rows == 500


def test_noise_is_no_rise():
    noisy = 0.5 + np.random.default_rng(3).normal(0, 0.2, 60)
    assert not curves(history_record(loss=TRAIN, val_loss=noisy)).has_risen(0.01)


def metric(name, train, validation, rows=500):
    logs = {name: np.full(60, train), f"val_{name}": np.asarray(validation)}
    return curves(trained(TRAIN, val_loss=TURNING, rows=rows, **logs))


def test_a_metric_is_worse_when_it_fell_or_lies_far_below():
    falling = np.r_[np.full(20, 0.9), np.linspace(0.9, 0.7, 40)]
    assert metric("accuracy", 0.9, falling).metric_worse(0.1)
    assert metric("accuracy", 0.99, np.full(60, 0.7)).metric_worse(0.1)
    assert metric("accuracy", 0.95, np.full(60, 0.93)).metric_worse(0.1) is False


def test_two_standard_errors_of_a_small_set_are_allowed():
    falling = np.r_[np.full(20, 0.9), np.linspace(0.9, 0.85, 40)]
    assert metric("accuracy", 0.9, falling, rows=10_000).metric_worse(0.1)
    assert metric("accuracy", 0.9, falling, rows=60).metric_worse(0.1) is False


def test_errors_leave_the_judgment_to_the_loss():
    assert metric("mae", 0.1, np.full(60, 0.9)).metric_worse(0.1) is None
    assert curves(trained(TRAIN, val_loss=TURNING)).metric_worse(0.1) is None
    assert metric("mae", 0.1, np.full(60, 0.9)).metric.sign == -1

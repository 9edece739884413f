import dataclasses

import numpy as np
import pytest

from lossdoctor.evidence.target_scale import TargetScale, planned_steps
from lossdoctor.record.run import FitRecord, OptimizerRecord
from tests.records import config_record, mlp, run_record, steps

Z = np.random.default_rng(0).normal(size=1000)
ADAM = OptimizerRecord(class_name="Adam", learning_rate=0.001)
SGD = OptimizerRecord(class_name="SGD", learning_rate=0.01, momentum=0.9)
FIT = FitRecord(epochs=100, batch_size=32)


def scaled(y, **fields):
    fields = {"optimizer": ADAM, "fit": FIT, **fields}
    (found,) = TargetScale.from_record(config_record(y=y, **fields)).targets
    return found


def test_travel_is_rate_times_steps():
    assert scaled(Z).travel == pytest.approx(0.001 * 100 * 32)
    assert scaled(Z, loss="mean_absolute_error", optimizer=SGD).travel == pytest.approx(
        0.01 / 0.1 * 100 * 32
    )
    halved = dataclasses.replace(ADAM, schedule_values=(0.001, 0.0005, 0.0))
    assert scaled(Z, optimizer=halved).travel == pytest.approx(0.0005 * 100 * 32)
    assert scaled(Z, fit=FitRecord()).travel is None


def test_step_grows_with_the_target_under_squared_error_and_sgd():
    found = scaled(30 * Z + 40, optimizer=SGD)
    assert found.step == pytest.approx(0.01 * np.hypot(40 + 30 * Z.mean(), 30 * Z.std()) / 0.1)
    assert found.travel is None
    assert scaled(Z).step is None


def test_columns_give_the_widest_spread_and_their_disparity():
    y = np.stack([Z, 50 * Z, np.ones_like(Z)], axis=1)
    found = scaled(y, model=mlp(units=3))
    assert found.spread == pytest.approx(50 * Z.std())
    assert found.disparity == pytest.approx(50)


def test_columns_that_reach_as_far_as_each_other_are_of_one_scale():
    seldom_lit = np.where(np.arange(1000) == 7, 1.0, 0.0)
    pixels = np.stack([seldom_lit, np.arange(1000) % 2], axis=1)
    assert scaled(pixels, model=mlp(units=2)).disparity == pytest.approx(1)


def test_few_far_values_do_not_count():
    y = Z.copy()
    y[:10] = 1e6
    found = scaled(y)
    assert found.spread == pytest.approx(1, abs=0.1)
    assert found.mean == pytest.approx(0, abs=0.1)


def test_planned_steps_prefer_what_was_counted():
    base = config_record(y=Z, fit=FIT)
    assert planned_steps(base) == 3200
    assert planned_steps(run_record(base, steps=steps(np.ones(77)))) == 77
    assert (
        planned_steps(dataclasses.replace(base, fit=FitRecord(epochs=3, steps_per_epoch=5))) == 15
    )
    assert planned_steps(dataclasses.replace(base, fit=None)) is None

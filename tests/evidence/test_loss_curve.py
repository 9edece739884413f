import dataclasses
import math

import numpy as np
import pytest

from lossdoctor.evidence import NotApplicable, NotRecorded
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.record.run import NonFiniteOrigin, RunRecord
from tests.records import history, history_record, run_record, trained


def curve(**logs):
    return LossCurve.from_record(history_record(**logs))


def test_needs_a_loss():
    for record in (RunRecord(source="config"), history_record(accuracy=[0.5])):
        with pytest.raises(NotRecorded, match="training loss"):
            LossCurve.from_record(record)


def test_ends_at_the_first_value_that_is_not_finite():
    found = curve(loss=[3.0, 2.0, np.inf, 1.0, np.nan])
    assert found.loss.tolist() == [3.0, 2.0]
    assert found.non_finite == (2, None)
    assert curve(loss=[3.0, 2.0]).non_finite is None


def test_a_run_knows_the_step():
    record = trained([1.0, np.nan])
    assert LossCurve.from_record(record).non_finite == (1, 16)
    origin = NonFiniteOrigin(epoch=1, step=18, source="targets")
    found = LossCurve.from_record(run_record(record, non_finite=origin))
    assert found.non_finite == (1, 18)
    assert not found.blew_up, "the data were at fault"


def test_penalties_are_taken_off():
    record = trained([3.0, 2.0])
    logs = dataclasses.replace(history(loss=[3.0, 2.0]), penalty=np.array([1.0, 0.5]))
    found = LossCurve.from_record(run_record(record, history=logs))
    assert found.loss.tolist() == [2.0, 1.5]
    assert found.step_loss[[0, -1]].tolist() == [2.0, 1.5]
    model = dataclasses.replace(record.model, added_losses=2)
    assert LossCurve.from_record(dataclasses.replace(record, model=model)).hidden_penalty


def test_one_spike_is_neither_best_nor_end():
    loss = np.linspace(2.0, 1.0, 40)
    loss[20], loss[-1] = 0.01, 50.0
    found = curve(loss=loss)
    assert found.best == pytest.approx(1.05, abs=0.05)
    assert found.end == pytest.approx(1.05, abs=0.05)


def test_gain_ahead_extends_the_last_slope():
    assert curve(loss=np.linspace(2.0, 1.0, 101)).gain_ahead == pytest.approx(0.505)


def test_short_runs_take_their_trend_from_single_steps():
    record = trained([1.0, 0.5], steps_per_epoch=32)
    record.steps.loss[:] = np.linspace(1.0, 0.5, 64)
    # 0.5 over 63 steps, 32 steps an epoch
    assert LossCurve.from_record(record).tail.slope == pytest.approx(-0.5 / 63 * 32)


def test_swing_counts_only_jumps_that_turn_back():
    assert curve(loss=np.tile([1.0, 2.0], 10)).swing == pytest.approx(1.0)
    assert curve(loss=np.arange(20.0)).swing == 0.0


def test_growth_of_a_quadratic_gives_its_curvature():
    rate, sharpness, weight = 0.3, 10.0, 1e-3
    losses = []
    for _ in range(12):
        losses.append(0.5 * sharpness * weight**2)
        weight -= rate * sharpness * weight
    record = trained([1.0], steps_per_epoch=12)
    record.steps.loss[:] = losses
    found = LossCurve.from_record(record)
    assert found.growth == pytest.approx((1 - rate * sharpness) ** 2)
    assert (1 + math.sqrt(found.growth)) / rate == pytest.approx(sharpness)
    assert found.stable_factor * rate == pytest.approx(0.5 * 2 / sharpness)


def test_no_growth_where_the_loss_does_not_grow_steadily():
    record = trained([1.0], steps_per_epoch=12)
    record.steps.loss[:] = np.random.default_rng(0).exponential(1.0, 12)
    assert LossCurve.from_record(record).growth is None
    assert LossCurve.from_record(trained([1.0])).growth is None


def test_explosion_and_climb():
    assert curve(loss=[1.0, 4.0, 40.0, 400.0]).climb == pytest.approx(400.0)
    assert curve(loss=[1.0, 400.0, 2.0, 3.0, 1.0]).climb == 0.0
    assert curve(loss=[2.0, 30.0, 60.0, 60.0, np.nan]).explosion == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("loss", "classes"),
    [
        (np.full(9, math.log(2)), 2),
        (np.full(9, math.log(10)), 10),
        (np.full(9, 0.5), None),
        (np.linspace(5, math.log(2), 9), None),
        (np.full(9, -1.0), None),
    ],
)
def test_chance_classes(loss, classes):
    assert curve(loss=loss).chance_classes == classes


def test_a_lost_validation_loss():
    lost = curve(loss=np.ones(6), val_loss=[1.0, 1.0, 1.0, np.nan, np.nan, np.nan])
    assert lost.validation_non_finite == (3, None)
    every_third = [np.nan, np.nan, 1.0, np.nan, np.nan, 1.0, np.nan, np.nan]
    assert curve(loss=np.ones(8), val_loss=every_third).validation_non_finite is None


def test_meaning_is_unknown_for_custom_losses_and_negative_histories():
    with pytest.raises(NotApplicable, match="negative"):
        curve(loss=[-1.0, -2.0]).require_known_meaning()
    record = trained([1.0, 0.5])
    custom = (dataclasses.replace(record.losses[0], custom=True, name="mine"),)
    with pytest.raises(NotApplicable, match="custom loss 'mine'"):
        LossCurve.from_record(dataclasses.replace(record, losses=custom)).require_known_meaning()
    curve(loss=[1.0, 0.5]).require_known_meaning()

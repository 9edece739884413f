import dataclasses
import math

import numpy as np
import pytest

from lossdoctor.finding import Severity
from lossdoctor.record.run import FitRecord
from tests.records import findings_of, history_record, outcome_of, trained

SLUG = "loss_plateau"


def test_fires_on_a_run_that_never_left_the_baseline():
    (finding,) = findings_of(SLUG, trained(np.full(20, 1.003), ratio=0.01))
    assert finding.severity is Severity.ERROR
    assert "never fell materially below 1" in finding.message
    assert finding.remedies[0].code


def test_fires_on_a_run_that_stays_above_it():
    assert findings_of(SLUG, trained(np.linspace(3, 1.5, 20), ratio=0.01))


def test_silent_on_a_run_that_was_below_it_once():
    loss = np.r_[np.full(10, 1.0), np.full(10, 0.5), np.full(20, 1.0)]
    assert not findings_of(SLUG, trained(loss, ratio=0.01))


def test_dropout_in_the_training_loss_is_no_plateau():
    record = trained(np.full(20, 1.05), ratio=0.01, error_rate=0.1)
    pairing = dataclasses.replace(record.train.pairing[0], loss=0.3)
    train = dataclasses.replace(record.train, pairing=(pairing,))
    assert not findings_of(SLUG, dataclasses.replace(record, train=train))


def test_the_floor_of_soft_labels_counts():
    record = trained(np.full(20, 0.6), ratio=0.01, baseline=0.69)
    losses = (dataclasses.replace(record.losses[0], floor=0.59),)
    assert not findings_of(SLUG, dataclasses.replace(record, losses=losses))


@pytest.mark.parametrize(("best", "fires"), [(0.985, True), (0.975, False)])
def test_boundary_of_the_improvement(best, fires):
    assert bool(findings_of(SLUG, trained(np.full(20, best), ratio=0.01))) is fires


def test_too_short_a_run_is_not_judged():
    outcome = outcome_of(SLUG, trained([1.0, 1.0], steps_per_epoch=10))
    assert outcome.status == "not_applicable"
    assert "too short" in outcome.reason
    outcome = outcome_of(SLUG, trained(np.full(12, 1.0), ratio=1e-3))
    assert "have not moved far enough" in outcome.reason


def test_class_weights_put_the_loss_on_another_scale():
    record = dataclasses.replace(trained(np.full(20, 5.0)), fit=FitRecord(class_weight=True))
    assert outcome_of(SLUG, record).status == "not_applicable"


def test_history_at_the_chance_level_of_three_classes():
    (finding,) = findings_of(SLUG, history_record(loss=np.full(20, math.log(3) + 0.001)))
    assert "ln 3 = 1.099" in finding.message


def test_history_that_says_nothing():
    for loss in (np.full(20, 0.5), np.linspace(3.0, math.log(2), 20), [0.693] * 3):
        assert outcome_of(SLUG, history_record(loss=loss)).status == "not_applicable"


@pytest.mark.parametrize(
    ("loss", "accuracy"),
    [
        (math.log(3) + 0.01 * np.sin(np.arange(10)), 0.33 + 0.03 * np.cos(np.arange(10))),
        ([2.306, 2.3035, 2.3029], [0.099, 0.104, 0.098]),
        ([14.2, 5.1, 2.31, 2.303, 2.303], [0.1, 0.1, 0.098, 0.1, 0.11]),
        (np.linspace(2.30, 2.25, 20), np.linspace(0.10, 0.16, 20)),
    ],
    ids=["noisy", "three epochs", "after a wild start", "slow"],
)
def test_history_whose_loss_and_accuracy_are_both_those_of_guessing(loss, accuracy):
    (finding,) = findings_of(SLUG, history_record(loss=loss, accuracy=accuracy))
    assert finding.severity is Severity.WARNING
    assert "accuracy is that of guessing" in finding.message
    assert "LossDoctor()" in finding.remedies[0].code


@pytest.mark.parametrize(
    ("loss", "accuracy"),
    [
        (np.linspace(0.69, 0.66, 10), np.full(10, 0.52)),
        (np.full(10, 0.69), np.full(10, 0.6)),
        (np.geomspace(2.3, 1.2, 10), np.linspace(0.1, 0.6, 10)),
        (np.full(10, 0.69), np.full(10, 0.96)),
    ],
    ids=["below chance", "better than guessing", "learning", "soft labels"],
)
def test_history_beyond_guessing(loss, accuracy):
    assert not findings_of(SLUG, history_record(loss=loss, accuracy=accuracy))


def test_a_run_that_blew_up_is_not_stuck():
    outcome = outcome_of(SLUG, trained([*np.full(12, 1.0), np.nan]))
    assert outcome.reason == "the loss stopped being finite"


def test_a_short_way_is_no_excuse_once_validation_gets_worse():
    stays = {"ratio": 1e-3, "val_loss": np.linspace(1.0, 1.02, 20)}
    assert findings_of(SLUG, trained(np.linspace(1.0, 0.99, 20), **stays))
    stays["val_loss"] = np.linspace(1.02, 1.0, 20)
    assert outcome_of(SLUG, trained(np.linspace(1.0, 0.99, 20), **stays)).status != "found"

"""A slice of the cases, trained: the whole set is `lossdoctor validate`."""

import numpy as np
import pytest

from lossdoctor.cases import get_case
from lossdoctor.validation import validate, validate_random

pytestmark = pytest.mark.train

SLICE = [
    "blobs-categorical/class-ids",
    "blobs-categorical/linear-head",
    "regression-mse/nan-in-x",
    "regression-mse/two-epochs",
    "control/embedding-ids",
    "control/wine",
]


DRAWN = [5, 7, 62]
"""Of seed 2: those that train fastest among the first 70."""


@pytest.fixture(scope="module")
def result():
    return validate(SLICE, seeds=(1,))


@pytest.mark.parametrize("name", SLICE)
def test_the_doctor_is_right(result, name):
    (row,) = (row for row in result.rows if row.case.name == name)
    assert row.problems == ()


def test_healthy_twins_are_validated_along(result):
    assert {"regression-mse", "blobs-categorical"} <= {row.case.name for row in result.rows}


def test_a_seed_makes_a_trial_repeatable():
    first, again, other = (get_case("regression-mse").materialize(seed) for seed in (1, 1, 2))
    for trial in (first, again, other):
        trial.train(epochs=1)
    assert first.score() == again.score()
    assert first.score() != other.score()
    np.testing.assert_array_equal(first.X, other.X)


def test_a_remedy_may_rebind_everything_and_the_score_follows():
    trial = get_case("regression-mse/unscaled-target").materialize()
    trial.apply(
        "mean, std = y.mean(), y.std()\n"
        "y = (y - mean) / std\n"
        "y_val = (y_val - mean) / std\n"
        "epochs = 10\n"
        "batch_size = 16\n"
    )
    assert len(trial.train().epoch) == 10
    assert trial.batch_size == 16
    assert trial.score() > 0.9


def test_the_score_of_a_one_unit_head_follows_the_label_encoding():
    scores = set()
    for name in ("circles-hinge", "circles-hinge/labels-0-1"):
        trial = get_case(name).materialize()
        trial.train(epochs=5)
        scores.add(trial.score())
    # Keras turns {0, 1} into {-1, 1} inside hinge, so both learn the same.
    assert len(scores) == 1


def test_records_are_judged_again_without_training(tmp_path, monkeypatch):
    name = "control/wine"
    once = validate([name], seeds=(1,), records=tmp_path)
    monkeypatch.setattr("lossdoctor.cases.Trial.train", None)
    assert validate([name], seeds=(1,), records=tmp_path) == once


def test_the_doctor_is_right_on_drawn_cases_and_their_records(tmp_path, monkeypatch):
    once = validate_random(DRAWN, seed=2, records=tmp_path)
    assert [case.index for case in once.broken] == DRAWN
    assert [(case.broken.case, case.first) for case in once.broken if not case.right] == []
    assert [run.alarms() for run in once.healthy] == [()] * len(DRAWN)
    monkeypatch.setattr("lossdoctor.cases.Trial.train", None)
    again = validate_random(DRAWN, seed=2, records=tmp_path)
    assert repr(again) == repr(once)  # NaN is not equal to itself

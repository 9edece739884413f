import numpy as np
import pytest

from lossdoctor.evidence import NotApplicable, NotRecorded
from lossdoctor.evidence.predictions import ChanceLevel, Predictions
from tests.records import config_record, history_record, mlp

RNG = np.random.default_rng(0)


def test_spread_is_that_of_predictions_over_that_of_targets():
    y = RNG.normal(0, 7, size=(300, 2))
    record = config_record(model=mlp(units=2), y=y, predictions=0.25 * y)
    (answers,) = Predictions.from_record(record).answers
    assert answers.spread == pytest.approx(0.25)


def test_spread_of_ids_is_that_of_their_one_hot_rows():
    ids = RNG.integers(0, 4, 1000)
    model = mlp(units=4, activation="softmax")
    record = config_record(
        model=model, loss="sparse_categorical_crossentropy", y=ids, predictions=np.eye(4)[ids]
    )
    (answers,) = Predictions.from_record(record).answers
    assert answers.spread == pytest.approx(1.0, rel=1e-6)


def test_nothing_to_compare():
    with pytest.raises(NotRecorded, match="predictions"):
        Predictions.from_record(config_record(y=RNG.normal(size=20)))
    constant = config_record(y=np.ones(20), predictions=np.ones((20, 1)))
    with pytest.raises(NotApplicable, match="same for every example"):
        Predictions.from_record(constant)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_chance_level_of_a_standing_loss(classes):
    loss = np.log(classes) * (1 + 1e-4 * RNG.uniform(-1, 1, 12))
    assert ChanceLevel.from_record(history_record(loss=loss)).classes == classes
    assert ChanceLevel.from_record(history_record(loss=1.01 * loss)).classes is None


def test_frozen_accuracy_needs_a_loss_that_moves():
    falling, flat = np.linspace(1, 0.5, 8), np.full(8, 0.4)
    found = ChanceLevel.from_record(history_record(loss=falling, accuracy=[0.7] * 8))
    assert found.frozen_accuracy == 0.7
    found = ChanceLevel.from_record(history_record(loss=flat, accuracy=[0.7] * 8))
    assert found.frozen_accuracy is None


def test_chance_level_needs_epochs():
    with pytest.raises(NotRecorded):
        ChanceLevel.from_record(history_record(loss=[0.7, 0.69]))
    with pytest.raises(NotRecorded):
        ChanceLevel.from_record(history_record(loss=[0.7] * 5 + [np.nan]))

import dataclasses

import numpy as np
import pytest

from lossdoctor.evidence import NotApplicable, NotRecorded
from lossdoctor.evidence.label_encoding import Kind, LabelEncoding
from lossdoctor.record.run import LossRecord
from tests.records import config_record, mlp

RNG = np.random.default_rng(0)


def labels(y, loss="mean_squared_error", units=1, shape=None, **loss_fields):
    model = mlp(units=units)
    if shape is not None:
        output = dataclasses.replace(model.outputs[0], shape=shape)
        model = dataclasses.replace(model, outputs=(output,))
    record = config_record(model=model, loss=LossRecord(name=loss, **loss_fields), y=np.asarray(y))
    return LabelEncoding.from_record(record).judged[0].labels


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        ([0, 1, 1, 0], Kind.BINARY),
        ([True, False], Kind.BINARY),
        (np.array([0.0, 1.0] * 20)[:, None], Kind.BINARY),
        (np.float32([1.0, 1.0, 0.0]), Kind.BINARY),
        ([-1, 1, 1, -1], Kind.SIGN),
        ([1, 2] * 10, Kind.TWO_VALUES),
        ([0, 255] * 10, Kind.TWO_VALUES),
        (np.arange(150) % 3, Kind.CLASS_IDS),
        (np.arange(150) % 3 + 1, Kind.CLASS_IDS),
        (np.arange(150) % 3 + 5, Kind.WHOLE_NUMBERS),
        (np.arange(1, 11), Kind.WHOLE_NUMBERS),
        (np.arange(10) ** 2, Kind.WHOLE_NUMBERS),
        (np.arange(256), Kind.WHOLE_NUMBERS),
        (RNG.poisson(30, 500), Kind.WHOLE_NUMBERS),
        (RNG.uniform(size=100), Kind.UNIT_INTERVAL),
        (RNG.normal(size=100), Kind.CONTINUOUS),
        (np.full(50, 3.0), Kind.CONSTANT),
        ([0.5, 1.00000006, 0.0], Kind.UNIT_INTERVAL),
    ],
)
def test_kinds_of_single_numbers(y, kind):
    assert labels(y).kind is kind
    assert labels(y).one_column


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (np.eye(3)[np.arange(30) % 3], Kind.ONE_HOT),
        (np.vstack([np.eye(3), np.zeros((2, 3))]), Kind.ONE_HOT),
        (RNG.integers(0, 2, size=(50, 5)), Kind.MULTI_LABEL),
        (2.0 * RNG.integers(0, 2, size=(50, 5)) - 1, Kind.SIGN),
        (RNG.dirichlet(np.ones(4), size=50), Kind.DISTRIBUTIONS),
        (0.9 * np.eye(3)[np.arange(30) % 3] + 0.1 / 3, Kind.DISTRIBUTIONS),
        (RNG.uniform(size=(50, 5)), Kind.UNIT_INTERVAL),
        (RNG.integers(0, 256, size=(50, 5)), Kind.WHOLE_NUMBERS),
        (RNG.normal(size=(50, 5)), Kind.CONTINUOUS),
    ],
)
def test_kinds_of_rows(y, kind):
    found = labels(y, units=y.shape[1])
    assert found.kind is kind
    assert found.columns == found.classes == y.shape[1]


def test_one_axis_less_than_the_head_is_one_id_per_position():
    ids = RNG.integers(0, 5, size=(40, 7))
    loss = "sparse_categorical_crossentropy"
    found = labels(ids, loss, shape=(None, 7, 5))
    assert found.one_column
    assert found.may_be_ids
    assert labels(ids[..., None], loss, shape=(None, 7, 5)).one_column
    assert labels(RNG.normal(size=(40, 7)), shape=(None, 7, 1)).one_column
    assert labels(RNG.normal(size=(40, 7)), shape=(None, 7)).columns == 7


def test_one_hot_rows_before_a_sequence_of_unknown_length_stay_rows():
    one_hot = np.eye(5)[np.arange(40) % 5]
    found = labels(one_hot, "categorical_crossentropy", shape=(None, None, 5))
    assert found.kind is Kind.ONE_HOT


def test_the_class_a_loss_ignores_is_left_out():
    ids = np.where(np.arange(120) % 10 == 0, 255, np.arange(120) % 3)
    found = labels(ids, "sparse_categorical_crossentropy", 3, config={"ignore_class": 255})
    assert found.values == (0.0, 1.0, 2.0)
    assert found.high == 2
    assert found.kind is Kind.CLASS_IDS


@pytest.mark.parametrize(
    ("y", "units", "expected"),
    [
        (np.array([10, 20, 30] * 10), 1, True),
        (np.arange(256), 256, True),
        (np.arange(256), 10, False),
        (RNG.integers(0, 1000, 500), 1, False),
        (RNG.normal(size=50), 3, False),
        ([0, 1, 2], 1, True),
    ],
)
def test_what_may_be_ids_where_the_loss_says_classes(y, units, expected):
    assert labels(y, units=units).may_be_ids is expected


def test_share_outside_counts_known_values_exactly():
    found = labels([-1, 0, 1, 5] * 25)
    assert found.share_outside(0, 1) == 0.5
    assert found.share_outside(-1, 5) == 0
    assert found.share_outside(0, np.inf) == 0.25


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (-np.inf, 0.5), (0.0, np.inf)])
def test_share_outside_is_close_where_only_quantiles_are_known(bounds):
    y = RNG.normal(size=4000)
    exact = np.mean((y < bounds[0]) | (y > bounds[1]))
    assert labels(y).share_outside(*bounds) == pytest.approx(exact, abs=0.08)


def test_exceeds_tolerates_rounding():
    assert not labels([0.0, 0.3, 1.00000006]).exceeds(0, 1)
    assert labels([0.0, 0.3, 1.001]).exceeds(0, 1)


def test_nothing_to_classify():
    with pytest.raises(NotRecorded, match="labels"):
        LabelEncoding.from_record(config_record())
    with pytest.raises(NotApplicable, match="no numbers"):
        labels(["a", "b"])
    with pytest.raises(NotApplicable, match="no numbers"):
        labels([np.nan, np.nan])
    assert labels([np.nan, 0.0, 1.0, 1.0]).kind is Kind.BINARY

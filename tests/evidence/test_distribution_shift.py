import numpy as np
import pytest

from lossdoctor.evidence.distribution_shift import DistributionShift
from tests.records import config_record, mlp

RANDOM = np.random.default_rng(0)


def shifts(x, v, y=None, w=None, **fields):
    y = np.linspace(0, 1, len(x)) if y is None else y
    w = np.linspace(0, 1, len(v)) if w is None else w
    record = config_record(x=x, y=y, validation=(v, w), **fields)
    return {shift.name: shift for shift in DistributionShift.from_record(record).shifts}


def test_gap_is_in_standard_deviations_and_stretch_a_ratio():
    x, v = RANDOM.normal(size=(5000, 3)), RANDOM.normal(size=(5000, 3))
    v[:, 1] = v[:, 1] * 4 + 8
    found = shifts(x, v)["x"]
    assert found.gap == pytest.approx(2, rel=0.05)
    assert found.stretch == pytest.approx(4, rel=0.05)
    assert found.feature == "number 1"


def test_nothing_beyond_chance_in_many_draws():
    for seed in range(40):
        random = np.random.default_rng(seed)
        found = shifts(random.normal(size=(200, 50)), random.normal(size=(50, 50)))["x"]
        assert found.gap < 1
        assert found.stretch < 3


def test_constant_on_both_sides_but_different():
    x, v = np.full((100, 1), 2019.0), np.full((100, 1), 2020.0)
    assert shifts(x, v)["x"].gap > 100
    assert shifts(x, x.copy())["x"].gap == 0


def test_class_distance_is_the_share_that_would_have_to_change():
    fields = {"model": mlp(units=3, activation="softmax"), "loss": "categorical_crossentropy"}
    x = RANDOM.normal(size=(300, 2))
    train, validation = np.repeat([0, 1, 2], 100), np.repeat([0, 1, 2], [200, 50, 50])
    for y, w in ((train, validation), (np.eye(3)[train], np.eye(3)[validation])):
        found = shifts(x, x, y, w, **fields)["y"]
        assert found.class_distance == pytest.approx(1 / 3)
    assert shifts(x, x, train, train, **fields)["y"].class_distance == 0

import dataclasses

import pytest

from lossdoctor.evidence.initialization import Initialization, fan
from tests.records import chain, config_record, dense, layer, weighted


def kernels(*layers):
    return Initialization.from_record(config_record(model=chain(*layers))).kernels


def test_fans_of_dense_and_convolution():
    convolution = weighted(layer("c", "Conv2D", activation="relu"), 3, 3, 8, 16)
    assert fan(convolution.weights[0]) == (72, 144)
    assert fan(dense("a", 25, 20).weights[0]) == (20, 25)


def test_band_spans_glorot_lecun_and_he():
    (first, _) = kernels(dense("a", 25, 20), dense("head", 1, 25))
    assert first.low == pytest.approx((2 / 45) ** 0.5)
    assert first.high == pytest.approx((2 / 20) ** 0.5)
    assert first.hidden


@pytest.mark.parametrize(
    ("std", "follows"), [(0.2108, True), (0.22, True), (0.5, False), (0.05, False)]
)
def test_a_draw_of_glorot_is_recognized(std, follows):
    (first, _) = kernels(dense("a", 25, 20, std=std), dense("head", 1, 25))
    assert first.follows_its_law is follows


def test_initializers_of_free_scale_and_tiny_kernels_cannot_be_told():
    made = dense("a", 25, 20, std=0.9)
    kernel, bias = made.weights
    normal = dataclasses.replace(kernel, initializer="RandomNormal")
    (first, _) = kernels(dataclasses.replace(made, weights=(normal, bias)), dense("head", 1, 25))
    assert first.follows_its_law is None
    (only,) = kernels(dense("head", 1, 2, std=3.0))
    assert only.follows_its_law is None


def test_excess_and_shortfall_are_one_inside_the_band():
    for std, excess, shortfall in [(0.25, 1, 1), (3.1623, 10, 1), (0.02108, 1, 10)]:
        (first, _) = kernels(dense("a", 25, 20, std=std), dense("head", 1, 25))
        assert first.excess == pytest.approx(excess, rel=1e-3)
        assert first.shortfall == pytest.approx(shortfall, rel=1e-3)

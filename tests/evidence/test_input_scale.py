import dataclasses

import numpy as np
import pytest

from lossdoctor.evidence.input_scale import InputScale
from lossdoctor.record.run import OptimizerRecord
from tests.records import chain, config_record, dense, layer, mlp, weighted

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(500, 20))


def scaled(x, model=None, **fields):
    record = config_record(
        model=model or mlp(inputs=x.shape[-1]), x=x, y=np.arange(len(x)), **fields
    )
    (found,) = InputScale.from_record(record).inputs
    return found


def test_root_mean_square_and_offset_are_those_of_the_entries():
    x = X * 3 + 4
    found = scaled(x)
    assert found.rms == pytest.approx(np.sqrt(np.mean(x**2)))
    expected = np.linalg.norm(x.mean(axis=0)) / np.linalg.norm(x.std(axis=0))
    assert found.offset == pytest.approx(expected)


def test_unevenness_compares_the_largest_with_the_lower_quartile():
    scales = np.array([1.0, 2.0, 3.0, 4.0, 500.0])
    x = RANDOM.normal(size=(100_000, 5)) * scales
    found = scaled(x)
    assert found.unevenness == pytest.approx(250, rel=0.02)
    assert found.largest == 4
    assert found.largest_scale == pytest.approx(500, rel=0.02)


def test_zeros_do_not_make_a_feature_small_and_constants_do_not_count():
    x = np.zeros((1000, 2))
    x[:10, 0] = 5.0
    x[:, 1] = RANDOM.normal(size=1000) * 5
    assert scaled(x).unevenness == pytest.approx(1.0, abs=0.1)
    constant = np.hstack([X, np.full((500, 1), 1e-6)])
    assert scaled(constant).unevenness < 2


def test_rescaling_layers_are_followed():
    halves = layer("rescale", "Rescaling", scale=0.5, offset=-1.0)
    found = scaled(X, chain(halves, dense("head", 1, 20)))
    assert found.rms == pytest.approx(np.sqrt(np.mean((0.5 * X - 1) ** 2)))
    assert found.exempt is None
    body = dense("body", 8, 20, std=0.9, trainable=False)
    frozen = chain(layer("rescale", "Rescaling", scale=1 / 127.5, offset=-1.0), body)
    pixels = RANDOM.uniform(0, 255, size=(500, 20))
    assert "frozen" in (scaled(pixels, frozen).exempt or "")
    assert scaled(pixels / 255, frozen).exempt is None, "scaled twice, all are nearly the same"
    unknown = layer("rescale", "Rescaling", scale=[0.5, 0.1])
    assert "rescales" in (scaled(X, chain(unknown, dense("head", 1, 20))).exempt or "")


def test_curvature_step_is_rate_times_power_over_the_stable_limit():
    sgd = OptimizerRecord(class_name="SGD", learning_rate=0.01, momentum=0.9)
    power = np.mean(np.sum(X**2, axis=1))
    assert scaled(X, optimizer=sgd).curvature_step == pytest.approx(0.01 * power / (2 * 1.9))
    adam = OptimizerRecord(class_name="Adam", learning_rate=0.01)
    assert scaled(X, optimizer=adam).curvature_step is None
    clipped = dataclasses.replace(sgd, global_clipnorm=1.0)
    assert scaled(X, optimizer=clipped).curvature_step is None


def test_convolutions_sum_over_their_window():
    images = RANDOM.random((50, 8, 8, 3))
    convolution = weighted(layer("conv", "Conv2D", activation="relu"), 3, 3, 3, 8)
    model = chain(convolution, layer("flat", "Flatten"), dense("head", 1, 9))
    sgd = OptimizerRecord(class_name="SGD", learning_rate=0.1)
    expected = 0.1 * 27 * np.mean(images**2) / 2
    assert scaled(images, model, optimizer=sgd).curvature_step == pytest.approx(expected)


def test_what_the_inputs_look_like():
    pixels = RANDOM.integers(0, 256, size=(100, 28, 28))
    assert scaled(pixels, chain(layer("flat", "Flatten"), dense("head", 1, 784))).looks_like_pixels
    assert scaled(RANDOM.integers(0, 256, size=(100, 784))).looks_like_pixels
    assert not scaled(RANDOM.integers(0, 256, size=(100, 8))).looks_like_pixels
    assert scaled(RANDOM.integers(0, 5000, size=(100, 50))).looks_like_ids
    assert not scaled(X).looks_like_ids


def test_only_normalization_behind_the_first_layer_absorbs():
    normalization = layer("bn", "BatchNormalization")
    assert scaled(X, chain(dense("a", 9, 20), normalization, dense("head", 1, 9))).absorbed
    assert not scaled(X).absorbed


def test_units_that_saturate_take_no_larger_steps():
    sgd = OptimizerRecord(class_name="SGD", learning_rate=0.01)
    assert scaled(X, mlp(hidden=((25, "sigmoid"),)), optimizer=sgd).curvature_step is None

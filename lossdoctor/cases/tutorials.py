"""The nine set-ups of the loss-function tutorial, and healthy variants other faults start from."""

from __future__ import annotations

from dataclasses import replace

from lossdoctor.cases import data
from lossdoctor.cases.case import Case
from lossdoctor.cases.recipe import Recipe, adam, dense, layer, sgd
from lossdoctor.cases.score import ACCURACY, R2

_regression = Recipe(
    data=data.regression,
    layers=(dense(25, "relu"), dense(1)),
    loss="mse",
    score=R2,
    epochs=100,
)
_circles = Recipe(
    data=data.circles,
    layers=(dense(50, "relu"), dense(1, "sigmoid")),
    loss="binary_crossentropy",
    metrics=("accuracy",),
    score=ACCURACY,
    epochs=200,
)
# `metrics=["accuracy"]` would compare 0/1 decisions with -1/1 labels: a fault of its own.
_signed_circles = replace(
    _circles,
    data=data.signed_circles,
    layers=(dense(50, "relu"), dense(1, "tanh")),
    loss="hinge",
    metrics=(),
)
_blobs = Recipe(
    data=data.one_hot_blobs,
    layers=(dense(50, "relu"), dense(3, "softmax")),
    loss="categorical_crossentropy",
    metrics=("accuracy",),
    score=ACCURACY,
    epochs=100,
)
_normalized_regression = replace(
    _regression,
    data=data.measured_regression,
    layers=(layer("BatchNormalization"), dense(25, "relu"), dense(1)),
)
_digits = Recipe(
    data=data.digits,
    layers=(dense(64, "relu"), dense(10, "softmax")),
    loss="sparse_categorical_crossentropy",
    optimizer=adam(0.002),
    metrics=("accuracy",),
    score=ACCURACY,
    epochs=20,
)
_deep_circles = replace(
    _circles, layers=(*(dense(50, "relu") for _ in range(10)), dense(1, "sigmoid")), epochs=100
)


def _healthy(name: str, title: str, recipe: Recipe, passing: float = 0.8) -> Case:
    return Case(name=name, title=title, recipe=recipe, passing=passing)


TUTORIALS = (
    _healthy("regression-mse", "Regression under mean squared error", _regression, 0.9),
    _healthy(
        "regression-msle",
        "Regression of a non-negative target under mean squared logarithmic error",
        replace(_regression, data=data.positive_regression, loss="msle"),
    ),
    _healthy(
        "regression-mae",
        "Regression under mean absolute error",
        replace(_regression, loss="mae"),
        0.9,
    ),
    _healthy("circles-bce", "Two rings under binary cross-entropy, one sigmoid unit", _circles),
    _healthy(
        "circles-hinge",
        "Two rings with labels -1 and 1 under hinge, one tanh unit",
        _signed_circles,
    ),
    _healthy(
        "circles-squared-hinge",
        "Two rings with labels -1 and 1 under squared hinge, one tanh unit",
        replace(_signed_circles, loss="squared_hinge"),
    ),
    _healthy(
        "blobs-categorical",
        "Three blobs with one-hot labels under categorical cross-entropy, softmax",
        _blobs,
    ),
    _healthy(
        "blobs-sparse",
        "Three blobs with class ids under sparse categorical cross-entropy, softmax",
        replace(_blobs, data=data.blobs, loss="sparse_categorical_crossentropy"),
    ),
    _healthy(
        "blobs-kl",
        "Three blobs with one-hot labels under KL divergence, softmax",
        replace(_blobs, loss="kl_divergence"),
    ),
)

VARIANTS = (
    _healthy(
        "regression-mse-adam",
        "Regression under mean squared error, Adam",
        replace(_regression, optimizer=adam(0.01)),
        0.9,
    ),
    _healthy(
        "regression-mse-normalized",
        "Regression with inputs in units of their own, batch normalization first",
        _normalized_regression,
    ),
    _healthy(
        "circles-bce-deep",
        "Two rings, ten hidden relu layers",
        replace(_deep_circles, optimizer=sgd(0.01)),
        0.75,
    ),
    _healthy(
        "circles-hinge-linear",
        "Two rings with labels -1 and 1 under hinge, a linear unit (as an SVM has it)",
        replace(_signed_circles, layers=(dense(50, "relu"), dense(1))),
    ),
    _healthy(
        "circles-squared-hinge-linear",
        "Two rings with labels -1 and 1 under squared hinge, a linear unit",
        replace(_signed_circles, layers=(dense(50, "relu"), dense(1)), loss="squared_hinge"),
    ),
    _healthy(
        "blobs-sparse-adam",
        "Three blobs with class ids under sparse categorical cross-entropy, Adam",
        replace(
            _blobs,
            data=data.blobs,
            loss="sparse_categorical_crossentropy",
            optimizer=adam(0.01),
        ),
    ),
    _healthy("digits", "Digits: half of all inputs and most activations are 0", _digits, 0.88),
    _healthy(
        "sine-lstm",
        "A noisy sine forecast by an LSTM",
        Recipe(
            data=data.sine,
            layers=(layer("LSTM", units=32), dense(1)),
            loss="mse",
            optimizer=adam(0.01),
            score=R2,
            epochs=20,
        ),
        0.9,
    ),
    _healthy(
        "tokens-gru",
        "Word ids, padded in front, read by a GRU",
        Recipe(
            data=data.padded_tokens,
            layers=(
                layer("Embedding", input_dim=101, output_dim=8),
                layer("GRU", units=16),
                dense(1, "sigmoid"),
            ),
            loss="binary_crossentropy",
            optimizer=adam(0.01),
            metrics=("accuracy",),
            score=ACCURACY,
            epochs=8,
        ),
    ),
)

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

TUTORIALS = (
    Case(
        name="regression-mse",
        title="Regression under mean squared error",
        recipe=_regression,
        passing=0.9,
    ),
    Case(
        name="regression-msle",
        title="Regression of a non-negative target under mean squared logarithmic error",
        recipe=replace(_regression, data=data.positive_regression, loss="msle"),
        passing=0.8,
    ),
    Case(
        name="regression-mae",
        title="Regression under mean absolute error",
        recipe=replace(_regression, loss="mae"),
        passing=0.9,
    ),
    Case(
        name="circles-bce",
        title="Two rings under binary cross-entropy, one sigmoid unit",
        recipe=_circles,
        passing=0.8,
    ),
    Case(
        name="circles-hinge",
        title="Two rings with labels -1 and 1 under hinge, one tanh unit",
        recipe=_signed_circles,
        passing=0.8,
    ),
    Case(
        name="circles-squared-hinge",
        title="Two rings with labels -1 and 1 under squared hinge, one tanh unit",
        recipe=replace(_signed_circles, loss="squared_hinge"),
        passing=0.8,
    ),
    Case(
        name="blobs-categorical",
        title="Three blobs with one-hot labels under categorical cross-entropy, softmax",
        recipe=_blobs,
        passing=0.8,
    ),
    Case(
        name="blobs-sparse",
        title="Three blobs with class ids under sparse categorical cross-entropy, softmax",
        recipe=replace(_blobs, data=data.blobs, loss="sparse_categorical_crossentropy"),
        passing=0.8,
    ),
    Case(
        name="blobs-kl",
        title="Three blobs with one-hot labels under KL divergence, softmax",
        recipe=replace(_blobs, loss="kl_divergence"),
        passing=0.8,
    ),
)

VARIANTS = (
    Case(
        name="regression-mse-adam",
        title="Regression under mean squared error, Adam",
        recipe=replace(_regression, optimizer=adam(0.01)),
        passing=0.9,
    ),
    Case(
        name="regression-mse-normalized",
        title="Regression with inputs in units of their own, batch normalization first",
        recipe=_normalized_regression,
        passing=0.8,
    ),
    Case(
        name="circles-bce-deep",
        title="Two rings, ten hidden relu layers",
        recipe=replace(_deep_circles, optimizer=sgd(0.01)),
        passing=0.75,
    ),
    Case(
        name="circles-hinge-linear",
        title="Two rings with labels -1 and 1 under hinge, a linear unit (as an SVM has it)",
        recipe=replace(_signed_circles, layers=(dense(50, "relu"), dense(1))),
        passing=0.8,
    ),
    Case(
        name="circles-squared-hinge-linear",
        title="Two rings with labels -1 and 1 under squared hinge, a linear unit",
        recipe=replace(_signed_circles, layers=(dense(50, "relu"), dense(1)), loss="squared_hinge"),
        passing=0.8,
    ),
    Case(
        name="blobs-sparse-adam",
        title="Three blobs with class ids under sparse categorical cross-entropy, Adam",
        recipe=replace(
            _blobs,
            data=data.blobs,
            loss="sparse_categorical_crossentropy",
            optimizer=adam(0.01),
        ),
        passing=0.8,
    ),
    Case(
        name="digits",
        title="Digits: half of all inputs and most activations are 0",
        recipe=_digits,
        passing=0.88,
    ),
    Case(
        name="sine-lstm",
        title="A noisy sine forecast by an LSTM",
        recipe=Recipe(
            data=data.sine,
            layers=(layer("LSTM", units=32), dense(1)),
            loss="mse",
            optimizer=adam(0.01),
            score=R2,
            epochs=20,
        ),
        passing=0.9,
    ),
    Case(
        name="tokens-gru",
        title="Word ids, padded in front, read by a GRU",
        recipe=Recipe(
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
        passing=0.8,
    ),
)

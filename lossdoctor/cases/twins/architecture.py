"""Twins whose model cannot carry the signal: activations, starting weights, layers, penalties."""

from __future__ import annotations

from typing import Any

from lossdoctor.cases.faults import before_head, every_layer, head, hidden, setting
from lossdoctor.cases.recipe import Spec, dense, layer
from lossdoctor.cases.twins.proofs import CERTAINTY, lower
from lossdoctor.cases.twins.twin import Twin, before_training, in_training


def _logarithmic_loss(y_true: Any, y_pred: Any) -> Any:
    from keras import ops

    return ops.mean(ops.square(ops.log(y_true + 5.0) - ops.log(y_pred)), axis=-1)


def _constant(value: float) -> Spec:
    return Spec("initializers.Constant", {"value": value})


def _normal(stddev: float) -> Spec:
    return Spec("initializers.RandomNormal", {"stddev": stddev})


_LINEAR_HIDDEN = hidden(activation="linear")
_ZERO_KERNELS = every_layer(kernel_initializer="zeros")
_LOW_BIASES = hidden(bias_initializer=_constant(-10.0))

ARCHITECTURE = (
    *before_training(
        "missing_hidden_activation",
        Twin(
            "circles-bce/no-hidden-layer",
            setting(layers=(dense(1, "sigmoid"),)),
            "no hidden layer",
        ),
        Twin(
            "circles-bce/no-hidden-activation",
            _LINEAR_HIDDEN,
            "no activation in the hidden layer",
        ),
        Twin(
            "circles-hinge/no-hidden-activation",
            _LINEAR_HIDDEN,
            "no activation in the hidden layer",
        ),
    ),
    *before_training(
        "saturating_hidden_activations",
        Twin("digits/hidden-softmax", hidden(activation="softmax"), "softmax in the hidden layers"),
        Twin(
            "circles-bce-deep/sigmoid-layers",
            hidden(activation="sigmoid", kernel_initializer="glorot_uniform"),
            "ten sigmoid layers in a row",
            also_right=("vanishing_gradients",),
            symptoms=("vanishing_gradients",),
        ),
    ),
    *before_training(
        "saturated_activations",
        Twin(
            "circles-bce/biases-in-the-tail",
            hidden(activation="tanh", bias_initializer=_constant(10.0)),
            "tanh units whose biases start at 10",
            also_right=("poor_initialization",),
        ),
    ),
    *before_training(
        "mixed_precision_head",
        Twin(
            "digits/half-precision-head",
            head(dtype="mixed_float16"),
            "a softmax in float16",
            harm=CERTAINTY,
        ),
    ),
    *before_training(
        "poor_initialization",
        Twin(
            "circles-bce-deep/tiny-initialization",
            hidden(kernel_initializer=_normal(1e-3)),
            "kernels drawn with standard deviation 0.001",
            also_right=("vanishing_gradients",),
        ),
        Twin(
            "regression-mse/huge-initialization",
            every_layer(kernel_initializer=_normal(10.0)),
            "kernels drawn with standard deviation 10",
        ),
        Twin(
            "regression-mse/zero-kernels",
            _ZERO_KERNELS,
            "all kernels start at 0",
            symptoms=("stalled_updates",),
        ),
        Twin(
            "blobs-categorical/zero-kernels",
            _ZERO_KERNELS,
            "all kernels start at 0",
            symptoms=("stalled_updates",),
        ),
        Twin(
            "circles-bce/equal-kernels",
            every_layer(kernel_initializer=_constant(0.1)),
            "all kernel entries start at 0.1, so that all units stay alike",
        ),
    ),
    *in_training(
        "dead_units",
        Twin(
            "regression-mse/bias-minus-10",
            _LOW_BIASES,
            "hidden biases start at -10, which kills every relu",
            also_right=("poor_initialization",),
        ),
        Twin(
            "circles-bce/bias-minus-10",
            _LOW_BIASES,
            "hidden biases start at -10, which kills every relu",
            also_right=("poor_initialization",),
        ),
    ),
    *before_training(
        "frozen_model",
        Twin("circles-bce/frozen-model", every_layer(trainable=False), "every layer frozen"),
        Twin(
            "regression-mse/frozen-hidden-layer",
            hidden(trainable=False),
            "the hidden layer frozen at its random start",
        ),
    ),
    *before_training(
        "excessive_dropout",
        Twin(
            "regression-mse/dropout-0.8",
            before_head(layer("Dropout", rate=0.8)),
            "80 % dropout on 25 units",
            harm=lower(0.05),
        ),
    ),
    *before_training(
        "excessive_regularization",
        Twin(
            "circles-bce/l2-1",
            hidden(kernel_regularizer=Spec("regularizers.L2", {"l2": 1.0})),
            "an L2 penalty of 1.0",
        ),
    ),
    *before_training(
        "relu_recurrent",
        Twin("sine-lstm/relu-inside", hidden("LSTM", activation="relu"), "relu inside the LSTM"),
    ),
    *before_training(
        "small_batch_normalization",
        Twin(
            "regression-mse-normalized/batch-of-2",
            setting(batch_size=2, epochs=20),
            "batch normalization over batches of 2",
        ),
    ),
    *in_training(
        "train_inference_gap",
        Twin(
            "regression-mse-normalized/slow-statistics",
            hidden("BatchNormalization", momentum=0.99999),
            "batch statistics with momentum 0.99999 over 1600 steps",
            also_right=("small_batch_normalization",),
        ),
    ),
    *in_training(
        "narrow_layer",
        Twin(
            "digits/one-hidden-unit",
            hidden(units=1, activation="tanh"),
            "one hidden unit for ten classes",
            symptoms=("underfitting",),
        ),
    ),
    *in_training(
        "non_finite_loss",
        Twin(
            "regression-mse/logarithm-of-a-negative",
            setting(loss=_logarithmic_loss),
            "a loss of one's own that takes the logarithm of the prediction",
        ),
    ),
)

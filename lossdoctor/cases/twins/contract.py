"""Twins in which loss, labels, head, metric and shapes do not belong together."""

from __future__ import annotations

from typing import Any

from lossdoctor.cases import data
from lossdoctor.cases.faults import (
    after_head,
    as_one_hot,
    both,
    class_ids,
    everywhere,
    head,
    relabel,
    setting,
    source,
    times,
    training,
    unfitting,
)
from lossdoctor.cases.recipe import Spec, layer
from lossdoctor.cases.twins.proofs import (
    INFLATION,
    KERAS_OBJECTS,
    LABEL_AGREEMENT,
    METRIC_HONESTY,
    PROBABILITIES,
    SIGHT,
    less_likely,
)
from lossdoctor.cases.twins.twin import Twin, before_training, in_training


def broadcasting_loss() -> Any:
    """A squared error that subtracts (n, 1) predictions from (n,) targets as they come."""
    import keras
    from keras import ops

    class Squared(keras.losses.Loss):  # type: ignore[misc]
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return ops.mean(ops.square(y_true - y_pred), axis=-1)

    return Squared()


_SIGNS_TO_BITS = everywhere(y=relabel({-1: 0, 1: 1}))
_SIGNS_TO_IDS = everywhere(y=relabel({-1: 1, 1: 2}))
_LINEAR_HEAD = head(activation="linear")
_SIGMOID_HEAD = head(activation="sigmoid")
_SOFTMAX_HEAD = head(activation="softmax")
_NEVER_MINUS_1 = "a sigmoid head, which never reaches -1"
_NO_LOGITS = "a linear head without from_logits=True"
_ONE_UNIT = "softmax over one unit"

CONTRACT = (
    *in_training(
        "missing_targets",
        Twin(
            "control/grey-autoencoder/no-targets",
            training(y=lambda y: None),
            "`fit` is given the images as inputs, and no targets",
        ),
    ),
    *before_training(
        "input_shape",
        Twin(
            "control/images-0-255-rescaled/flattened-images",
            unfitting(everywhere(X=lambda X: X.reshape(len(X), -1))),
            "images of shape (n, 64) for a model that reads (n, 8, 8, 1)",
        ),
    ),
    *before_training(
        "ids_out_of_range",
        Twin(
            "control/embedding-ids/scaled-ids",
            everywhere(X=times(0.01)),
            "word ids scaled to [0, 1], which the embedding cuts to 0",
        ),
    ),
    *before_training(
        "hinge_label_encoding",
        Twin("circles-hinge/labels-0-1", _SIGNS_TO_BITS, "labels 0 and 1", harm=LABEL_AGREEMENT),
        Twin(
            "circles-squared-hinge/labels-0-1",
            _SIGNS_TO_BITS,
            "labels 0 and 1",
            harm=LABEL_AGREEMENT,
        ),
    ),
    *before_training(
        "labels_out_of_range",
        Twin("circles-hinge/labels-1-2", _SIGNS_TO_IDS, "labels 1 and 2"),
        Twin("circles-squared-hinge/labels-1-2", _SIGNS_TO_IDS, "labels 1 and 2"),
        Twin(
            "circles-bce/labels-minus-1-1",
            everywhere(y=relabel({0: -1, 1: 1})),
            "labels -1 and 1",
            beside=("metric_task",),
            symptoms=("negative_loss",),
        ),
        Twin(
            "blobs-sparse/labels-1-to-3",
            everywhere(y=relabel({0: 1, 1: 2, 2: 3})),
            "labels 1 to 3 under three units",
            beside=("missing_class",),
        ),
        Twin(
            "regression-msle/negative-targets",
            source(data.regression),
            "a standardized target: Keras clips its negative half to 0",
            harm=SIGHT,
        ),
    ),
    *before_training(
        "loss_label_encoding",
        Twin(
            "blobs-sparse/one-hot-labels",
            everywhere(y=as_one_hot),
            "one-hot labels under the sparse loss",
            beside=("metric_task", "target_rank"),
        ),
        Twin(
            "blobs-categorical/class-ids",
            everywhere(y=class_ids),
            "class ids under the categorical loss",
            beside=("metric_task", "target_rank"),
        ),
        Twin(
            "blobs-kl/class-ids",
            everywhere(y=class_ids),
            "class ids under KL divergence",
            beside=("metric_task", "target_rank"),
        ),
    ),
    *before_training(
        "final_activation_range",
        Twin("circles-hinge/sigmoid-head", _SIGMOID_HEAD, _NEVER_MINUS_1),
        Twin("circles-squared-hinge/sigmoid-head", _SIGMOID_HEAD, _NEVER_MINUS_1),
        Twin(
            "regression-mse/sigmoid-head", _SIGMOID_HEAD, "a sigmoid head on a standardized target"
        ),
        Twin(
            "regression-mse/relu-head",
            head(activation="relu"),
            "a relu head on a target that is half negative",
        ),
        Twin(
            "regression-mae/tanh-head",
            head(activation="tanh"),
            "a tanh head on a target beyond ±1",
        ),
    ),
    *before_training(
        "missing_final_activation",
        Twin("circles-bce/linear-head", _LINEAR_HEAD, _NO_LOGITS),
        Twin(
            "circles-bce/tanh-head", head(activation="tanh"), "a tanh head", harm=less_likely(0.05)
        ),
        Twin("blobs-categorical/linear-head", _LINEAR_HEAD, _NO_LOGITS, harm=PROBABILITIES),
        Twin("blobs-sparse/linear-head", _LINEAR_HEAD, _NO_LOGITS),
        Twin("blobs-sparse/relu-head", head(activation="relu"), "a relu head"),
    ),
    *before_training(
        "single_unit_softmax",
        Twin(
            "circles-bce/softmax-head",
            _SOFTMAX_HEAD,
            _ONE_UNIT,
            symptoms=("constant_predictions", "loss_metric_divergence", "saturated_output"),
        ),
        Twin("regression-mse/softmax-head", _SOFTMAX_HEAD, _ONE_UNIT),
        Twin(
            "blobs-categorical/one-unit",
            both(everywhere(y=class_ids), head(units=1)),
            "one softmax unit for three class ids",
            also_right=("output_units",),
            beside=("loss_label_encoding", "metric_task", "loss_task"),
        ),
    ),
    *before_training(
        "double_softmax",
        Twin(
            "blobs-categorical/from-logits-softmax",
            setting(loss=Spec("losses.CategoricalCrossentropy", {"from_logits": True})),
            "from_logits=True on a softmax head, which Keras overrules",
            harm=KERAS_OBJECTS,
        ),
        Twin(
            "blobs-categorical/softmax-twice",
            after_head(layer("Softmax")),
            "a Softmax layer behind the softmax head",
            harm=less_likely(0.1),
        ),
    ),
    *before_training(
        "output_units",
        Twin(
            "blobs-sparse/two-units",
            head(units=2),
            "two units for three classes",
            beside=("labels_out_of_range",),
        ),
        Twin(
            "blobs-categorical/two-units",
            head(units=2),
            "two units for three one-hot columns",
            beside=("target_rank",),
        ),
    ),
    *before_training(
        "loss_task",
        Twin(
            "regression-mse/binary-crossentropy",
            setting(loss="binary_crossentropy"),
            "binary cross-entropy on a continuous target",
            beside=("labels_out_of_range", "missing_final_activation"),
        ),
        Twin(
            "blobs-sparse/mse-on-class-ids",
            both(setting(loss="mse"), head(units=1, activation="linear")),
            "squared error on class ids",
            beside=("metric_task",),
        ),
        Twin(
            "blobs-categorical/sigmoid-head",
            _SIGMOID_HEAD,
            "a sigmoid head under the categorical loss, which trains it as a softmax",
            harm=PROBABILITIES,
        ),
        Twin(
            "blobs-categorical/binary-crossentropy",
            setting(loss="binary_crossentropy"),
            "binary cross-entropy on a softmax head",
            beside=("metric_task",),
            harm=less_likely(0.03),
        ),
    ),
    *before_training(
        "metric_task",
        Twin(
            "circles-hinge/accuracy-metric",
            setting(metrics=("accuracy",)),
            'metrics=["accuracy"] compares 0/1 with -1/1',
            harm=METRIC_HONESTY,
        ),
        Twin(
            "regression-mse/accuracy-metric",
            setting(metrics=("accuracy",)),
            "accuracy on a continuous target",
            harm=METRIC_HONESTY,
        ),
        Twin(
            "blobs-categorical/binary-accuracy",
            setting(metrics=("binary_accuracy",)),
            "binary accuracy over one-hot rows",
            harm=INFLATION,
        ),
    ),
    *before_training(
        "target_rank",
        Twin(
            "regression-mse/broadcasting-loss",
            setting(loss=Spec(broadcasting_loss)),
            "a Loss of one's own that subtracts (n, 1) predictions from (n,) targets",
        ),
    ),
)

"""The broken twins: each is a healthy case with one fault, and says which rule must name it."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np

from lossdoctor.cases import data
from lossdoctor.cases.case import Case, Proof, Trial
from lossdoctor.cases.faults import (
    Fault,
    after_head,
    as_one_hot,
    before_head,
    both,
    class_ids,
    column_times,
    entry,
    every_layer,
    everywhere,
    few_of,
    first,
    head,
    held_out,
    hidden,
    learning_rate,
    missing_code,
    optimizer,
    outliers,
    relabel,
    relabeled,
    rows,
    setting,
    shuffled,
    sorted_rows,
    source,
    times,
    training,
    validation_from_training,
)
from lossdoctor.cases.recipe import Spec, dense, layer
from lossdoctor.cases.score import LIKELIHOOD, predict
from lossdoctor.cases.tutorials import TUTORIALS, VARIANTS

_HEALTHY = {case.name: case for case in (*TUTORIALS, *VARIANTS)}

# These rules read nothing but the configuration and the data. A twin differs from its healthy
# case in one fault, so whichever of them speaks besides the one named accuses the innocent.
_STATIC_RULES = frozenset(
    {
        "single_unit_softmax",
        "missing_final_activation",
        "double_softmax",
        "final_activation_range",
        "output_units",
        "loss_label_encoding",
        "labels_out_of_range",
        "hinge_label_encoding",
        "loss_task",
        "metric_task",
        "target_rank",
        "missing_hidden_activation",
        "saturating_hidden_activations",
        "relu_recurrent",
        "poor_initialization",
        "excessive_dropout",
        "frozen_model",
        "optimizer_settings",
        "mixed_precision_head",
        "unscaled_inputs",
        "unscaled_targets",
        "non_finite_data",
        "constant_features",
        "class_imbalance",
        "missing_class",
        "ordered_data",
        "validation_shift",
        "validation_overlap",
        "label_noise",
        "target_outliers",
        "input_outliers",
        "too_few_examples",
        "uninformative_inputs",
    }
)


def _twin(
    healthy: str,
    fault_name: str,
    fault: Fault,
    what: str,
    *,
    finds: str,
    before: bool = False,
    also_right: tuple[str, ...] = (),
    beside: tuple[str, ...] = (),
    harm: Proof | None = None,
) -> Case:
    """The twin of a healthy case.

    Args:
        healthy: Name of the healthy case.
        fault_name: What follows the slash in the twin's name.
        fault: Makes its recipe.
        what: The fault in words.
        finds: The rule that must rank first.
        before: Whether `check_config` alone must find it.
        also_right: Rules that name the same cause from another side.
        beside: Rules about the configuration that rightly speak as well.
        harm: How the harm shows, where a lower score does not.
    """
    base = _HEALTHY[healthy]
    return Case(
        name=f"{healthy}/{fault_name}",
        title=f"{base.title}: {what}",
        recipe=fault(base.recipe),
        fault=what,
        must_find=finds,
        also_right=also_right,
        must_not_find=_STATIC_RULES - {finds, *also_right, *beside},
        found_before_training=before,
        healthy=healthy,
        harm=harm,
    )


# What a lower score cannot show ---------------------------------------------------------------


def _lower(by: float) -> Proof:
    return Proof(claim=f"the score on held-out rows is lower by {by:g}", measure=Trial.score, by=by)


def _agreement(trial: Trial) -> float:
    return float(np.mean(np.rint(predict(trial.model, trial.X_val)).reshape(-1) == trial.y_val))


LABEL_AGREEMENT = Proof(
    claim="rounded predictions equal the labels less often: the two speak different encodings",
    measure=_agreement,
    by=0.1,
)


def _metric_honesty(trial: Trial) -> float:
    logged = next((v for k, v in trial.logs.items() if k.endswith("accuracy")), None)
    return 0.0 if logged is None else -abs(logged[-1] - _training_score(trial))


def _training_score(trial: Trial) -> float:
    return trial.case.recipe.score(trial.model, trial.X, trial.y)


METRIC_HONESTY = Proof(
    claim="the logged accuracy is not what the same rows' predictions give when recomputed",
    measure=_metric_honesty,
    by=0.1,
    worst=-1.0,
)


def _metric_of_nothing(trial: Trial) -> float:
    trial.model.reset_metrics()
    nothing = np.zeros_like(trial.y_val)
    logs = trial.model.compute_metrics(trial.X_val, trial.y_val, nothing, None)
    return -max((float(v) for k, v in logs.items() if k.endswith("accuracy")), default=0.0)


INFLATION = Proof(
    claim="the metric gives high marks to a model that answers 0 to everything",
    measure=_metric_of_nothing,
    by=0.2,
    worst=-1.0,
)


def _sight_of_low_targets(trial: Trial) -> float:
    predicted = predict(trial.model, trial.X_val).reshape(-1)
    low = trial.y_val < np.median(trial.y_val)
    wrong = np.where(low, predicted - 0.5, predicted)
    before, after = (
        float(trial.model.compute_loss(y=trial.y_val, y_pred=p[:, None]))
        for p in (predicted, wrong)
    )
    return min(1.0, after / before - 1)


SIGHT = Proof(
    claim="the loss hardly changes when the predictions for all low targets are made worse",
    measure=_sight_of_low_targets,
    by=0.5,
    worst=-1.0,
)


def _sums_to_one(trial: Trial) -> float:
    return -float(np.mean(np.abs(predict(trial.model, trial.X_val).sum(axis=-1) - 1)))


PROBABILITIES = Proof(
    claim="the rows of `predict` do not sum to 1",
    measure=_sums_to_one,
    by=0.1,
    worst=-1.0,
)


def _certainty(trial: Trial) -> float:
    return -float(np.mean(predict(trial.model, trial.X_val) == 0))


CERTAINTY = Proof(
    claim="`predict` gives more of the classes a probability of exactly 0",
    measure=_certainty,
    by=0.05,
    worst=-1.0,
)


def _objections(trial: Trial) -> float:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        trial.model.compute_loss(trial.X, trial.y, trial.model(trial.X))
    return -float(sum("from_logits" in str(warning.message) for warning in heard))


KERAS_OBJECTS = Proof(
    claim="Keras itself warns that it overrules `from_logits`",
    measure=_objections,
    by=0.5,
    worst=-1.0,
)


def _promise(trial: Trial) -> float:
    fresh = _HEALTHY[trial.case.healthy or trial.case.name].recipe.data()
    kept = trial.case.recipe.score(trial.model, fresh.X_val, fresh.y_val)
    return -abs(trial.score() - kept)


FRESH_ROWS = Proof(
    claim="the validation score promises more than rows never seen give",
    measure=_promise,
    by=0.03,
    worst=-1.0,
)


def _log_likelihood(trial: Trial) -> float:
    return LIKELIHOOD(trial.model, trial.X_val, trial.y_val)


def _less_likely(by: float) -> Proof:
    return Proof(
        claim=f"the held-out labels are less likely under the predictions, by {by:g} nats per row",
        measure=_log_likelihood,
        by=by,
        worst=LIKELIHOOD.worst,
    )


# Losses people write themselves ---------------------------------------------------------------


def _logarithmic_loss(y_true: Any, y_pred: Any) -> Any:
    from keras import ops

    return ops.mean(ops.square(ops.log(y_true + 5.0) - ops.log(y_pred)), axis=-1)


def broadcasting_loss() -> Any:
    """A squared error that subtracts (n, 1) predictions from (n,) targets as they come."""
    import keras
    from keras import ops

    class Squared(keras.losses.Loss):  # type: ignore[misc]
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return ops.mean(ops.square(y_true - y_pred), axis=-1)

    return Squared()


# The twins ------------------------------------------------------------------------------------

_HIGH_RATE = functools.partial(_twin, finds="high_learning_rate")
_LOW_RATE = functools.partial(_twin, finds="low_learning_rate")
_UNSCALED = functools.partial(_twin, finds="unscaled_inputs", before=True)
_NON_FINITE = functools.partial(_twin, finds="non_finite_data", before=True)
_EARLY_EXIT = Spec("callbacks.EarlyStopping", {"monitor": "val_loss", "patience": 0})

_STEP_SIZE = (
    _HIGH_RATE("regression-mse", "learning-rate-x50", learning_rate(50), "learning rate × 50"),
    _HIGH_RATE(
        "regression-mse", "learning-rate-x1000", learning_rate(1000), "learning rate × 1000"
    ),
    _HIGH_RATE("regression-mae", "learning-rate-x200", learning_rate(200), "learning rate × 200"),
    _HIGH_RATE("circles-bce", "learning-rate-x1000", learning_rate(1000), "learning rate × 1000"),
    _HIGH_RATE(
        "blobs-categorical", "learning-rate-x1000", learning_rate(1000), "learning rate × 1000"
    ),
    _HIGH_RATE(
        "regression-mse-adam", "learning-rate-x1000", learning_rate(1000), "learning rate × 1000"
    ),
    _HIGH_RATE(
        "blobs-sparse-adam", "learning-rate-x1000", learning_rate(1000), "learning rate × 1000"
    ),
    _LOW_RATE(
        "regression-mse", "learning-rate-div-1000", learning_rate(1e-3), "learning rate ÷ 1000"
    ),
    _LOW_RATE(
        "regression-mse-adam",
        "learning-rate-div-1000",
        learning_rate(1e-3),
        "learning rate ÷ 1000",
    ),
    _LOW_RATE("circles-bce", "learning-rate-div-1000", learning_rate(1e-3), "learning rate ÷ 1000"),
    _LOW_RATE("blobs-kl", "learning-rate-div-1000", learning_rate(1e-3), "learning rate ÷ 1000"),
    _twin(
        "regression-mse",
        "learning-rate-0",
        learning_rate(0),
        "learning rate 0",
        finds="optimizer_settings",
        before=True,
    ),
    _twin(
        "regression-mse",
        "schedule-decays-at-once",
        optimizer(
            learning_rate=Spec(
                "optimizers.schedules.ExponentialDecay",
                {"initial_learning_rate": 0.01, "decay_steps": 10, "decay_rate": 0.5},
            )
        ),
        "a schedule that halves the learning rate every 10 of 1600 steps",
        finds="optimizer_settings",
        before=True,
    ),
    _twin(
        "regression-mse",
        "clipped-to-nothing",
        optimizer(clipnorm=1e-3),
        "gradients clipped to norm 0.001",
        finds="optimizer_settings",
    ),
    _twin(
        "regression-mse",
        "learning-rate-jumps",
        optimizer(
            learning_rate=Spec(
                "optimizers.schedules.PiecewiseConstantDecay",
                {"boundaries": [800], "values": [0.01, 10.0]},
            )
        ),
        "the learning rate jumps × 1000 half-way",
        finds="schedule_shock",
        also_right=("high_learning_rate",),
    ),
)

_DATA = (
    _UNSCALED("regression-mse", "features-x1000", everywhere(X=times(1e3)), "features × 1000"),
    _UNSCALED("circles-bce", "features-x1000", everywhere(X=times(1e3)), "features × 1000"),
    _UNSCALED("blobs-categorical", "features-x1000", everywhere(X=times(1e3)), "features × 1000"),
    _UNSCALED(
        "regression-mse",
        "one-feature-x1e5",
        everywhere(X=column_times(3, 1e5)),
        "one feature × 100,000",
    ),
    _UNSCALED(
        "blobs-sparse-adam",
        "one-feature-x1e5",
        everywhere(X=column_times(1, 1e5)),
        "one feature × 100,000",
    ),
    _twin(
        "regression-mse",
        "unscaled-target",
        source(data.unscaled_regression),
        "the target as `make_regression` gives it, without StandardScaler",
        finds="unscaled_targets",
        before=True,
    ),
    _NON_FINITE(
        "regression-mse", "nan-in-x", training(X=entry(17, np.nan, 4)), "NaN in one cell of x"
    ),
    _NON_FINITE("regression-mae", "nan-in-y", training(y=entry(17, np.nan)), "NaN in one target"),
    _NON_FINITE(
        "circles-bce", "nan-in-x", training(X=entry(17, np.nan, 0)), "NaN in one cell of x"
    ),
    _NON_FINITE(
        "blobs-sparse",
        "infinity-in-x",
        training(X=entry(17, np.inf, 1)),
        "infinity in one cell of x",
    ),
    _twin(
        "regression-mse",
        "target-outliers",
        training(y=outliers(50, 1000)),
        "every 50th target a thousand times too large",
        finds="target_outliers",
        before=True,
        beside=("unscaled_targets", "validation_shift"),
    ),
    _twin(
        "regression-mse",
        "missing-values-999",
        everywhere(X=missing_code(97, 999.0)),
        "999 stands for a missing value in 1 % of all cells",
        finds="input_outliers",
        before=True,
        beside=("unscaled_inputs",),
    ),
    _twin(
        "digits",
        "validation-from-training",
        validation_from_training(),
        "validation rows taken from the training rows",
        finds="validation_overlap",
        before=True,
        harm=FRESH_ROWS,
    ),
    _twin(
        "regression-mse",
        "zeroed-inputs",
        everywhere(X=times(0)),
        "all inputs 0 after integer division",
        finds="constant_features",
        before=True,
        beside=("uninformative_inputs",),
    ),
    _twin(
        "blobs-sparse",
        "shuffled-labels",
        training(y=shuffled),
        "labels shuffled apart from their inputs",
        finds="uninformative_inputs",
        also_right=("label_noise",),
        before=True,
    ),
    _twin(
        "digits",
        "flipped-labels",
        training(y=relabeled(0.35, 10)),
        "35 % of the labels are those of the next digit",
        finds="label_noise",
        before=True,
        harm=_less_likely(0.1),
    ),
    _twin(
        "circles-bce",
        "one-label",
        training(y=times(0)),
        "all training labels are 0",
        finds="missing_class",
        before=True,
        beside=("uninformative_inputs", "class_imbalance", "validation_shift"),
    ),
    _twin(
        "blobs-sparse",
        "flipped-labels",
        training(y=relabeled(0.4, 3)),
        "40 % of the labels are those of the next class",
        finds="label_noise",
        before=True,
        harm=_less_likely(0.15),
    ),
    _twin(
        "blobs-sparse",
        "sorted-labels-tail-validation",
        both(rows(sorted_rows), setting(fit={"validation_split": 0.4})),
        "rows sorted by class and `validation_split=0.4`, which takes the tail",
        finds="ordered_data",
        before=True,
        beside=("missing_class", "class_imbalance", "validation_shift"),
    ),
    _twin(
        "blobs-sparse",
        "class-only-in-validation",
        rows(few_of(2, 0)),
        "class 2 stands only in the validation rows",
        finds="missing_class",
        before=True,
        beside=("class_imbalance", "validation_shift"),
    ),
    _twin(
        "circles-bce",
        "rare-class",
        rows(few_of(1, 8)),
        "8 rows of class 1 against some 250 of class 0",
        finds="class_imbalance",
        before=True,
        beside=("validation_shift",),
    ),
    _twin(
        "regression-mse",
        "validation-unscaled",
        held_out(X=lambda X: 5 * X + 20),
        "inputs standardized for training only",
        finds="validation_shift",
        before=True,
    ),
    _twin(
        "regression-mse",
        "twelve-rows",
        rows(first(12)),
        "12 rows for 20 features",
        finds="too_few_examples",
        before=True,
        beside=("validation_shift",),
    ),
)

_CONTRACT = (
    _twin(
        "circles-hinge",
        "labels-0-1",
        everywhere(y=relabel({-1: 0, 1: 1})),
        "labels 0 and 1",
        finds="hinge_label_encoding",
        before=True,
        harm=LABEL_AGREEMENT,
    ),
    _twin(
        "circles-squared-hinge",
        "labels-0-1",
        everywhere(y=relabel({-1: 0, 1: 1})),
        "labels 0 and 1",
        finds="hinge_label_encoding",
        before=True,
        harm=LABEL_AGREEMENT,
    ),
    _twin(
        "circles-hinge",
        "labels-1-2",
        everywhere(y=relabel({-1: 1, 1: 2})),
        "labels 1 and 2",
        finds="labels_out_of_range",
        before=True,
    ),
    _twin(
        "circles-squared-hinge",
        "labels-1-2",
        everywhere(y=relabel({-1: 1, 1: 2})),
        "labels 1 and 2",
        finds="labels_out_of_range",
        before=True,
    ),
    _twin(
        "circles-hinge",
        "sigmoid-head",
        head(activation="sigmoid"),
        "a sigmoid head, which never reaches -1",
        finds="final_activation_range",
        before=True,
    ),
    _twin(
        "circles-squared-hinge",
        "sigmoid-head",
        head(activation="sigmoid"),
        "a sigmoid head, which never reaches -1",
        finds="final_activation_range",
        before=True,
    ),
    _twin(
        "circles-hinge",
        "accuracy-metric",
        setting(metrics=("accuracy",)),
        'metrics=["accuracy"] compares 0/1 with -1/1',
        finds="metric_task",
        before=True,
        harm=METRIC_HONESTY,
    ),
    _twin(
        "circles-bce",
        "labels-minus-1-1",
        everywhere(y=relabel({0: -1, 1: 1})),
        "labels -1 and 1",
        finds="labels_out_of_range",
        before=True,
        beside=("metric_task",),
    ),
    _twin(
        "circles-bce",
        "linear-head",
        head(activation="linear"),
        "a linear head without from_logits=True",
        finds="missing_final_activation",
        before=True,
    ),
    _twin(
        "circles-bce",
        "tanh-head",
        head(activation="tanh"),
        "a tanh head",
        finds="missing_final_activation",
        before=True,
    ),
    _twin(
        "circles-bce",
        "softmax-head",
        head(activation="softmax"),
        "softmax over one unit",
        finds="single_unit_softmax",
        before=True,
    ),
    _twin(
        "regression-mse",
        "sigmoid-head",
        head(activation="sigmoid"),
        "a sigmoid head on a standardized target",
        finds="final_activation_range",
        before=True,
    ),
    _twin(
        "regression-mse",
        "softmax-head",
        head(activation="softmax"),
        "softmax over one unit",
        finds="single_unit_softmax",
        before=True,
    ),
    _twin(
        "regression-mse",
        "relu-head",
        head(activation="relu"),
        "a relu head on a target that is half negative",
        finds="final_activation_range",
        before=True,
    ),
    _twin(
        "regression-mae",
        "tanh-head",
        head(activation="tanh"),
        "a tanh head on a target beyond ±1",
        finds="final_activation_range",
        before=True,
    ),
    _twin(
        "regression-msle",
        "negative-targets",
        source(data.regression),
        "a standardized target: Keras clips its negative half to 0",
        finds="labels_out_of_range",
        before=True,
        harm=SIGHT,
    ),
    _twin(
        "regression-mse",
        "binary-crossentropy",
        setting(loss="binary_crossentropy"),
        "binary cross-entropy on a continuous target",
        finds="loss_task",
        before=True,
        beside=("labels_out_of_range", "missing_final_activation"),
    ),
    _twin(
        "regression-mse",
        "accuracy-metric",
        setting(metrics=("accuracy",)),
        "accuracy on a continuous target",
        finds="metric_task",
        before=True,
        harm=METRIC_HONESTY,
    ),
    _twin(
        "regression-mse",
        "broadcasting-loss",
        setting(loss=Spec(broadcasting_loss)),
        "a Loss of one's own that subtracts (n, 1) predictions from (n,) targets",
        finds="target_rank",
        before=True,
    ),
    _twin(
        "blobs-sparse",
        "mse-on-class-ids",
        both(setting(loss="mse"), head(units=1, activation="linear")),
        "squared error on class ids",
        finds="loss_task",
        before=True,
        beside=("metric_task",),
    ),
    _twin(
        "blobs-sparse",
        "one-hot-labels",
        everywhere(y=as_one_hot),
        "one-hot labels under the sparse loss",
        finds="loss_label_encoding",
        before=True,
        beside=("metric_task", "target_rank"),
    ),
    _twin(
        "blobs-categorical",
        "class-ids",
        everywhere(y=class_ids),
        "class ids under the categorical loss",
        finds="loss_label_encoding",
        before=True,
        beside=("metric_task", "target_rank"),
    ),
    _twin(
        "blobs-kl",
        "class-ids",
        everywhere(y=class_ids),
        "class ids under KL divergence",
        finds="loss_label_encoding",
        before=True,
        beside=("metric_task", "target_rank"),
    ),
    _twin(
        "blobs-sparse",
        "labels-1-to-3",
        everywhere(y=relabel({0: 1, 1: 2, 2: 3})),
        "labels 1 to 3 under three units",
        finds="labels_out_of_range",
        before=True,
        beside=("missing_class",),
    ),
    _twin(
        "blobs-sparse",
        "two-units",
        head(units=2),
        "two units for three classes",
        finds="output_units",
        before=True,
        beside=("labels_out_of_range",),
    ),
    _twin(
        "blobs-categorical",
        "two-units",
        head(units=2),
        "two units for three one-hot columns",
        finds="output_units",
        before=True,
        beside=("target_rank",),
    ),
    _twin(
        "blobs-categorical",
        "one-unit",
        both(everywhere(y=class_ids), head(units=1)),
        "one softmax unit for three class ids",
        finds="single_unit_softmax",
        also_right=("output_units",),
        before=True,
        beside=("loss_label_encoding", "metric_task", "loss_task"),
    ),
    _twin(
        "blobs-categorical",
        "from-logits-softmax",
        setting(loss=Spec("losses.CategoricalCrossentropy", {"from_logits": True})),
        "from_logits=True on a softmax head, which Keras overrules",
        finds="double_softmax",
        before=True,
        harm=KERAS_OBJECTS,
    ),
    _twin(
        "blobs-categorical",
        "softmax-twice",
        after_head(layer("Softmax")),
        "a Softmax layer behind the softmax head",
        finds="double_softmax",
        before=True,
        harm=_less_likely(0.1),
    ),
    _twin(
        "blobs-categorical",
        "linear-head",
        head(activation="linear"),
        "a linear head without from_logits=True",
        finds="missing_final_activation",
        before=True,
    ),
    _twin(
        "blobs-sparse",
        "linear-head",
        head(activation="linear"),
        "a linear head without from_logits=True",
        finds="missing_final_activation",
        before=True,
    ),
    _twin(
        "blobs-sparse",
        "relu-head",
        head(activation="relu"),
        "a relu head",
        finds="missing_final_activation",
        before=True,
    ),
    _twin(
        "blobs-categorical",
        "sigmoid-head",
        head(activation="sigmoid"),
        "a sigmoid head under the categorical loss, which trains it as a softmax",
        finds="loss_task",
        before=True,
        harm=PROBABILITIES,
    ),
    _twin(
        "blobs-categorical",
        "binary-crossentropy",
        setting(loss="binary_crossentropy"),
        "binary cross-entropy on a softmax head",
        finds="loss_task",
        before=True,
        beside=("metric_task",),
        harm=_less_likely(0.03),
    ),
    _twin(
        "blobs-categorical",
        "binary-accuracy",
        setting(metrics=("binary_accuracy",)),
        "binary accuracy over one-hot rows",
        finds="metric_task",
        before=True,
        harm=INFLATION,
    ),
)

_ARCHITECTURE = (
    _twin(
        "circles-bce",
        "no-hidden-layer",
        setting(layers=(dense(1, "sigmoid"),)),
        "no hidden layer",
        finds="missing_hidden_activation",
        before=True,
    ),
    _twin(
        "digits",
        "hidden-softmax",
        hidden(activation="softmax"),
        "softmax in the hidden layers",
        finds="saturating_hidden_activations",
        before=True,
    ),
    _twin(
        "circles-bce",
        "biases-in-the-tail",
        hidden(activation="tanh", bias_initializer=Spec("initializers.Constant", {"value": 10.0})),
        "tanh units whose biases start at 10",
        finds="saturated_activations",
        also_right=("poor_initialization",),
        before=True,
    ),
    _twin(
        "digits",
        "half-precision-head",
        head(dtype="mixed_float16"),
        "a softmax in float16",
        finds="mixed_precision_head",
        before=True,
        harm=CERTAINTY,
    ),
    _twin(
        "circles-bce",
        "no-hidden-activation",
        hidden(activation="linear"),
        "no activation in the hidden layer",
        finds="missing_hidden_activation",
        before=True,
    ),
    _twin(
        "circles-hinge",
        "no-hidden-activation",
        hidden(activation="linear"),
        "no activation in the hidden layer",
        finds="missing_hidden_activation",
        before=True,
    ),
    _twin(
        "circles-bce-deep",
        "sigmoid-layers",
        hidden(activation="sigmoid", kernel_initializer="glorot_uniform"),
        "ten sigmoid layers in a row",
        finds="saturating_hidden_activations",
        also_right=("vanishing_gradients",),
        before=True,
    ),
    _twin(
        "circles-bce-deep",
        "tiny-initialization",
        hidden(
            kernel_initializer=Spec("initializers.RandomNormal", {"stddev": 1e-3}),
        ),
        "kernels drawn with standard deviation 0.001",
        finds="poor_initialization",
        also_right=("vanishing_gradients",),
        before=True,
    ),
    _twin(
        "regression-mse",
        "huge-initialization",
        every_layer(kernel_initializer=Spec("initializers.RandomNormal", {"stddev": 10.0})),
        "kernels drawn with standard deviation 10",
        finds="poor_initialization",
        before=True,
    ),
    _twin(
        "regression-mse",
        "zero-kernels",
        every_layer(kernel_initializer="zeros"),
        "all kernels start at 0",
        finds="poor_initialization",
        also_right=("stalled_updates",),
        before=True,
    ),
    _twin(
        "blobs-categorical",
        "zero-kernels",
        every_layer(kernel_initializer="zeros"),
        "all kernels start at 0",
        finds="poor_initialization",
        also_right=("stalled_updates",),
        before=True,
    ),
    _twin(
        "circles-bce",
        "equal-kernels",
        every_layer(kernel_initializer=Spec("initializers.Constant", {"value": 0.1})),
        "all kernel entries start at 0.1, so that all units stay alike",
        finds="poor_initialization",
        before=True,
    ),
    _twin(
        "regression-mse",
        "bias-minus-10",
        hidden(bias_initializer=Spec("initializers.Constant", {"value": -10.0})),
        "hidden biases start at -10, which kills every relu",
        finds="dead_units",
        also_right=("poor_initialization",),
    ),
    _twin(
        "circles-bce",
        "bias-minus-10",
        hidden(bias_initializer=Spec("initializers.Constant", {"value": -10.0})),
        "hidden biases start at -10, which kills every relu",
        finds="dead_units",
        also_right=("poor_initialization",),
    ),
    _twin(
        "circles-bce",
        "frozen-model",
        every_layer(trainable=False),
        "every layer frozen",
        finds="frozen_model",
        before=True,
    ),
    _twin(
        "regression-mse",
        "frozen-hidden-layer",
        hidden(trainable=False),
        "the hidden layer frozen at its random start",
        finds="frozen_model",
        before=True,
    ),
    _twin(
        "regression-mse",
        "dropout-0.8",
        before_head(layer("Dropout", rate=0.8)),
        "80 % dropout on 25 units",
        finds="excessive_dropout",
        before=True,
        harm=_lower(0.05),
    ),
    _twin(
        "circles-bce",
        "l2-1",
        hidden(kernel_regularizer=Spec("regularizers.L2", {"l2": 1.0})),
        "an L2 penalty of 1.0",
        finds="excessive_regularization",
        before=True,
    ),
    _twin(
        "sine-lstm",
        "relu-inside",
        hidden("LSTM", activation="relu"),
        "relu inside the LSTM",
        finds="relu_recurrent",
        before=True,
    ),
    _twin(
        "regression-mse-normalized",
        "batch-of-2",
        setting(batch_size=2, epochs=20),
        "batch normalization over batches of 2",
        finds="small_batch_normalization",
        before=True,
    ),
    _twin(
        "regression-mse-normalized",
        "slow-statistics",
        hidden("BatchNormalization", momentum=0.99999),
        "batch statistics with momentum 0.99999 over 1600 steps",
        finds="train_inference_gap",
        also_right=("small_batch_normalization",),
    ),
    _twin(
        "digits",
        "one-hidden-unit",
        # A single relu unit may die, which would be another fault.
        hidden(units=1, activation="tanh"),
        "one hidden unit for ten classes",
        finds="underfitting",
    ),
    _twin(
        "regression-mse",
        "logarithm-of-a-negative",
        setting(loss=_logarithmic_loss),
        "a loss of one's own that takes the logarithm of the prediction",
        finds="non_finite_loss",
    ),
)

_BUDGET = (
    _twin(
        "circles-bce",
        "thirty-rows",
        both(rows(first(30)), both(hidden(units=500), setting(epochs=500))),
        "30 rows, 500 units, 500 epochs",
        finds="overfitting",
        also_right=("overconfidence",),
        beside=("too_few_examples",),
    ),
    _twin(
        "blobs-sparse",
        "thirty-rows",
        both(rows(first(30)), both(hidden(units=500), setting(epochs=500))),
        "30 rows, 500 units, 500 epochs",
        finds="overconfidence",
        also_right=("overfitting",),
        beside=("too_few_examples",),
        harm=_less_likely(0.1),
    ),
    _twin(
        "regression-mse",
        "two-epochs",
        setting(epochs=2),
        "2 epochs only",
        finds="undertrained",
    ),
    _twin(
        "circles-bce",
        "two-epochs",
        setting(epochs=2),
        "2 epochs only",
        finds="undertrained",
    ),
    _twin(
        "circles-bce-deep",
        "impatient-stopping",
        setting(callbacks=(_EARLY_EXIT,)),
        "EarlyStopping with patience 0 on a noisy validation loss",
        finds="early_stopping_settings",
        also_right=("undertrained",),
        harm=_lower(0.05),
    ),
)

TWINS = (*_STEP_SIZE, *_DATA, *_CONTRACT, *_ARCHITECTURE, *_BUDGET)

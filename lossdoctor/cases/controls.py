"""Healthy runs that look ill to a naive rule; the doctor must leave every one of them alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lossdoctor.cases import control_models, data
from lossdoctor.cases.case import Case
from lossdoctor.cases.recipe import Recipe, Spec, adam, dense, layer, loss, sgd
from lossdoctor.cases.score import ACCURACY, BITS, R2, Score, predict
from lossdoctor.cases.tutorials import TUTORIALS, VARIANTS

_TUTORIAL = {case.name: case.recipe for case in (*TUTORIALS, *VARIANTS)}
_REGRESSION = _TUTORIAL["regression-mse"]
_CIRCLES = _TUTORIAL["circles-bce"]
_BLOBS = _TUTORIAL["blobs-categorical"]
_DIGITS = _TUTORIAL["digits"]


def _schedule(class_name: str, **arguments: Any) -> Spec:
    return Spec(f"optimizers.schedules.{class_name}", arguments)


# Losses and scores of their own ---------------------------------------------------------------


def negative_log_likelihood(y_true: Any, y_pred: Any) -> Any:
    """Of a normal distribution whose mean and log standard deviation are predicted."""
    from keras import ops

    mean, log_scale = y_pred[:, :1], y_pred[:, 1:]
    return ops.square((y_true - mean) / ops.exp(log_scale)) / 2 + log_scale + np.log(2 * np.pi) / 2


def negative_dice(y_true: Any, y_pred: Any) -> Any:
    """Minus the overlap of two masks: -1 is perfect."""
    from keras import ops

    overlap = ops.sum(y_true * y_pred, axis=(1, 2, 3))
    size = ops.sum(y_true, axis=(1, 2, 3)) + ops.sum(y_pred, axis=(1, 2, 3))
    return -(2 * overlap + 1) / (size + 1)


def _first_column_r2(model: Any, X_val: Any, y_val: Any) -> float:
    predicted = predict(model, X_val)[:, :1]
    return float(1 - np.mean((predicted - y_val) ** 2) / np.var(y_val))


def _overlap(model: Any, X_val: Any, y_val: Any) -> float:
    predicted = predict(model, X_val) > 0.5
    return float(2 * (predicted & (y_val > 0.5)).sum() / (predicted.sum() + y_val.sum()))


def _same_center(model: Any, X_val: Any, y_val: Any) -> float:
    noise = np.random.default_rng(0).normal(size=(2000, 4)).astype("float32")
    made = predict(model, noise)
    return float(1 - abs(made.mean() - X_val.mean()) / X_val.std())


# The controls ---------------------------------------------------------------------------------


def _control(name: str, title: str, recipe: Recipe, passing: float, *symptoms: str) -> Case:
    return Case(
        name=f"control/{name}", title=title, recipe=recipe, passing=passing, symptoms=symptoms
    )


CONTROLS = (
    _control(
        "dropout",
        "Dropout: validation loss below training loss",
        replace(
            _REGRESSION,
            layers=(dense(100, "relu"), layer("Dropout", rate=0.3), dense(1)),
            epochs=40,
        ),
        0.85,
        "validation_below_training",
    ),
    _control(
        "l2-penalty",
        "L2 penalty: the loss exceeds the metric",
        replace(
            _REGRESSION,
            layers=(
                dense(25, "relu", kernel_regularizer=Spec("regularizers.L2", {"l2": 1e-3})),
                dense(1),
            ),
            metrics=("mse",),
        ),
        0.9,
    ),
    _control(
        "vae-kl-ramp",
        "Variational autoencoder: the KL term is ramped up, so the loss may rise",
        Recipe(
            data=data.digits_as_targets,
            assemble=control_models.variational_autoencoder,
            loss="binary_crossentropy",
            optimizer=adam(0.003),
            score=R2,
            epochs=50,
            callbacks=(Spec(control_models.kl_ramp),),
        ),
        0.2,
    ),
    _control(
        "gan-train-step",
        "Adversarial pair in a train_step of its own: its losses do not fall",
        Recipe(
            data=data.bell_curve,
            assemble=control_models.adversarial_pair,
            optimizer=adam(0.002, beta_1=0.5),
            score=Score(name="closeness of centers", worst=-1.0, compute=_same_center),
            epochs=60,
        ),
        0.0,
    ),
    _control(
        "density-negative-loss",
        "Density likelihood: the loss is rightly negative",
        Recipe(
            data=data.small_quantities,
            layers=(dense(32, "tanh"), dense(2)),
            loss=negative_log_likelihood,
            optimizer=adam(0.003),
            score=Score(name="R²", worst=-1.0, compute=_first_column_r2),
            epochs=120,
        ),
        0.7,
    ),
    _control(
        "negative-dice",
        "Segmentation under minus dice: the loss runs from 0 to -1",
        Recipe(
            data=data.disks,
            layers=(
                layer("Conv2D", filters=8, kernel_size=5, padding="same", activation="relu"),
                layer("Conv2D", filters=1, kernel_size=3, padding="same", activation="sigmoid"),
            ),
            loss=negative_dice,
            optimizer=adam(0.01),
            score=Score(name="dice", worst=0.0, compute=_overlap),
            epochs=15,
        ),
        0.8,
    ),
    _control(
        "grey-autoencoder",
        "Autoencoder with binary cross-entropy on grey levels: the loss ends far from 0",
        Recipe(
            data=data.digits_as_targets,
            layers=(dense(32, "relu"), dense(64, "sigmoid")),
            loss="binary_crossentropy",
            optimizer=adam(0.005),
            score=R2,
            epochs=40,
        ),
        0.6,
    ),
    _control(
        "multi-label",
        "Five labels at once: several sigmoid units under binary cross-entropy",
        Recipe(
            data=data.multi_label,
            layers=(dense(16, "relu"), dense(5, "sigmoid")),
            loss="binary_crossentropy",
            optimizer=adam(0.003),
            metrics=("binary_accuracy",),
            score=BITS,
            epochs=60,
        ),
        0.75,
    ),
    _control(
        "from-logits",
        "A linear head with from_logits=True",
        replace(
            _BLOBS,
            layers=(dense(50, "relu"), dense(3)),
            loss=loss("CategoricalCrossentropy", from_logits=True),
        ),
        0.8,
    ),
    _control(
        "images-0-255-rescaled",
        "Images in 0-255 into a model that rescales them itself",
        replace(
            _DIGITS,
            data=data.digit_images,
            layers=(
                layer("Rescaling", scale=1 / 255),
                layer("Conv2D", filters=16, kernel_size=3, activation="relu"),
                layer("MaxPooling2D"),
                layer("Flatten"),
                dense(10, "softmax"),
            ),
            optimizer=adam(0.005),
        ),
        0.9,
    ),
    _control(
        "rescaling-backbone",
        "Images in 0-255 into a backbone that rescales them, nested in the model",
        replace(
            _DIGITS,
            data=data.digit_images,
            layers=(Spec(control_models.rescaling_backbone), dense(10, "softmax")),
            optimizer=adam(0.005),
            epochs=10,
        ),
        0.9,
    ),
    _control(
        "sparse-digits",
        "Digits of which four in five inputs are 0, and four in five activations",
        replace(
            _DIGITS,
            data=data.sparse_digits,
            layers=(
                dense(128, "relu", activity_regularizer=Spec("regularizers.L1", {"l1": 0.02})),
                dense(10, "softmax"),
            ),
        ),
        0.75,
    ),
    _control(
        "embedding-ids",
        "Word ids up to 100 into an embedding",
        Recipe(
            data=data.tokens,
            layers=(
                layer("Embedding", input_dim=100, output_dim=8),
                layer("GlobalAveragePooling1D"),
                dense(1, "sigmoid"),
            ),
            loss="binary_crossentropy",
            optimizer=adam(0.01),
            metrics=("accuracy",),
            score=ACCURACY,
            epochs=15,
        ),
        0.8,
    ),
    _control(
        "warm-up",
        "Warm-up from a learning rate of 0, then cosine decay",
        replace(
            _REGRESSION,
            optimizer=sgd(
                _schedule(
                    "CosineDecay",
                    initial_learning_rate=0.0,
                    warmup_target=0.02,
                    warmup_steps=200,
                    decay_steps=1400,
                )
            ),
        ),
        0.9,
    ),
    _control(
        "cosine-decay",
        "Cosine decay to 0 over the whole run",
        replace(
            _BLOBS,
            optimizer=adam(_schedule("CosineDecay", initial_learning_rate=0.01, decay_steps=1600)),
        ),
        0.8,
    ),
    _control(
        "step-schedule",
        "The learning rate divided by 5 twice",
        replace(
            _CIRCLES,
            optimizer=sgd(
                _schedule(
                    "PiecewiseConstantDecay",
                    boundaries=[1000, 2000],
                    values=[0.05, 0.01, 0.002],
                )
            ),
        ),
        0.8,
    ),
    _control(
        "sgd-spikes",
        "Small batches and large steps: single spikes that heal",
        replace(_REGRESSION, optimizer=sgd(0.02), batch_size=8, epochs=60),
        0.9,
    ),
    _control(
        "tiny-validation",
        "20 validation rows: a noisy validation loss",
        replace(_CIRCLES, data=data.few_held_out_circles),
        0.6,
    ),
    _control(
        "label-smoothing",
        "Label smoothing: the loss has a floor above 0",
        replace(_BLOBS, loss=loss("CategoricalCrossentropy", label_smoothing=0.1)),
        0.8,
    ),
    _control(
        "soft-labels",
        "Labels that are distributions: the loss has an entropy floor",
        replace(_BLOBS, data=data.soft_blobs),
        0.8,
    ),
    _control(
        "frozen-pretrained-body",
        "Fine-tuning: a pretrained body is frozen, a new head learns",
        replace(
            _DIGITS,
            data=lambda: data.digits_from(5),
            assemble=control_models.fine_tuned_head,
            optimizer=adam(0.01),
            epochs=30,
        ),
        0.75,
    ),
    _control(
        "converged",
        "A run that has converged: tiny gradients for most of its epochs",
        replace(_REGRESSION, layers=(dense(1),), metrics=()),
        0.99,
    ),
    _control(
        "class-weights",
        "12 rows against 250, weighted accordingly",
        replace(
            _CIRCLES,
            data=data.rare_circles,
            fit={"class_weight": {0: 1.0, 1: 20.0}},
            epochs=100,
        ),
        0.65,
    ),
    _control(
        "physical-units",
        "A target of 25 to 346 units behind a head that is scaled to it",
        Recipe(
            data=data.diabetes,
            layers=(dense(8, "relu"), dense(1), layer("Rescaling", scale=77.0, offset=152.0)),
            loss="mse",
            optimizer=adam(0.01),
            score=R2,
            epochs=30,
        ),
        0.3,
    ),
    _control(
        "learning-rate-3",
        "SGD with learning rate 3.0 on a small sigmoid net",
        replace(
            _CIRCLES,
            layers=(dense(16, "sigmoid"), dense(1, "sigmoid")),
            optimizer=sgd(3.0, momentum=0.0),
        ),
        0.7,
    ),
    _control(
        "learning-rate-1e-5",
        "Adam with learning rate 1e-5 on a model already trained",
        replace(
            _DIGITS,
            assemble=control_models.fine_tuned_whole,
            optimizer=adam(1e-5),
        ),
        0.85,
    ),
    _control(
        "poisson-counts",
        "Counts under the Poisson loss with an exponential head",
        Recipe(
            data=data.counts,
            layers=(dense(16, "relu"), dense(1, "exponential")),
            loss="poisson",
            optimizer=adam(0.003),
            score=R2,
            epochs=25,
        ),
        0.2,
    ),
    _control(
        "iris",
        "Iris, three classes",
        replace(
            _DIGITS,
            data=data.iris,
            layers=(dense(8, "relu"), dense(3, "softmax")),
            optimizer=adam(0.01),
            batch_size=16,
            epochs=60,
        ),
        0.85,
    ),
    _control(
        "wine",
        "Wine, three classes, 13 features",
        replace(
            _DIGITS,
            data=data.wine,
            layers=(dense(8, "relu"), dense(3, "softmax")),
            optimizer=adam(0.01),
            batch_size=16,
            epochs=20,
        ),
        0.9,
    ),
    _control(
        "breast-cancer",
        "Breast cancer, one sigmoid unit",
        replace(
            _DIGITS,
            data=data.breast_cancer,
            layers=(dense(8, "relu"), dense(1, "sigmoid")),
            loss="binary_crossentropy",
            optimizer=adam(0.005),
            epochs=15,
        ),
        0.9,
    ),
)

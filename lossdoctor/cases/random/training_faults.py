"""Step size, architecture and budget: what is wrong with the model and how it is trained."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from lossdoctor.cases.faults import (
    Fault,
    after_head,
    around_head,
    before_head,
    both,
    head,
    learning_rate,
    optimizer,
    rows,
    setting,
)
from lossdoctor.cases.random.fault import fault
from lossdoctor.cases.random.setups import RECURRENT, SetUp
from lossdoctor.cases.random.tasks import Random
from lossdoctor.cases.recipe import Spec, layer
from lossdoctor.finding import Stage

_step_size = partial(fault, Stage.STEP_SIZE)
_architecture = partial(fault, Stage.ARCHITECTURE)
_budget = partial(fault, Stage.BUDGET)

_WITH_WEIGHTS = {"layers.Dense", "layers.Conv1D", "layers.Conv2D"}


def _hidden(setup: SetUp, makers: set[str] = _WITH_WEIGHTS) -> tuple[Spec, ...]:
    return tuple(spec for spec in setup.recipe.layers[:-1] if spec.maker in makers)


def _each_hidden(change: Callable[[Spec], Spec], makers: set[str] = _WITH_WEIGHTS) -> Fault:
    """Every layer of these kinds below the head, changed."""
    return around_head(
        lambda below, head, above: (
            *(change(spec) if spec.maker in makers else spec for spec in below),
            head,
            *above,
        )
    )


# Step size ------------------------------------------------------------------------------------


@_step_size("high_learning_rate", "unstable_learning_rate")
def _high_rate(setup: SetUp, random: Random) -> Fault | None:
    return learning_rate(10 ** random.uniform(1, 5))


@_step_size("low_learning_rate")
def _low_rate(setup: SetUp, random: Random) -> Fault | None:
    return learning_rate(10 ** -random.uniform(2, 5))


@_step_size("low_learning_rate", "undertrained")
def _somewhat_low_rate(setup: SetUp, random: Random) -> Fault | None:
    """Ten to a hundred times too low: more epochs would do as well."""
    return learning_rate(10 ** -random.uniform(1, 2))


@_step_size("optimizer_settings")
def _no_rate(setup: SetUp, random: Random) -> Fault | None:
    return optimizer(learning_rate=0.0)


@_step_size("optimizer_settings")
def _spent_schedule(setup: SetUp, random: Random) -> Fault | None:
    steps = int(random.integers(2, 8))
    spent = Spec(
        "optimizers.schedules.ExponentialDecay",
        {"initial_learning_rate": setup.rate, "decay_steps": steps, "decay_rate": 0.5},
    )
    return optimizer(learning_rate=spent)


@_step_size("optimizer_settings", "high_learning_rate", "unstable_learning_rate")
def _too_much_momentum(setup: SetUp, random: Random) -> Fault | None:
    if setup.recipe.optimizer.maker != "optimizers.SGD":
        return None
    return optimizer(momentum=float(random.choice([0.995, 0.999, 1.0])))


@_step_size("optimizer_settings", "low_learning_rate")
def _clipped_to_nothing(setup: SetUp, random: Random) -> Fault | None:
    if setup.recipe.optimizer.maker != "optimizers.SGD":
        return None
    return optimizer(clipnorm=float(random.choice([1e-5, 1e-4, 1e-3])))


@_step_size("optimizer_settings")
def _huge_epsilon(setup: SetUp, random: Random) -> Fault | None:
    if setup.recipe.optimizer.maker != "optimizers.Adam":
        return None
    return optimizer(epsilon=float(random.choice([10, 100])))


# Architecture ---------------------------------------------------------------------------------


@_architecture("poor_initialization", "stalled_updates")
def _zero_kernels(setup: SetUp, random: Random) -> Fault | None:
    if len(_hidden(setup)) < 1:
        return None
    zeros = _each_hidden(lambda spec: spec.but(kernel_initializer="zeros"))
    return both(zeros, head(kernel_initializer="zeros"))


@_architecture("poor_initialization")
def _equal_kernels(setup: SetUp, random: Random) -> Fault | None:
    value = Spec("initializers.Constant", {"value": float(random.choice([0.05, 0.1, 1.0]))})
    if not _hidden(setup):
        return None
    return _each_hidden(lambda spec: spec.but(kernel_initializer=value))


@_architecture("poor_initialization", "saturated_activations")
def _huge_kernels(setup: SetUp, random: Random) -> Fault | None:
    if not _hidden(setup):
        return None
    value = Spec("initializers.RandomNormal", {"stddev": float(random.choice([5, 10, 50]))})
    return both(
        _each_hidden(lambda spec: spec.but(kernel_initializer=value)),
        head(kernel_initializer=value),
    )


@_architecture("saturating_hidden_activations", "vanishing_gradients")
def _sigmoid_stack(setup: SetUp, random: Random) -> Fault | None:
    if not _hidden(setup, {"layers.Dense"}) or setup.task.shape != "table":
        return None
    width = int(_hidden(setup, {"layers.Dense"})[-1].arguments["units"])
    stack = tuple(
        layer("Dense", units=width, activation="sigmoid") for _ in range(random.integers(4, 10))
    )
    return around_head(lambda below, head, above: (*below, *stack, head, *above))


@_architecture("missing_hidden_activation")
def _no_hidden_activation(setup: SetUp, random: Random) -> Fault | None:
    if not _hidden(setup, {"layers.Dense"}) or _hidden(setup, RECURRENT):
        return None
    return _each_hidden(lambda spec: spec.but(activation="linear"))


@_architecture("dead_units", "poor_initialization")
def _biases_that_kill(setup: SetUp, random: Random) -> Fault | None:
    if not any(spec.arguments.get("activation") == "relu" for spec in _hidden(setup)):
        return None
    bias = Spec("initializers.Constant", {"value": -float(random.choice([10, 30, 100]))})
    return _each_hidden(lambda spec: spec.but(bias_initializer=bias))


@_architecture("frozen_model")
def _frozen(setup: SetUp, random: Random) -> Fault | None:
    if not _hidden(setup):
        return None
    body = _each_hidden(lambda spec: spec.but(trainable=False), _WITH_WEIGHTS | RECURRENT)
    return both(body, head(trainable=False)) if random.random() < 0.5 else body


@_architecture("excessive_dropout")
def _heavy_dropout(setup: SetUp, random: Random) -> Fault | None:
    if not _hidden(setup):
        return None
    return before_head(layer("Dropout", rate=float(random.choice([0.8, 0.9, 0.95]))))


@_architecture("excessive_dropout")
def _dropout_after_the_head(setup: SetUp, random: Random) -> Fault | None:
    return after_head(layer("Dropout", rate=float(random.choice([0.3, 0.5]))))


@_architecture("excessive_regularization")
def _heavy_penalty(setup: SetUp, random: Random) -> Fault | None:
    if not _hidden(setup):
        return None
    strength = float(10 ** random.uniform(-1, 1.5))
    penalty = Spec("regularizers.L2", {"l2": strength})
    return _each_hidden(lambda spec: spec.but(kernel_regularizer=penalty))


@_architecture("narrow_layer", "underfitting")
def _one_hidden_unit(setup: SetUp, random: Random) -> Fault | None:
    if not _hidden(setup, {"layers.Dense"}):
        return None

    def narrowed(spec: Spec) -> Spec:
        return spec.but(units=1) if "units" in spec.arguments else spec.but(filters=1)

    return _each_hidden(narrowed)


@_architecture("small_batch_normalization", "train_inference_gap")
def _normalized_over_few_rows(setup: SetUp, random: Random) -> Fault | None:
    if setup.task.shape != "table" or not _hidden(setup):
        return None
    epochs = max(1, setup.recipe.epochs // 16)  # so that there are not many more steps
    few = setting(batch_size=int(random.choice([1, 2])), epochs=epochs)
    return both(few, before_head(layer("BatchNormalization")))


@_architecture("relu_recurrent")
def _relu_recurrent(setup: SetUp, random: Random) -> Fault | None:
    if not _hidden(setup, RECURRENT):
        return None
    return _each_hidden(lambda spec: spec.but(activation="relu"), RECURRENT)


# Budget ---------------------------------------------------------------------------------------


@_budget("undertrained")
def _too_few_epochs(setup: SetUp, random: Random) -> Fault | None:
    share = 10 ** -random.uniform(1, 2)
    return setting(epochs=max(1, round(share * setup.recipe.epochs)))


@_budget("early_stopping_settings")
def _stopped_at_once(setup: SetUp, random: Random) -> Fault | None:
    if not setup.recipe.validates:
        return None
    impatient = Spec("callbacks.EarlyStopping", {"monitor": "val_loss", "patience": 0})
    return setting(callbacks=(impatient,))


@_budget("overfitting", "overconfidence")
def _learned_by_heart(setup: SetUp, random: Random) -> Fault | None:
    """Too large a model trained too long on too few rows."""
    if setup.task.shape != "table" or setup.task.tiny or not setup.recipe.validates:
        return None
    if not _hidden(setup, {"layers.Dense"}):
        return None
    count = int(random.integers(40, 80))
    large = _each_hidden(lambda spec: spec.but(units=256), {"layers.Dense"})
    return both(large, both(rows(lambda y: np.arange(count)), setting(epochs=100)))

"""What is wrong with the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from lossdoctor.cases.case import Proof, Trial
from lossdoctor.cases.data import Array, Data
from lossdoctor.cases.faults import (
    Fault,
    both,
    column_times,
    everywhere,
    few_of,
    held_out,
    missing_code,
    rows,
    setting,
    times,
    training,
    validation_from_training,
)
from lossdoctor.cases.random.fault import fault
from lossdoctor.cases.random.setups import SetUp
from lossdoctor.cases.random.tasks import Random
from lossdoctor.cases.recipe import Recipe
from lossdoctor.finding import Stage

_data = partial(fault, Stage.DATA)

_BY_CLASS = {"sigmoid", "logits", "sparse", "sparse-logits"}
"""Variants whose targets are class ids."""


def _spots(array: Array, share: float, seed: int) -> Array:
    """Which entries: at least one, always the same for a seed."""
    flags = np.random.default_rng(seed).random(array.shape) < share
    flags.reshape(-1)[np.random.default_rng(seed).integers(flags.size)] = True
    return flags


def _seed(random: Random) -> int:
    return int(random.integers(2**31))


def _measured(setup: SetUp) -> bool:
    return setup.task.shape != "tokens"


def _adapts(setup: SetUp) -> bool:
    """A Normalization layer is adapted to whatever units the inputs come in."""
    return setup.recipe.layers[0].maker == "layers.Normalization"


# Scale ----------------------------------------------------------------------------------------


@_data("unscaled_inputs")
def _raw_inputs(setup: SetUp, random: Random) -> Fault | None:
    """Preparation of the inputs forgotten."""
    if setup.task.shape == "tokens" or setup.task.tiny or setup.variant == "reconstruction":
        return None
    if setup.recipe.layers[0].maker in ("layers.Rescaling", "layers.Normalization"):
        return lambda recipe: replace(recipe, layers=recipe.layers[1:])
    raw = setup.raw
    return _with_inputs(raw)


def _with_inputs(raw: Data) -> Fault:
    def fault(recipe: Recipe) -> Recipe:
        return replace(recipe, data=lambda: replace(recipe.data(), X=raw.X, X_val=raw.X_val))

    return fault


@_data("unscaled_inputs")
def _inputs_in_small_units(setup: SetUp, random: Random) -> Fault | None:
    """Meters given as millimeters, thousands as ones."""
    if _measured(setup) and setup.variant != "reconstruction" and not _adapts(setup):
        return everywhere(X=times(float(random.choice([100, 1000, 1e4, 1e5]))))
    return None


@_data("unscaled_inputs")
def _one_column_in_small_units(setup: SetUp, random: Random) -> Fault | None:
    if setup.task.shape != "table" or setup.variant == "reconstruction" or _adapts(setup):
        return None
    column = int(random.integers(setup.raw.X.shape[1]))
    return everywhere(X=column_times(column, float(random.choice([1e3, 1e4, 1e5]))))


@_data("unscaled_targets")
def _raw_targets(setup: SetUp, random: Random) -> Fault | None:
    """Targets in units of their own; where those are small, in smaller units."""
    if setup.variant != "regression":
        return None
    y = setup.raw.y
    factor = 1.0 if y.std() > 20 else float(random.choice([100, 1000, 1e4]))
    offset = float(random.choice([0, 3])) * y.std() if factor > 1 else 0.0
    shape = setup.recipe.data().y.shape[1:]
    raw = {
        "y": (factor * (y + offset)).reshape(-1, *shape),
        "y_val": (factor * (setup.raw.y_val + offset)).reshape(-1, *shape),
    }
    return lambda recipe: replace(recipe, data=lambda: replace(recipe.data(), **raw))


# Bad values -----------------------------------------------------------------------------------


@_data("non_finite_data")
def _missing_values(setup: SetUp, random: Random) -> Fault | None:
    if not _measured(setup):
        return None
    seed, share = _seed(random), float(random.choice([0.0, 0.001, 0.02]))
    value = float(random.choice([np.nan, np.nan, np.inf]))
    return training(X=lambda X: np.where(_spots(X, share, seed), value, X))


@_data("non_finite_data")
def _missing_targets(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant != "regression":
        return None
    seed, share = _seed(random), float(random.choice([0.0, 0.01]))
    return training(y=lambda y: np.where(_spots(y, share, seed), np.nan, y))


@_data("constant_features")
def _constant_inputs(setup: SetUp, random: Random) -> Fault | None:
    """Integer division, or a column filled by mistake."""
    if setup.variant == "reconstruction" or not _measured(setup):
        return None
    value = float(random.choice([0, 0, 1]))
    return everywhere(X=lambda X: np.full_like(X, value))


@_data("input_outliers")
def _code_for_missing(setup: SetUp, random: Random) -> Fault | None:
    if setup.task.shape != "table" or setup.task.tiny or setup.variant == "reconstruction":
        return None
    every, code = int(random.integers(37, 200)), float(random.choice([-999, 999, 9999]))
    return everywhere(X=missing_code(every, code))


@_data("target_outliers")
def _misplaced_decimal_points(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant != "regression":
        return None
    every, factor = int(random.integers(25, 100)), float(random.choice([100, 1000, 1e4]))

    def slip(y: Array) -> Array:
        y[::every] *= factor
        return y

    return training(y=slip)


# Labels that do not belong to their inputs ----------------------------------------------------


@_data("uninformative_inputs", "label_noise")
def _torn_apart(setup: SetUp, random: Random) -> Fault | None:
    """Inputs and targets shuffled each for itself."""
    if setup.task.tiny or setup.variant == "reconstruction":
        return None
    seed = _seed(random)
    return training(y=lambda y: np.random.default_rng(seed).permutation(y))


@_data("label_noise")
def _mislabeled(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant not in _BY_CLASS or setup.task.tiny:
        return None
    seed, share = _seed(random), random.uniform(0.3, 0.45)
    classes = setup.task.classes
    return training(y=lambda y: np.where(_spots(y, share, seed), (y + 1) % classes, y))


# Which rows, in which order -------------------------------------------------------------------


def _by_class(y: Array) -> Array:
    return np.argsort(y.reshape(len(y), -1)[:, 0], kind="stable")


@_data("ordered_data")
def _sorted_and_not_shuffled(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant not in _BY_CLASS or setup.task.tiny:
        return None
    return both(rows(_by_class), setting(fit={"shuffle": False}))


@_data("ordered_data")
def _sorted_under_a_tail_split(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant not in _BY_CLASS or setup.task.tiny:
        return None
    share = float(random.choice([0.2, 0.3, 0.4]))
    return both(rows(_by_class), setting(fit={"validation_split": share}))


@_data("class_imbalance")
def _rare_class(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant not in {"sigmoid", "sparse", "sparse-logits"} or setup.task.tiny:
        return None
    return rows(_few_of_class(int(random.integers(setup.task.classes)), int(random.integers(3, 9))))


@_data("missing_class")
def _class_left_out(setup: SetUp, random: Random) -> Fault | None:
    if setup.variant not in {"sparse", "sparse-logits"} or setup.task.tiny:
        return None
    return rows(_few_of_class(int(random.integers(setup.task.classes)), 0))


def _few_of_class(label: int, count: int) -> Callable[[Array], Array]:
    return lambda y: few_of(label, count)(y.reshape(-1))


@_data("too_few_examples", "overfitting", "overconfidence")
def _few_rows(setup: SetUp, random: Random) -> Fault | None:
    """Hardly any rows, and more epochs in return: the rows are what is missing, not the steps."""
    if setup.task.tiny or setup.variant == "reconstruction":
        return None
    count = int(random.integers(6, 25))
    epochs = max(setup.recipe.epochs, 150)
    return both(rows(lambda y: np.arange(len(y))[:count]), setting(epochs=epochs))


# Validation rows ------------------------------------------------------------------------------


def _promise(setup: SetUp) -> Proof:
    """The validation score against that of rows which are held out and prepared alike."""

    def measure(trial: Trial) -> float:
        fresh = setup.recipe.data()
        kept = setup.recipe.score(trial.model, fresh.X_val, fresh.y_val)
        return -abs(trial.score() - kept)

    return Proof(
        claim="the validation score is not that of fresh rows", measure=measure, by=0.03, worst=-1.0
    )


@_data("validation_shift", harm=_promise)
def _validation_not_prepared(setup: SetUp, random: Random) -> Fault | None:
    if not _measured(setup) or not setup.recipe.validates:
        return None
    return held_out(X=lambda X: 5 * X + 3)


@_data("validation_overlap", harm=_promise)
def _validation_from_training(setup: SetUp, random: Random) -> Fault | None:
    return validation_from_training() if setup.recipe.validates else None

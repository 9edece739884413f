"""Faults: each takes a healthy recipe and gives it back with one thing wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lossdoctor.cases.data import Data, one_hot
from lossdoctor.cases.recipe import Layers, Model, Recipe, Spec
from lossdoctor.cases.score import Array

Fault = Callable[[Recipe], Recipe]


def setting(**changes: Any) -> Fault:
    """Other settings of the training: `setting(epochs=2)`, `setting(loss="mse")`."""
    return lambda recipe: replace(recipe, **changes)


def both(first: Fault, second: Fault) -> Fault:
    """A fault that shows only in two places at once, such as sorted rows under a tail split."""
    return lambda recipe: second(first(recipe))


def head(**changes: Any) -> Fault:
    """Other arguments of the head."""
    return around_head(lambda below, head, above: (*below, head.but(**changes), *above))


def around_head(change: Callable[[Layers, Spec, Layers], Layers]) -> Fault:
    """Other layers, made of those below the head, the head, and what an `after_head` put above."""

    def fault(recipe: Recipe) -> Recipe:
        layers = recipe.layers
        at = max((i for i, spec in enumerate(layers) if "units" in spec.arguments), default=-1)
        at %= len(layers)
        return replace(recipe, layers=change(layers[:at], layers[at], layers[at + 1 :]))

    return fault


def hidden(class_name: str = "Dense", **changes: Any) -> Fault:
    """Other arguments of every layer of that class but the head."""

    def fault(recipe: Recipe) -> Recipe:
        *below, last = recipe.layers
        changed = (s.but(**changes) if s.maker == f"layers.{class_name}" else s for s in below)
        return replace(recipe, layers=(*changed, last))

    return fault


def every_layer(**changes: Any) -> Fault:
    """Other arguments of all layers."""
    return lambda recipe: replace(
        recipe, layers=tuple(spec.but(**changes) for spec in recipe.layers)
    )


def before_head(spec: Spec) -> Fault:
    """One more layer between the last hidden layer and the head."""
    return around_head(lambda below, head, above: (*below, spec, head, *above))


def after_head(spec: Spec) -> Fault:
    """One more layer after the head."""
    return lambda recipe: replace(recipe, layers=(*recipe.layers, spec))


def optimizer(**changes: Any) -> Fault:
    """Other settings of the optimizer."""
    return lambda recipe: replace(recipe, optimizer=recipe.optimizer.but(**changes))


def learning_rate(times: float) -> Fault:
    """The learning rate times a factor."""

    def fault(recipe: Recipe) -> Recipe:
        rate = recipe.optimizer.arguments["learning_rate"] * times
        return replace(recipe, optimizer=recipe.optimizer.but(learning_rate=rate))

    return fault


def source(data: Callable[[], Data]) -> Fault:
    """Other data of the same shape."""
    return setting(data=data)


def everywhere(*, X: Any = None, y: Any = None) -> Fault:
    """Inputs or targets changed alike in training and held-out rows."""
    return both(training(X=X, y=y), held_out(X=X, y=y))


def unfitting(change: Fault) -> Fault:
    """Data changed, and a model that was built for what they were."""

    def fault(recipe: Recipe) -> Recipe:
        def assemble(changed: Recipe, data: Data) -> Model:
            return recipe.model(recipe.data())

        return replace(change(recipe), assemble=assemble)

    return fault


def training(*, X: Any = None, y: Any = None) -> Fault:
    """Inputs or targets of the training rows changed."""
    return _data(
        lambda data: replace(
            data, X=X(data.X.copy()) if X else data.X, y=y(data.y.copy()) if y else data.y
        )
    )


def held_out(*, X: Any = None, y: Any = None) -> Fault:
    """Inputs or targets of the held-out rows changed."""
    return _data(
        lambda data: replace(
            data,
            X_val=X(data.X_val.copy()) if X else data.X_val,
            y_val=y(data.y_val.copy()) if y else data.y_val,
        )
    )


def rows(choose: Callable[[Array], Array]) -> Fault:
    """Only some training rows, in some order: `choose` maps the targets to row numbers."""
    return _data(lambda data: replace(data, X=data.X[choose(data.y)], y=data.y[choose(data.y)]))


def validation_from_training() -> Fault:
    """Training rows for validation: nothing is held out."""
    return _data(
        lambda data: replace(data, X_val=data.X[: len(data.X_val)], y_val=data.y[: len(data.y_val)])
    )


def _data(change: Callable[[Data], Data]) -> Fault:
    return lambda recipe: replace(recipe, data=lambda: change(recipe.data()))


# What to do to an array -----------------------------------------------------------------------


def times(factor: float) -> Callable[[Array], Array]:
    """Every entry times a factor."""
    return lambda array: array * factor


def column_times(column: int, factor: float) -> Callable[[Array], Array]:
    """One column times a factor."""

    def change(array: Array) -> Array:
        array[:, column] *= factor
        return array

    return change


def entry(row: int, value: float, column: int | None = None) -> Callable[[Array], Array]:
    """One entry replaced: one bad cell of a table."""

    def change(array: Array) -> Array:
        array[(row,) if column is None else (row, column)] = value
        return array

    return change


def relabel(codes: Mapping[float, float]) -> Callable[[Array], Array]:
    """Label values replaced by others."""
    return np.vectorize(codes.__getitem__)


def class_ids(labels: Array) -> Array:
    """One-hot rows as class ids."""
    return np.asarray(labels.argmax(axis=1))


def as_one_hot(labels: Array) -> Array:
    """Class ids as one-hot rows."""
    return one_hot(labels)


def shuffled(array: Array) -> Array:
    """The rows in another order, which tears inputs and targets apart."""
    return np.random.default_rng(0).permutation(array)


def relabeled(share: float, classes: int) -> Callable[[Array], Array]:
    """A share of the class ids replaced by the next class."""

    def change(labels: Array) -> Array:
        wrong = np.random.default_rng(0).random(len(labels)) < share
        return np.where(wrong, (labels + 1) % classes, labels)

    return change


def outliers(every: int, factor: float) -> Callable[[Array], Array]:
    """Every n-th entry times a factor: a decimal point in the wrong place."""

    def change(array: Array) -> Array:
        array[::every] *= factor
        return array

    return change


def missing_code(every: int, code: float) -> Callable[[Array], Array]:
    """Every n-th cell holds the code of a missing value."""

    def change(array: Array) -> Array:
        array.reshape(-1)[::every] = code
        return array

    return change


# Which rows to keep ---------------------------------------------------------------------------


def first(count: int) -> Callable[[Array], Array]:
    """The first rows."""
    return lambda y: np.arange(len(y))[:count]


def sorted_rows(y: Array) -> Array:
    """All rows, sorted by target."""
    return np.argsort(y, kind="stable")


def few_of(label: float, count: int) -> Callable[[Array], Array]:
    """All rows but those of one label, of which only some are kept."""

    def choose(y: Array) -> Array:
        keep = np.ones(len(y), dtype=bool)
        keep[np.flatnonzero(y == label)[count:]] = False
        return np.flatnonzero(keep)

    return choose

"""A training as replaceable parts: what a case is made of, and what a fault replaces."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from lossdoctor.cases.data import Data
from lossdoctor.cases.score import Score

Model = Any
"""A `keras.Model`; Keras is imported when a recipe is built, not when cases are listed."""


@dataclass(frozen=True)
class Spec:
    """A Keras object yet to be built: `Spec("optimizers.SGD", {"learning_rate": 0.01})`.

    Instead of a path below `keras`, `maker` may be a function of one's own. Arguments may be specs
    themselves. Every `build` makes a new object, so that no state passes from one training to the
    next.
    """

    maker: str | Callable[..., Any]
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def but(self, **changes: Any) -> Spec:
        """The same object with some arguments changed."""
        return Spec(self.maker, {**self.arguments, **changes})

    def build(self) -> Any:
        """The Keras object."""
        import keras

        maker: Any = self.maker
        if isinstance(maker, str):
            maker = functools.reduce(getattr, maker.split("."), keras)
        return maker(**{name: build(value) for name, value in self.arguments.items()})


Layers = tuple[Spec, ...]


def build(value: Any) -> Any:
    """`value`, or what it builds if it is a spec."""
    return value.build() if isinstance(value, Spec) else value


def layer(class_name: str, **arguments: Any) -> Spec:
    """A layer: `layer("Dropout", rate=0.5)`."""
    return Spec(f"layers.{class_name}", arguments)


def dense(units: int, activation: str = "linear", **arguments: Any) -> Spec:
    """A `Dense` layer; with relu it starts from `he_uniform`, as the tutorials do."""
    if activation == "relu":
        arguments = {"kernel_initializer": "he_uniform", **arguments}
    return layer("Dense", units=units, activation=activation, **arguments)


def sgd(learning_rate: float | Spec = 0.01, momentum: float = 0.9, **arguments: Any) -> Spec:
    """The tutorials' optimizer."""
    return Spec(
        "optimizers.SGD", {"learning_rate": learning_rate, "momentum": momentum, **arguments}
    )


def adam(learning_rate: float | Spec = 0.01, **arguments: Any) -> Spec:
    """Adam."""
    return Spec("optimizers.Adam", {"learning_rate": learning_rate, **arguments})


def loss(class_name: str, **arguments: Any) -> Spec:
    """A loss object: `loss("CategoricalCrossentropy", from_logits=True)`."""
    return Spec(f"losses.{class_name}", arguments)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything a training needs. `layers` are those of a Sequential model, the head last.

    `fit` holds further arguments of `fit` (`class_weight`, `validation_split`, ...). `validates`
    says whether it is given the held-out rows. `assemble` builds and compiles the model; cases
    that no Sequential can show bring their own.
    """

    data: Callable[[], Data]
    score: Score
    layers: tuple[Spec, ...] = ()
    loss: str | Spec | Callable[..., Any] | None = None
    optimizer: Spec = field(default_factory=sgd)
    metrics: tuple[str, ...] = ()
    epochs: int = 100
    batch_size: int = 32
    validates: bool = True
    fit: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    callbacks: tuple[Spec, ...] = ()
    assemble: Callable[[Recipe, Data], Model] | None = None

    def model(self, data: Data) -> Model:
        """The compiled model, its weights freshly drawn."""
        return (self.assemble or sequential)(self, data)


def sequential(recipe: Recipe, data: Data) -> Model:
    """The compiled Sequential model of a recipe."""
    import keras

    model = keras.Sequential(
        [keras.Input(data.X.shape[1:])] + [spec.build() for spec in recipe.layers]
    )
    return compiled(model, recipe)


def compiled(model: Model, recipe: Recipe) -> Model:
    """`model`, compiled as the recipe says."""
    model.compile(
        optimizer=recipe.optimizer.build(),
        loss=build(recipe.loss),
        metrics=list(recipe.metrics) or None,
    )
    return model

"""A case: a tutorial set-up, healthy or with one named fault, that can be built and trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossdoctor.cases.recipe import Model, Recipe
from lossdoctor.cases.score import Array

_FIT_NAMES = ("class_weight", "sample_weight", "shuffle", "validation_split")


@dataclass(kw_only=True)
class Trial:
    """A case built from one seed: the compiled model, its data, and how `fit` is called.

    `callbacks` are the case's own; `logs` is the history after `train`.
    """

    case: Case
    seed: int
    model: Model
    X: Array
    y: Any
    X_val: Array
    y_val: Any
    epochs: int
    batch_size: int
    fit_options: dict[str, Any]
    callbacks: list[Any]
    logs: dict[str, list[float]] = field(default_factory=dict)

    @property
    def validates(self) -> bool:
        """Whether `fit` is given the held-out rows to validate on."""
        recipe = self.case.recipe
        held_out = recipe.validates and self.y_val is not None
        return held_out and "validation_split" not in self.fit_options

    def train(
        self,
        callbacks: Sequence[Any] = (),
        *,
        epochs: int | None = None,
        validate: bool = True,
        verbose: int = 0,
    ) -> Any:
        """Call `fit` as the case does and return its `History`.

        Args:
            callbacks: Further callbacks, such as `LossDoctor()`.
            epochs: Instead of the case's own number.
            validate: False leaves out the validation pass where the case's outcome does not
                depend on it, which about halves the time.
            verbose: As in `fit`.

        Raises:
            Exception: Whatever Keras raises; some faults do not get past `fit`.
        """
        import keras

        keras.utils.set_random_seed(self.seed)
        options = dict(self.fit_options)
        if self.validates and (validate or self.callbacks):
            options["validation_data"] = (self.X_val, self.y_val)
        history = self.model.fit(
            self.X,
            self.y,
            epochs=self.epochs if epochs is None else epochs,
            batch_size=self.batch_size,
            callbacks=[*self.callbacks, *callbacks],
            verbose=verbose,
            **options,
        )
        self.logs = history.history
        return history

    def score(self) -> float:
        """The task metric on the held-out rows, recomputed from predictions."""
        return self.case.recipe.score(self.model, self.X_val, self.y_val)

    def apply(self, code: str) -> None:
        """Run a remedy's code on this trial, as a user would paste it before `fit`.

        The code may change or rebind `model`, `X`, `y`, `X_val`, `y_val`, `epochs`, `batch_size`
        and `callbacks`. Other arguments of `fit` that it sets by name are passed on to `fit`.

        Raises:
            Exception: Whatever the code raises.
        """
        import keras

        names: dict[str, Any] = {"keras": keras, "np": np}
        own = ("model", "X", "y", "X_val", "y_val", "epochs", "batch_size", "callbacks")
        names |= {name: getattr(self, name) for name in own}
        exec(code, names)
        for name in own:
            setattr(self, name, names[name])
        self.fit_options |= {name: names[name] for name in _FIT_NAMES if name in names}


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How a broken twin shows its harm without the doctor.

    `measure` gives a number of a trained trial, higher is better; it must be lower than the
    healthy twin's by at least `by`. `worst` stands for a trial that could not be trained.
    """

    claim: str
    measure: Callable[[Trial], float]
    by: float
    worst: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """A tutorial set-up, or its twin with one fault.

    Args:
        name: `"circles-hinge"`, or `"circles-hinge/labels-0-1"` for its twin.
        title: One line saying what it is.
        recipe: The training in parts.
        fault: What is wrong with it; empty for a healthy case.
        must_find: Slug of the rule that names the root cause; must rank first.
        also_right: Slugs that name the same cause from another side.
        symptoms: Slugs that must be named as well, at any place and severity.
        must_not_find: Slugs that would be a false accusation.
        found_before_training: Whether `check_config` alone must find it.
        healthy: Name of the healthy twin, None for a healthy case.
        inject: Puts the fault into a healthy recipe.
        harm: The proof of harm; by default the score is lower by 0.1.
        passing: The score a healthy case reaches.
    """

    name: str
    title: str
    recipe: Recipe
    fault: str = ""
    must_find: str | None = None
    also_right: tuple[str, ...] = ()
    symptoms: tuple[str, ...] = ()
    must_not_find: frozenset[str] = frozenset()
    found_before_training: bool = False
    healthy: str | None = None
    inject: Callable[[Recipe], Recipe] | None = None
    harm: Proof | None = None
    passing: float | None = None

    @property
    def broken(self) -> bool:
        """Whether this is a twin with a fault."""
        return self.healthy is not None

    @property
    def right_answers(self) -> tuple[str, ...]:
        """Slugs of which one must rank first."""
        return (self.must_find, *self.also_right) if self.must_find else ()

    @property
    def proof(self) -> Proof:
        """How its harm shows."""
        if self.harm is not None:
            return self.harm
        score = self.recipe.score
        return Proof(
            claim=f"{score.name} on held-out rows, recomputed from predictions, is lower",
            measure=Trial.score,
            by=0.1,
            worst=score.worst,
        )

    def materialize(self, seed: int = 1) -> Trial:
        """Build data and model. The data are always the same; `seed` draws weights and order."""
        import keras

        data = self.recipe.data()
        keras.utils.set_random_seed(seed)
        return Trial(
            case=self,
            seed=seed,
            model=self.recipe.model(data),
            X=data.X,
            y=data.y,
            X_val=data.X_val,
            y_val=data.y_val,
            epochs=self.recipe.epochs,
            batch_size=self.recipe.batch_size,
            fit_options=dict(self.recipe.fit),
            callbacks=[spec.build() for spec in self.recipe.callbacks],
        )

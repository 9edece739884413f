"""Random healthy set-ups: a task, prepared data, a model of a usual kind and its usual settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lossdoctor.cases.data import Array, Data, one_hot
from lossdoctor.cases.random.tasks import Random, Task, draw_task
from lossdoctor.cases.recipe import Layers, Recipe, Spec, layer, loss

RECURRENT = {"layers.LSTM", "layers.GRU", "layers.SimpleRNN"}


@dataclass(frozen=True, kw_only=True)
class SetUp:
    """A recipe, and what it was made of.

    `raw` is the data before preparation. `variant` names the head, loss and labels chosen among
    those that suit the goal: `"sigmoid"`, `"logits"`, `"sparse"`, ...
    """

    task: Task
    raw: Data
    variant: str
    recipe: Recipe

    @property
    def head(self) -> Spec:
        """The last layer."""
        return self.recipe.layers[-1]

    @property
    def rate(self) -> float:
        """The learning rate."""
        return float(self.recipe.optimizer.arguments["learning_rate"])


def draw_setup(random: Random) -> SetUp:
    """A set-up that someone who knows the trade might have written; most of them train well."""
    task = draw_task(random)
    prepared, first_layers = _prepared(task, random)
    ending = _ending(task, prepared, random)
    body = _body(task, random)
    optimizer = _optimizer(task, random)
    batch_size = _batch_size(task, random)
    recipe = Recipe(
        data=lambda: ending.data,
        layers=(*first_layers, *body, ending.head),
        loss=ending.loss,
        optimizer=optimizer,
        metrics=ending.metrics,
        epochs=_epochs(task, len(prepared.X), batch_size, random),
        batch_size=batch_size,
        validates=not task.tiny and random.random() < 0.7,
        score=task.score,
    )
    setup = SetUp(task=task, raw=task.data, variant=ending.variant, recipe=recipe)
    return _rarely(setup, random)


def _chance(random: Random, share: float) -> bool:
    return bool(random.random() < share)


def _one_of(random: Random, weights: dict[Any, float]) -> Any:
    values = list(weights)
    share = np.array(list(weights.values()), dtype=float)
    return values[random.choice(len(values), p=share / share.sum())]


# Data -----------------------------------------------------------------------------------------


def _prepared(task: Task, random: Random) -> tuple[Data, Layers]:
    """The data as `fit` gets them, and the layers that finish their preparation."""
    data = task.data
    if task.shape == "tokens" or task.tiny:
        return data, ()
    if task.shape == "image" or task.goal == "reconstruction":
        if task.shape == "image" and _chance(random, 0.25):
            return data, (layer("Rescaling", scale=1 / 255),)
        return _inputs(data, lambda X: X / 255), ()
    axes = tuple(range(data.X.ndim - 1))
    mean, spread = data.X.mean(axes), data.X.std(axes)
    spread = np.where(spread > 0, spread, 1.0)
    if _chance(random, 0.12):
        return data, (layer("Normalization", mean=mean, variance=spread**2),)
    if task.shape == "table" and _chance(random, 0.25):
        low, reach = data.X.min(axes), np.ptp(data.X, axis=axes)
        return _inputs(data, lambda X: (X - low) / np.where(reach > 0, reach, 1.0)), ()
    return _inputs(data, lambda X: (X - mean) / spread), ()


def _inputs(data: Data, change: Callable[[Array], Array]) -> Data:
    return replace(data, X=change(data.X), X_val=change(data.X_val))


def _targets(data: Data, change: Callable[[Array], Array]) -> Data:
    return replace(data, y=change(data.y), y_val=change(data.y_val))


# Head, loss and labels ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Ending:
    variant: str
    data: Data
    head: Spec
    loss: str | Spec
    metrics: tuple[str, ...] = ()


def _ending(task: Task, data: Data, random: Random) -> _Ending:
    ending = _ENDINGS[task.goal](task, data, random)
    return ending if _chance(random, 0.7) else replace(ending, metrics=())


def _head(units: int, activation: str = "linear") -> Spec:
    return layer("Dense", units=units, activation=activation)


def _regression(task: Task, data: Data, random: Random) -> _Ending:
    mean, spread = data.y.mean(), data.y.std()
    small = 0.1 < spread < 3 and abs(mean) < 5 * spread
    if not (small and _chance(random, 0.7)):
        data = _targets(data, lambda y: (y - mean) / spread)
    if _chance(random, 0.5):
        data = _targets(data, lambda y: y.reshape(-1, 1))
    return _Ending(
        variant="regression",
        data=data,
        head=_head(1),
        loss=_one_of(random, {"mse": 0.7, "mae": 0.15, "huber": 0.15}),
        metrics=_one_of(random, {("mae",): 0.6, ("mse",): 0.4}),
    )


def _counts(task: Task, data: Data, random: Random) -> _Ending:
    return _Ending(variant="poisson", data=data, head=_head(1, "exponential"), loss="poisson")


def _binary(task: Task, data: Data, random: Random) -> _Ending:
    variant = _one_of(random, {"sigmoid": 0.6, "logits": 0.12, "sparse": 0.18, "hinge": 0.1})
    if variant == "sparse":
        return _classes(task, data, random)
    if variant == "hinge":
        data = _targets(data, lambda y: 2 * y - 1)
        return _Ending(variant="hinge", data=data, head=_head(1, "tanh"), loss="hinge")
    if _chance(random, 0.4):
        data = _targets(data, lambda y: y.reshape(-1, 1))
    if variant == "logits":
        return _Ending(
            variant="logits",
            data=data,
            head=_head(1),
            loss=loss("BinaryCrossentropy", from_logits=True),
        )
    return _Ending(
        variant="sigmoid",
        data=data,
        head=_head(1, "sigmoid"),
        loss="binary_crossentropy",
        metrics=("accuracy",),
    )


def _classes(task: Task, data: Data, random: Random) -> _Ending:
    variant = _one_of(random, {"sparse": 0.5, "one-hot": 0.4, "sparse-logits": 0.1})
    if variant == "sparse-logits":
        return _Ending(
            variant=variant,
            data=data,
            head=_head(task.classes),
            loss=loss("SparseCategoricalCrossentropy", from_logits=True),
            metrics=("accuracy",),
        )
    sparse = variant == "sparse"
    return _Ending(
        variant=variant,
        data=data if sparse else _targets(data, lambda y: one_hot(y, task.classes)),
        head=_head(task.classes, "softmax"),
        loss="sparse_categorical_crossentropy" if sparse else "categorical_crossentropy",
        metrics=("accuracy",),
    )


def _labels(task: Task, data: Data, random: Random) -> _Ending:
    return _Ending(
        variant="labels",
        data=data,
        head=_head(task.classes, "sigmoid"),
        loss="binary_crossentropy",
        metrics=("binary_accuracy",),
    )


def _reconstruction(task: Task, data: Data, random: Random) -> _Ending:
    return _Ending(
        variant="reconstruction",
        data=replace(data, y=data.X, y_val=data.X_val),
        head=_head(data.X.shape[1], "sigmoid"),
        loss=_one_of(random, {"binary_crossentropy": 0.5, "mse": 0.5}),
    )


_ENDINGS: dict[str, Callable[[Task, Data, Random], _Ending]] = {
    "regression": _regression,
    "counts": _counts,
    "binary": _binary,
    "classes": _classes,
    "labels": _labels,
    "reconstruction": _reconstruction,
}


# Body -----------------------------------------------------------------------------------------


def _body(task: Task, random: Random) -> Layers:
    if task.shape == "image":
        return _image_body(random)
    if task.shape == "sequence":
        return _recurrent_or_not(random)
    if task.shape == "tokens":
        embedding = layer(
            "Embedding",
            input_dim=task.words,
            output_dim=int(random.choice([8, 16, 32])),
            mask_zero=_chance(random, 0.4),
        )
        return (embedding, *_recurrent_or_not(random, pooling=True))
    if task.tiny:
        width = int(random.choice([8, 16, 32]))
        activation = _one_of(random, {"tanh": 0.5, "relu": 0.5})
        return tuple(_dense(width, activation, random) for _ in range(random.integers(1, 3)))
    if task.name == "line" and _chance(random, 0.4):
        return ()
    if task.goal == "counts":
        width = int(random.choice([16, 32, 64]))
        return tuple(_dense(width, "relu", random) for _ in range(random.integers(1, 3)))
    if task.goal == "reconstruction":
        code = int(random.choice([16, 32]))
        activation = _one_of(random, {"relu": 0.7, "elu": 0.3})
        return tuple(_dense(width, activation, random) for width in (64, code, 64))
    return _dense_body(random)


def _dense(units: int, activation: str, random: Random) -> Spec:
    spec = layer("Dense", units=units, activation=activation)
    if activation == "relu" and _chance(random, 0.4):
        return spec.but(kernel_initializer="he_uniform")
    return spec


def _dense_body(random: Random) -> Layers:
    depth = _one_of(random, {1: 0.3, 2: 0.35, 3: 0.2, 4: 0.08, 6: 0.04, 10: 0.03})
    width = int(random.choice([8, 16, 24, 32, 50, 64, 100, 128]))
    activation = _one_of(random, {"relu": 0.68, "tanh": 0.14, "elu": 0.08, "gelu": 0.1})
    if depth == 1 and _chance(random, 0.15):
        activation = "sigmoid"
    normalized = _chance(random, 0.6 if depth > 4 else 0.12)
    dropout = float(random.choice([0.1, 0.2, 0.3])) if _chance(random, 0.2) else 0.0
    narrowing = _chance(random, 0.4)
    layers: list[Spec] = []
    for level in range(depth):
        units = max(8, width // 2**level) if narrowing else width
        layers.append(_dense(units, activation, random))
        if normalized:
            layers.append(layer("BatchNormalization"))
        if dropout and units >= 32:
            layers.append(layer("Dropout", rate=dropout))
    return tuple(layers)


def _image_body(random: Random) -> Layers:
    if _chance(random, 0.35):
        return (layer("Flatten"), *_dense_body(random))
    layers: list[Spec] = []
    normalized = _chance(random, 0.25)
    for level in range(random.integers(1, 3)):
        filters = int(random.choice([8, 12, 16])) * (level + 1)
        layers.append(
            layer("Conv2D", filters=filters, kernel_size=3, padding="same", activation="relu")
        )
        if normalized:
            layers.append(layer("BatchNormalization"))
        layers.append(layer("MaxPooling2D"))
    layers.append(layer("Flatten"))
    if _chance(random, 0.25):
        layers.append(layer("Dropout", rate=0.25))
    if _chance(random, 0.7):
        layers.append(_dense(int(random.choice([32, 64])), "relu", random))
    return tuple(layers)


def _recurrent_or_not(random: Random, pooling: bool = False) -> Layers:
    """Layers that read a sequence; averaging over steps suits words, not waves."""
    kinds = {"LSTM": 0.35, "GRU": 0.2, "SimpleRNN": 0.1, "Conv1D": 0.2, "Flatten": 0.15}
    kind = _one_of(random, kinds | ({"GlobalAveragePooling1D": 0.5} if pooling else {}))
    width = int(random.choice([8, 16, 24]))
    if kind == "Conv1D":
        reading: Layers = (
            layer("Conv1D", filters=width, kernel_size=3, activation="relu"),
            layer("GlobalMaxPooling1D" if pooling else "Flatten"),
        )
    elif kind in ("Flatten", "GlobalAveragePooling1D"):
        reading = (layer(kind),)
    elif _chance(random, 0.15):
        reading = (layer(kind, units=width, return_sequences=True), layer(kind, units=width))
    else:
        reading = (layer(kind, units=width),)
    if kind == "Flatten" or _chance(random, 0.4):
        return (*reading, _dense(int(random.choice([16, 32])), "relu", random))
    return reading


# What is rare ---------------------------------------------------------------------------------


def _rarely(setup: SetUp, random: Random) -> SetUp:
    """Thousands of epochs, sequences of unequal length; drawn last, so that most stay the same."""
    recipe = setup.recipe
    if setup.task.tiny and _chance(random, 0.12):
        epochs = round(10 ** random.uniform(2.5, 3.48))
        return replace(setup, recipe=replace(recipe, epochs=epochs))
    first = recipe.layers[0].maker
    if setup.task.name == "sensors" and first in RECURRENT and _chance(random, 0.5):
        return _cut_short(setup, random)
    return setup


def _cut_short(setup: SetUp, random: Random) -> SetUp:
    """Every sequence ends somewhere in its second half; zeros follow, which a layer masks."""
    steps = setup.raw.X.shape[1]
    seed = int(random.integers(2**31))

    def cut(X: Array) -> Array:
        ends = np.random.default_rng(seed).integers(steps // 2, steps + 1, size=(len(X), 1, 1))
        return np.where(np.arange(steps)[None, :, None] < ends, X, 0.0)

    data = _inputs(setup.recipe.data(), cut)
    masked = (layer("Masking"), *setup.recipe.layers)
    return replace(
        setup,
        raw=_inputs(setup.raw, cut),
        recipe=replace(setup.recipe, data=lambda: data, layers=masked),
    )


# How it is trained ----------------------------------------------------------------------------


def _optimizer(task: Task, random: Random) -> Spec:
    kind = _one_of(
        random,
        {
            "Adam": 0.55,
            "SGD": 0.08,
            "momentum": 0.12,
            "RMSprop": 0.1,
            "Nadam": 0.05,
            "Adagrad": 0.1,
        },
    )
    rate = {
        "Adam": float(random.choice([0.001, 0.002, 0.003, 0.005, 0.01])),
        "Nadam": 0.003,
        "RMSprop": float(random.choice([0.002, 0.003, 0.005])),
        "SGD": float(random.choice([0.05, 0.1])),
        "momentum": float(random.choice([0.01, 0.02, 0.05])),
        "Adagrad": float(random.choice([0.05, 0.1])),
    }[kind]
    if task.tiny:
        rate *= 5
    elif task.shape in ("sequence", "tokens", "image"):
        rate *= 2
    if kind == "momentum":
        return Spec("optimizers.SGD", {"learning_rate": rate, "momentum": 0.9})
    return Spec(f"optimizers.{kind}", {"learning_rate": rate})


def _batch_size(task: Task, random: Random) -> int:
    rows = len(task.data.X)
    if task.tiny:
        return int(min(rows, random.choice([rows, 4, 16])))
    if rows < 200:
        return int(random.choice([8, 16]))
    return int(min(rows, _one_of(random, {16: 0.25, 32: 0.55, 64: 0.15, 128: 0.05})))


def _epochs(task: Task, rows: int, batch_size: int, random: Random) -> int:
    """As many as fit into a few seconds of training on one core."""
    steps = {"table": 900, "image": 200, "sequence": 300, "tokens": 200}[task.shape]
    per_epoch = -(-rows // batch_size)
    wanted = steps * random.uniform(0.6, 1.4) / per_epoch
    # An epoch costs as much as some 50 steps; now and then someone takes many.
    most = 150 if task.tiny or _chance(random, 0.08) else 30
    return int(np.clip(round(wanted), 5, most))

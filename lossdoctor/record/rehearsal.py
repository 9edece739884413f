"""Rehearse the first steps of a training on copies of its variables; the model stays as it is.

Forward and backward passes run in a `keras.StatelessScope` that puts a copy in the place of every
variable of the model, and a copy of the optimizer updates these copies. Neither weights nor
optimizer, metrics, seeds or the global random state change, whatever happens in between.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from numpy.typing import NDArray

from lossdoctor.record.measure import same_random_state, unknown_variables
from lossdoctor.record.run import NO_GRADIENT, OptimizerRecord, Rehearsal, Trial

STEPS = 64
SECONDS = 2.0
"""How long all trials together may take once the step is traced."""
_BYTES = 256 * 2**20
_MOST_WEIGHTS = 30_000_000
_MOST_VARIABLES = 200
_FEWEST_STEPS = 4
_DECADES = 8
_CLOSE = 2.0
_ITERATIONS = 20
_CONVERGED = 0.01
_SEED = 0

Batch = tuple[Any, Any, Any]
Floats = NDArray[np.float64]


class CannotRehearse(Exception):
    """This training cannot be rehearsed; the text says why."""


def rehearse_training(
    model: keras.Model,
    compiled: keras.Model,
    batches: Sequence[Batch],
    optimizer: OptimizerRecord | None,
    *,
    baseline: float | None,
    floor: float,
) -> Rehearsal:
    """Rehearse the first steps at the planned learning rate and, if it is unstable, at lower ones.

    Args:
        model: The built model.
        compiled: The compiled one: `model` itself, or what it was cloned from.
        batches: `(x, y, sample_weight or None)` of each step, as `fit` hands them to the model.
        optimizer: The settings of `compiled.optimizer`.
        baseline: The loss of the best constant prediction; None where it is not known.
        floor: The loss of perfect predictions.

    Raises:
        CannotRehearse: If this training cannot be followed on copies, or is too slow for it.
    """
    _require_plain_training(compiled)
    _require_moderate_size(model)
    rates = _planned_rates(optimizer, len(batches))
    with _nothing_changed(model), _own_loss(model, compiled), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the user meets Keras' warnings in `fit`
        tensors = [keras.tree.map_structure(_tensor, batch) for batch in batches]
        stage = Stage(model, compiled.optimizer, tensors)
        return _Search(stage, tensors, rates).run(baseline, floor)


def array_batches(
    x: Any,
    y: Any,
    weights: NDArray[Any] | None,
    *,
    batch_size: int,
    shuffle: bool,
    planned_steps: int | None,
) -> list[Batch]:
    """The batches of the first steps over arrays, in an order drawn with a fixed seed.

    Args:
        x: Array of shape `(rows, ...)`, or a list or dict of them.
        y: As `x`.
        weights: Shape `(rows,)`, or None.
        batch_size: Rows in a batch; the last of an epoch holds what is left.
        shuffle: Whether each epoch draws a new order, as `fit(shuffle=True)` does.
        planned_steps: Steps of the whole training, where it is known.
    """
    arrays = [*keras.tree.flatten(x), *keras.tree.flatten(y)]
    rows = len(arrays[0])
    steps = min(planned_steps or STEPS, room_for([array[:batch_size] for array in arrays]))
    generator = np.random.default_rng(_SEED)
    batches: list[Batch] = []
    while len(batches) < steps:
        order = generator.permutation(rows) if shuffle else np.arange(rows)
        for start in range(0, rows, batch_size):
            part = order[start : start + batch_size]
            batches.append(
                (
                    keras.tree.map_structure(lambda a: as_fed(a[part]), x),  # noqa: B023
                    keras.tree.map_structure(lambda a: as_fed(a[part]), y),  # noqa: B023
                    None if weights is None else as_fed(weights[part]),
                )
            )
            if len(batches) == steps:
                break
    return batches


def room_for(batch: Sequence[NDArray[Any]]) -> int:
    """How many batches of this size a rehearsal keeps at most."""
    return int(min(STEPS, max(1, _BYTES // max(1, sum(array.nbytes for array in batch)))))


def as_fed(array: NDArray[Any]) -> NDArray[Any]:
    """As `fit` feeds it: floats of any width in Keras' own."""
    return array.astype(keras.backend.floatx()) if array.dtype.kind == "f" else array


def _planned_rates(optimizer: OptimizerRecord | None, steps: int) -> list[float]:
    """The learning rate of each rehearsed step.

    A schedule that begins with a warm-up climbs to its peak in the first half of the rehearsal, so
    that the peak is met by weights as well prepared as a rehearsal can have them.
    """
    if optimizer is None or optimizer.learning_rate is None:
        raise CannotRehearse("the learning rate is not known")
    values = np.asarray(optimizer.schedule_values or [optimizer.learning_rate])
    peak = int(values.argmax())
    if not values[peak] > 0:
        raise CannotRehearse("there is no learning rate above 0")
    climb = np.linspace(0, peak, steps // 2) if peak else np.empty(0)
    rates = np.full(steps, values[peak])
    rates[: len(climb)] = np.interp(climb, np.arange(len(values)), values)
    return [float(rate) for rate in rates]


def _require_plain_training(model: keras.Model) -> None:
    if model.optimizer is None:
        raise CannotRehearse("the model has no optimizer")
    if type(model).train_step is not keras.Model.train_step:
        raise CannotRehearse("the model has a train_step of its own")
    if model._distribute_strategy is not None:
        raise CannotRehearse("the model is distributed over several devices")


def _require_moderate_size(model: keras.Model) -> None:
    if not model.trainable_variables:
        raise CannotRehearse("nothing in the model is trainable")
    weights, variables = model.count_params(), len(model.trainable_variables)
    if weights > _MOST_WEIGHTS:
        raise CannotRehearse(f"{weights:,} weights are too many to copy in passing")
    if variables > _MOST_VARIABLES:
        raise CannotRehearse(f"a step on {variables} variables takes too long to trace")


@contextlib.contextmanager
def _nothing_changed(model: keras.Model) -> Iterator[None]:
    """Keep what copies cannot keep: the user's random streams, Keras' counters of automatic names,
    the penalties of the model's last call, and TensorFlow variables that Keras does not know."""
    kept = {
        "object_name_uids": copy.copy(global_state.get_global_attribute("object_name_uids")),
        "global_seed_generator": global_state.get_global_attribute("global_seed_generator"),
    }
    penalties = [(layer._losses, list(layer._losses)) for layer in model._flatten_layers()]
    unknown = [(variable, tf.identity(variable)) for variable in unknown_variables(model)]
    try:
        with same_random_state():
            yield
    finally:
        for name, value in kept.items():
            global_state.set_global_attribute(name, value)
        for present, before in penalties:
            present[:] = before
        for variable, value in unknown:
            variable.assign(value)


@contextlib.contextmanager
def _own_loss(model: keras.Model, compiled: keras.Model) -> Iterator[None]:
    """Let `model` compute its loss with a fresh copy of the compiled one.

    Its first call ties a compiled loss to the structure of the targets, and that is for `fit` to
    do. The attribute is set past Keras' tracking, which would make the copy a part of the model.
    """
    present = compiled._compile_loss
    attributes = vars(model)
    before = attributes.get("_compile_loss")
    attributes["_compile_loss"] = present and type(present)(
        present._user_loss, present._user_loss_weights, output_names=present.output_names
    )
    try:
        yield
    finally:
        attributes["_compile_loss"] = before


class Stage:
    """Copies of a model's variables and of its optimizer, to take steps on.

    Args:
        model: The built model.
        optimizer: The compiled optimizer.
        batches: The batches of the steps, as tensors of one structure.
    """

    def __init__(self, model: keras.Model, optimizer: Any, batches: Sequence[Batch]) -> None:
        self._model = model
        self._trainable = [_copy(v) for v in model.trainable_variables]
        self._other = [_copy(v) for v in model.non_trainable_variables]
        self.optimizer = _copied_optimizer(optimizer, self._trainable)
        own = [v for v in vars(self.optimizer).values() if isinstance(v, keras.Variable)]
        self._state = [*self._trainable, *self._other, *self.optimizer.variables, *own]
        self._initial = [tf.identity(v.value) for v in self._state]
        self._batch = _specification(batches)
        self._take = self._traced(self._take_step)

    def reset(self) -> None:
        """Put everything back to where training begins."""
        for variable, value in zip(self._state, self._initial):
            variable.assign(value)

    def step(self, batch: Batch, rate: float) -> float:
        """Take one optimizer step and return the loss before it."""
        self.optimizer.learning_rate = rate
        return float(self._take(batch))

    @property
    def weights(self) -> Floats:
        """All trainable weights in one vector."""
        return flat(self._trainable)

    def gradient(self, batch: Batch) -> Floats:
        """The gradient of the loss at the present weights; 0 where none arrives."""
        return flat(self._gradient(batch))

    def curve(self, batch: Batch, direction: Floats) -> Floats:
        """The Hessian of the loss at the present weights times `direction`."""
        ends = np.cumsum([int(np.prod(v.shape)) for v in self._trainable])
        parts = zip(np.split(direction, ends[:-1]), self._trainable)
        return flat(
            self._curve(batch, [tf.constant(p.reshape(v.shape), v.dtype) for p, v in parts])
        )

    @functools.cached_property
    def _gradient(self) -> Any:
        return self._traced(lambda batch: self._gradients(batch)[1])

    @functools.cached_property
    def _curve(self) -> Any:
        directions = [tf.TensorSpec(v.shape, v.dtype) for v in self._trainable]
        return self._traced(self._curved, directions)

    def _traced(self, function: Any, *arguments: Any) -> Any:
        traced = tf.function(function, autograph=False)
        return traced.get_concrete_function(self._batch, *arguments)

    def _loss(self, batch: Batch) -> tuple[Any, list[Any]]:
        """The training loss at the copies, and the values it gives to the other variables."""
        x, y, weight = batch
        model = self._model
        mapping = [
            *zip(model.trainable_variables, self._trainable),
            *zip(model.non_trainable_variables, self._other),
        ]
        training = {"training": True} if model._call_has_training_arg else {}
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            loss = model._compute_loss(
                x=x, y=y, y_pred=model(x, **training), sample_weight=weight, training=True
            )
            model._clear_losses()
            return loss, [scope.get_current_value(v) for v in model.non_trainable_variables]

    def _take_step(self, batch: Batch) -> Any:
        with tf.GradientTape() as tape:
            loss, others = self._loss(batch)
        gradients = tape.gradient(loss, _values(self._trainable))
        if all(gradient is None for gradient in gradients):
            raise CannotRehearse(NO_GRADIENT)
        for variable, value in zip(self._other, others):
            variable.assign(value)
        self.optimizer.apply_gradients(zip(gradients, self._trainable))
        return loss

    def _gradients(self, batch: Batch) -> tuple[list[Any], list[Any]]:
        weights = _values(self._trainable)
        with tf.GradientTape() as tape:
            loss, _ = self._loss(batch)
        gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
        return weights, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def _curved(self, batch: Batch, direction: list[Any]) -> list[Any]:
        """Differentiates the gradient along `direction` once more (Pearlmutter 1994)."""
        with tf.GradientTape() as tape:
            weights, gradients = self._gradients(batch)
            slope = tf.add_n([tf.reduce_sum(g * d) for g, d in zip(gradients, direction)])
        curved = tape.gradient(slope, weights, unconnected_gradients="zero")
        return [tf.convert_to_tensor(part) for part in curved]


def _tensor(array: NDArray[Any] | None) -> Any:
    return None if array is None else tf.convert_to_tensor(array)


def _specification(batches: Sequence[Batch]) -> Any:
    """What all batches have in common; their number of rows only if it never varies."""

    def common(*tensors: Any) -> Any:
        first = tensors[0]
        if first is None:
            return None
        rows = first.shape[0] if len({t.shape[0] for t in tensors}) == 1 else None
        return tf.TensorSpec([rows, *first.shape[1:]], first.dtype)

    return keras.tree.map_structure(common, *batches)


def _values(variables: Sequence[Any]) -> list[Any]:
    return [variable.value for variable in variables]


def _copy(variable: Any) -> keras.Variable:
    copied = keras.Variable(
        tf.identity(variable.value),
        dtype=variable.dtype,
        trainable=variable.trainable,
        name=variable.name,
    )
    copied.constraint = variable.constraint
    return copied


def _copied_optimizer(optimizer: Any, variables: list[Any]) -> Any:
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    try:
        copied = type(inner).from_config({**inner.get_config(), "learning_rate": 0.0})
    except Exception as error:
        raise CannotRehearse("the optimizer cannot be copied from its configuration") from error
    copied.build(variables)
    if inner.built:
        # Whether a rate or a schedule stands before them, the slots come last.
        for mine, theirs in zip(reversed(copied.variables[2:]), reversed(inner.variables)):
            mine.assign(theirs)
        copied.iterations.assign(inner.iterations)
    return copied


class _Search:
    """Trials at the planned learning rate and, where the loss rises, at lower ones."""

    def __init__(self, stage: Stage, batches: list[Batch], rates: list[float]) -> None:
        self._stage = stage
        self._batches = batches
        self._rates = rates
        self._deadline = time.perf_counter() + SECONDS

    def run(self, baseline: float | None, floor: float) -> Rehearsal:
        planned = self._trial(1.0, until=self._deadline - SECONDS / 2)
        if planned.finite and len(planned.losses) < min(_FEWEST_STEPS, len(self._batches)):
            raise CannotRehearse(f"{len(planned.losses)} of its steps take {SECONDS / 2:g} seconds")
        found = Rehearsal(
            initial=self._trial(0.0, at_least=len(planned.losses)).losses,
            baseline=baseline,
            floor=floor,
            trials=(planned,),
            calm_rate=planned.rate,
        )
        if not np.isfinite(found.initial).all():
            raise CannotRehearse("the loss is not finite before the first step")
        if not found.scale > 0:
            raise CannotRehearse("the loss has nothing to fall from")
        if found.rise(planned) <= 0:
            return found
        found = self._lower(found)
        if found.calm_rate is None or self._late:
            return found
        sharpness, secant = self._curvature(found.calm_rate / max(self._rates))
        return dataclasses.replace(found, sharpness=sharpness, secant=secant)

    @property
    def _late(self) -> bool:
        return time.perf_counter() > self._deadline

    def _trial(self, factor: float, *, at_least: int = 0, until: float = math.inf) -> Trial:
        """Rehearse at `factor` times the planned rates; at 0 the weights stay as they are."""
        self._stage.reset()
        until = min(until, self._deadline)
        losses: list[float] = []
        for batch, rate in zip(self._batches, self._rates):
            losses.append(self._stage.step(batch, factor * rate))
            late = time.perf_counter() > until and len(losses) >= at_least
            if late or not math.isfinite(losses[-1]):
                break
        return Trial(rate=factor * max(self._rates), losses=np.array(losses))

    def _lower(self, found: Rehearsal) -> Rehearsal:
        """Search the largest calm rate: down by decades, then halfway on the logarithmic scale."""
        trials = list(found.trials)
        high, low = 1.0, 0.0
        while high / low > _CLOSE if low else high > 10.0**-_DECADES:
            factor = (high * low) ** 0.5 if low else high / 10
            trial = self._trial(factor)
            if self._late:
                break
            trials.append(trial)
            if found.stays_calm(trial):
                low = factor
            else:
                high = factor
        rate = low * max(self._rates) or None
        return dataclasses.replace(found, trials=tuple(trials), calm_rate=rate)

    def _curvature(self, factor: float) -> tuple[float | None, float | None]:
        """Sharpness at the end of the trial at `factor`, and the median secant on the way there."""
        stage, secants = self._stage, []
        stage.reset()
        for batch, rate in zip(self._batches, self._rates):
            weights, gradient = stage.weights, stage.gradient(batch)
            stage.step(batch, factor * rate)
            scale = _preconditioner(stage.optimizer)
            if scale is None or self._late:
                return None, None
            moved, bent = stage.weights - weights, stage.gradient(batch) - gradient
            secants.append(float(bent @ moved / (moved @ (scale * moved))))
        return self._sharpness(), float(np.median(secants))

    def _sharpness(self) -> float | None:
        """Largest eigenvalue of the Hessian between two roots of the preconditioner, by power
        iteration with a fixed start, on the first batch."""
        scale = _preconditioner(self._stage.optimizer)
        if scale is None:
            return None
        root = np.sqrt(scale)
        vector = np.random.default_rng(_SEED).normal(size=len(root))
        value = 0.0
        for _ in range(_ITERATIONS):
            vector = vector / np.linalg.norm(vector)
            if self._late:
                return None
            image = self._stage.curve(self._batches[0], vector / root) / root
            before, value = value, float(vector @ image)
            if not value > 0 or abs(value - before) <= _CONVERGED * value:
                break
            vector = image
        return value if value > 0 else None


def _preconditioner(optimizer: Any) -> Floats | None:
    """What the optimizer divides each weight's step by, at its present state; None if unknown.

    For Adam with the warm-up of its two averages, as in Cohen et al. (2022), equation 3.
    """
    step = float(optimizer.iterations)
    if isinstance(optimizer, keras.optimizers.SGD):
        return np.ones(len(flat(optimizer._trainable_variables)))
    if isinstance(optimizer, keras.optimizers.Adam):
        mean = np.sqrt(flat(optimizer._velocities) / (1 - optimizer.beta_2**step))
        return np.asarray((1 - optimizer.beta_1**step) * (mean + optimizer.epsilon))
    if isinstance(optimizer, keras.optimizers.RMSprop):
        return np.asarray(np.sqrt(flat(optimizer._velocities) + optimizer.epsilon))
    if isinstance(optimizer, keras.optimizers.Adagrad):
        return np.asarray(np.sqrt(flat(optimizer._accumulators) + optimizer.epsilon))
    return None


def flat(tensors: Sequence[Any]) -> Floats:
    """All entries in one vector."""
    parts = [np.asarray(tensor, dtype=np.float64).reshape(-1) for tensor in tensors]
    return np.concatenate(parts)

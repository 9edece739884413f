"""Measure what needs the live model: predictions on sampled rows, baselines, activations.

Everything here reads the model and leaves its state as it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.eager import context

from lossdoctor.record.compiled import (
    BASELINE_ROWS,
    at,
    constant_baseline,
    loss_floor,
    loss_functions,
    prediction_shape,
)
from lossdoctor.record.lifetime import uninterrupted
from lossdoctor.record.own_loss import adds_examples_up, ignored_target
from lossdoctor.record.run import (
    ActivationRecord,
    LossRecord,
    ModelRecord,
    OutputRecord,
    TargetPairing,
    TensorSummary,
)
from lossdoctor.record.stream import DataStream, TensorStream
from lossdoctor.record.summary import summarize

PREDICTED_ROWS = 1024
_FEWEST_AT_ONCE, _MOST_AT_ONCE = 16, 128
_PROBED_ROWS = 256
_PROBED_LAYERS = 48
_ENTRIES_AT_ONCE = 2**18
_SATURATING = {"sigmoid": (0.01, 0.99), "tanh": (-0.99, 0.99)}
_MOST_COLUMNS = 16
_CLASSIFICATION = ("crossentropy", "hinge", "kl_divergence", "dice", "tversky")


@contextlib.contextmanager
def untouched(model: keras.Model) -> Iterator[None]:
    """Put back every non-trainable variable (seeds, moving statistics) a forward pass changed,
    and keep Keras from warning a second time about what training has warned of."""
    small = [v for v in model.non_trainable_variables if len(v.shape) < 2]
    saved = [(v, np.asarray(v)) for v in [*small, *unknown_variables(model)]]
    try:
        with warnings.catch_warnings(), same_random_state():
            warnings.simplefilter("ignore")
            yield
    finally:
        with uninterrupted():
            for variable, value in saved:
                if not np.array_equal(np.asarray(variable), value):
                    variable.assign(value)


@contextlib.contextmanager
def same_random_state() -> Iterator[None]:
    """Keep the user's streams of Python's, NumPy's and eager TensorFlow's random numbers."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (the user's own state)
    eager = vars(context.context())
    # Not the same stream put back: an operation that gets a seed again goes on where it was.
    seeds = eager.get("_rng")
    if seeds is not None:
        eager["_rng"] = random.Random(0)
    try:
        yield
    finally:
        if seeds is not None:
            eager["_rng"] = seeds
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def unknown_variables(model: keras.Model) -> list[Any]:
    """TensorFlow variables on the model's layers that Keras does not know of."""
    attributes = [value for layer in model._flatten_layers() for value in vars(layer).values()]
    return [value for value in attributes if isinstance(value, tf.Variable)]


def predict_rows(
    model: keras.Model, inputs: Sequence[NDArray[Any]], structure: Any, at_once: int
) -> list[NDArray[Any]]:
    """The model's outputs for the given rows in inference mode, flat, as float64 or wider.

    Args:
        model: A built model.
        inputs: Flat list of arrays, each `(rows, ...)`.
        structure: The nesting of the model's inputs, or None for a single array.
        at_once: How many rows to predict in one go.
    """
    parts = []
    with untouched(model):
        for start in range(0, len(inputs[0]), at_once):
            batch = [keras.ops.convert_to_tensor(a[start : start + at_once]) for a in inputs]
            outputs = model(pack(structure, batch), training=False)
            parts.append([np.asarray(output) for output in keras.tree.flatten(outputs)])
    return [np.concatenate(pieces) for pieces in zip(*parts)]


def pack(structure: Any, flat: Sequence[Any]) -> Any:
    """The flat inputs of a model in the nesting it takes them in."""
    if structure is None or not isinstance(structure, (list, tuple, dict)):
        return flat[0] if len(flat) == 1 else list(flat)
    return keras.tree.pack_sequence_as(structure, list(flat))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions on sampled rows, summarized and paired with their targets."""

    summaries: tuple[TensorSummary, ...] = ()
    pairing: tuple[TargetPairing, ...] = ()


def measure_predictions(
    model: keras.Model,
    stream: DataStream,
    structure: Any,
    outputs: Sequence[OutputRecord],
    losses: Sequence[LossRecord],
) -> Predictions:
    """Predict the sampled rows of `stream` and compare with their targets.

    Raises:
        ValueError: If the stream holds no rows the model can be called on.
    """
    samples = stream.sampled_inputs
    if not samples or any(sample is None or not len(sample) for sample in samples):
        raise ValueError("the inputs could not be sampled")
    rows = [sample[:PREDICTED_ROWS] for sample in samples if sample is not None]
    # No larger than the batches of training, for which there was memory.
    at_once = int(np.clip(stream.batch_size or 0, _FEWEST_AT_ONCE, _MOST_AT_ONCE))
    predicted = predict_rows(model, rows, structure, at_once)
    summaries = tuple(
        summarize(array, name=_name(outputs, i), row_order_known=False)
        for i, array in enumerate(predicted)
    )
    functions = loss_functions(model, outputs)
    pairing = []
    for index, (target, prediction) in enumerate(zip(stream.sampled_targets, predicted)):
        if target is not None and index < len(losses):
            function = at(functions, index)
            output = at(outputs, index)
            paired = pair(
                index, target[:PREDICTED_ROWS], prediction, losses[index], output, function
            )
            if losses[index].adds_up and paired.loss is not None and stream.batch_size:
                of_a_batch = paired.loss * stream.batch_size / paired.rows
                paired = dataclasses.replace(paired, loss=of_a_batch)
            pairing.append(paired)
    return Predictions(summaries=summaries, pairing=tuple(pairing))


def _name(outputs: Sequence[OutputRecord], index: int) -> str:
    return outputs[index].name if index < len(outputs) else f"output_{index}"


def pair(
    index: int,
    target: NDArray[Any],
    prediction: NDArray[Any],
    loss: LossRecord,
    output: OutputRecord | None = None,
    function: Callable[..., Any] | None = None,
) -> TargetPairing:
    """Compare predictions with the targets of the same rows."""
    found: dict[str, Any] = {}
    if target.dtype.kind in "biuf" and prediction.dtype.kind in "biuf":
        known, answers = _without_ignored(target, prediction, loss)
        decided = _decide(known, answers, loss)
        if decided is not None:
            found |= _classification(*decided, answers)
        elif known.size == answers.size:
            shaped: NDArray[Any] = known.reshape(answers.shape)
            found["r2"], found["column_r2"] = _r2(shaped, answers), _column_r2(shaped, answers)
        if function is not None:
            with contextlib.suppress(Exception):  # shapes Keras itself would refuse
                found["loss"] = float(function(target, prediction))
    return TargetPairing(output=index, rows=len(target), **found)


def _without_ignored(
    target: NDArray[Any], prediction: NDArray[Any], loss: LossRecord
) -> tuple[NDArray[Any], NDArray[Any]]:
    if loss.ignored_target is None:
        return target, prediction
    (known,) = with_gaps([target], [loss])
    if target.ndim > 1 and 1 < target.shape[-1] == prediction.shape[-1]:
        return known, prediction
    known = known.reshape(-1)
    keep = np.isfinite(known)
    return known[keep], prediction.reshape(len(known), -1)[keep]


def with_gaps(targets: Sequence[NDArray[Any] | None], losses: Sequence[LossRecord]) -> list[Any]:
    """The targets of every output, NaN where its loss leaves them out."""
    ignored = [loss.ignored_target for loss in losses]
    return [
        target
        if target is None or (value := at(ignored, i)) is None
        else np.where(target == value, np.nan, target)
        for i, target in enumerate(targets)
    ]


def _decide(
    target: NDArray[Any], prediction: NDArray[Any], loss: LossRecord
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """True and decided classes, or None when the targets are not classes."""
    units = prediction.shape[-1] if prediction.ndim > 1 else 1
    finite = target[np.isfinite(target)]
    if not finite.size or not np.all(finite == np.round(finite)):
        return None
    classes = any(part in loss.name for part in _CLASSIFICATION)
    values = np.unique(finite)
    if units == 1:
        if len(values) > 2 or (not classes and not set(values) <= {-1.0, 0.0, 1.0}):
            return None
        if target.size != prediction.size:
            return None
        middle = 0.0 if loss.from_logits or "hinge" in loss.name else float(values.mean())
        truth = target.reshape(-1) > values.mean() if len(values) == 2 else target.reshape(-1) > 0
        return truth.astype(int), (prediction.reshape(-1) > middle).astype(int)
    if target.shape == prediction.shape:
        flat = target.reshape(-1, units)
        if np.all(flat.sum(axis=1) == 1) and set(values) <= {0.0, 1.0}:
            return flat.argmax(axis=1), prediction.reshape(-1, units).argmax(axis=1)
        return None
    if target.size * units == prediction.size and classes:
        return target.reshape(-1).astype(np.int64), prediction.reshape(-1, units).argmax(axis=1)
    return None


def _classification(
    truth: NDArray[Any], decided: NDArray[Any], prediction: NDArray[Any]
) -> dict[str, Any]:
    _, counts = np.unique(truth, return_counts=True)
    wrong = truth != decided
    units = prediction.shape[-1] if prediction.ndim > 1 else 1
    flat = prediction.reshape(-1, units)
    extreme = (np.minimum(np.abs(flat), np.abs(1 - flat)) < 1e-6).all(axis=1)
    return {
        "error_rate": float(wrong.mean()),
        "chance_error_rate": float(1 - counts.max() / counts.sum()),
        "saturated_wrong": float((wrong & extreme).mean()),
        "predicted_classes": len(np.unique(decided)),
    }


def _r2(target: NDArray[Any], prediction: NDArray[Any]) -> float | None:
    keep = np.isfinite(target)
    with np.errstate(over="ignore", invalid="ignore"):
        variance = float(np.var(target[keep])) if keep.any() else 0.0
        residual = float(np.mean(np.square(target[keep] - prediction[keep]))) if keep.any() else 0.0
    return None if variance == 0 else 1.0 - residual / variance


def _column_r2(target: NDArray[Any], prediction: NDArray[Any]) -> tuple[float, ...]:
    columns = target.shape[-1] if target.ndim > 1 else 1
    if not 1 < columns <= _MOST_COLUMNS:
        return ()
    each = zip(target.reshape(-1, columns).T, prediction.reshape(-1, columns).T)
    return tuple(r2 for column in each if (r2 := _r2(*column)) is not None)


def with_baselines(
    model: keras.Model,
    losses: Sequence[LossRecord],
    outputs: Sequence[OutputRecord],
    stream: DataStream,
    batch_size: int | None,
) -> tuple[LossRecord, ...]:
    """Add to each loss its value for the best constant prediction and for perfect ones, on a batch
    of `batch_size` where it adds examples up."""
    functions = loss_functions(model, outputs)
    found = []
    for index, loss in enumerate(losses):
        target = at(stream.sampled_targets, index)
        function = at(functions, index)
        if target is None or function is None or index >= len(outputs):
            found.append(loss)
            continue
        weights = stream.sampled_weights if len(losses) == 1 else None
        baseline = floor = None
        # A loss that refuses these targets has no baseline; the contract rules say why.
        with contextlib.suppress(Exception):
            baseline = constant_baseline(
                function, target, outputs[index], bool(loss.from_logits), weights
            )
        with contextlib.suppress(Exception):
            floor = loss_floor(function, target, outputs[index], loss)
        value, constant = baseline if baseline else (None, ())
        adds_up, ignored = False, None
        if loss.custom:
            some = target[:BASELINE_ROWS]
            ignored = ignored_target(function, some, prediction_shape(some, outputs[index]))
        with contextlib.suppress(Exception):
            few = target[:_FEWEST_AT_ONCE]
            anything = np.full(prediction_shape(few, outputs[index]), 0.3, dtype=np.float32)
            adds_up = adds_examples_up(function, few, anything)
        if adds_up and batch_size:
            share = batch_size / min(len(target), BASELINE_ROWS)
            value, floor = (None if x is None else x * share for x in (value, floor))
        found.append(
            dataclasses.replace(
                loss,
                baseline=value,
                baseline_prediction=constant,
                floor=floor,
                adds_up=adds_up,
                ignored_target=ignored,
            )
        )
    return tuple(found)


def measure_activations(
    model: keras.Model, record: ModelRecord, inputs: Sequence[NDArray[Any]]
) -> tuple[ActivationRecord, ...]:
    """What the activated hidden layers of a functional graph put out for sampled rows."""
    graph = getattr(model, "_functional", None) or model
    if not record.graph_known or not hasattr(graph, "operations"):
        return ()
    operations = [
        operation
        for operation in graph.operations
        if _activation_of(record, operation.name) not in (None, "linear", "softmax")
        and len(keras.tree.flatten(operation.output)) == 1
    ][:_PROBED_LAYERS]
    if not operations:
        return ()
    # An explicit name keeps Keras' counter of automatic names where it was.
    outputs = [operation.output for operation in operations]
    probe = keras.Function(list(graph.inputs), outputs, name="lossdoctor_probe")
    layers = [
        _ActivationStream(operation.name, _activation_of(record, operation.name))
        for operation in operations
    ]
    entries = sum(math.prod(filter(None, output.shape)) for output in outputs)
    at_once = max(1, _ENTRIES_AT_ONCE // entries)
    rows = min(_PROBED_ROWS, len(inputs[0]))
    with untouched(model):
        for start in range(0, rows, at_once):
            few = slice(start, min(start + at_once, rows))
            batch = [keras.ops.convert_to_tensor(array[few]) for array in inputs]
            for layer, values in zip(layers, probe(batch)):
                layer.update(np.asarray(values, dtype=np.float32))
    return tuple(layer.record() for layer in layers)


def _activation_of(record: ModelRecord, name: str) -> str | None:
    return next((layer.activation for layer in record.layers if layer.name == name), None)


class _ActivationStream:
    """Statistics of one layer's outputs, which may be too large to hold for all rows at once."""

    def __init__(self, layer: str, activation: str | None) -> None:
        self.layer, self.activation = layer, activation
        self._values = TensorStream(layer)
        self._tails = _SATURATING.get(activation or "")
        self._entries = self._saturated = 0

    def update(self, values: NDArray[Any]) -> None:
        self._values.update(values)
        self._entries += values.size
        if self._tails is not None:
            low, high = self._tails
            self._saturated += int(np.count_nonzero((values <= low) | (values >= high)))

    def record(self) -> ActivationRecord:
        found = self._values.summary(None, row_order_known=False)
        return ActivationRecord(
            layer=self.layer,
            activation=self.activation,
            rows=found.rows,
            mean=found.mean,
            std=found.std,
            saturated_fraction=None if self._tails is None else self._saturated / self._entries,
            finite=not self._values.has_non_finite,
        )

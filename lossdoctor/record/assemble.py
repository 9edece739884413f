"""Put together the record of a run from what the recorder measured."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import platform
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from lossdoctor.record.compiled import snapshot_losses, snapshot_metrics, snapshot_optimizer
from lossdoctor.record.measure import (
    Predictions,
    measure_activations,
    measure_predictions,
    with_baselines,
)
from lossdoctor.record.mirror import BatchMirror
from lossdoctor.record.probes import probe_data
from lossdoctor.record.recorder import Recorder, brief
from lossdoctor.record.run import (
    CallbackRecord,
    DataRecord,
    FitRecord,
    History,
    LossRecord,
    ModelRecord,
    NonFiniteOrigin,
    OptimizerRecord,
    OutputRecord,
    RunRecord,
    StepSeries,
    UnitSeries,
    VariableSeries,
)
from lossdoctor.record.snapshot import leaf_layers, snapshot_model
from lossdoctor.record.stream import DataStream


def versions() -> dict[str, str]:
    """The versions a record was made with."""
    found = {"python": platform.python_version()}
    for name in ("lossdoctor", "keras", "tensorflow", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _other_callbacks() -> tuple[CallbackRecord, ...] | None:
    """The callbacks of the run, read off the `CallbackList` that is calling us: Keras tells a
    callback nothing about its neighbors. None where no such list is found."""
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList):
            return tuple(_callback_record(callback) for callback in caller.callbacks)
        frame = frame.f_back
    return None


def _callback_record(callback: Any) -> CallbackRecord:
    config = {
        name: value
        for name, value in vars(callback).items()
        if not name.startswith("_") and isinstance(value, (bool, int, float, str, type(None)))
    }
    return CallbackRecord(class_name=type(callback).__name__, config=config)


class RunAssembler:
    """Opened when training begins, turned into a `RunRecord` when it ends.

    Args:
        model: The compiled, built model, before its first step.
        params: What Keras tells callbacks: `epochs`, `steps`.
    """

    def __init__(self, model: keras.Model, params: dict[str, Any]) -> None:
        self.model = model
        self.structure: ModelRecord | None = None
        epochs, steps = params.get("epochs"), params.get("steps")
        self.planned_steps = epochs * steps if epochs and steps else None
        self.optimizer: OptimizerRecord | None = snapshot_optimizer(
            model.optimizer, self.planned_steps
        )
        self.fit = FitRecord(
            epochs=epochs,
            steps_per_epoch=steps,
            run_eagerly=bool(model.run_eagerly),
            jit_compile=bool(model.jit_compile),
            steps_per_execution=int(model.steps_per_execution),
            dtype_policy=model.dtype_policy.name,
            callbacks=_other_callbacks(),
        )
        self._logs: list[dict[str, float]] = []
        self._epochs: list[int] = []
        self._rates: list[float] = []
        self._penalties: list[float] = []

    def open(self) -> None:
        """Describe the model once it is built, before its first update."""
        if self.structure is None:
            self.structure = snapshot_model(self.model)

    def end_epoch(self, epoch: int, logs: dict[str, Any] | None) -> None:
        """Note an epoch's logs, its learning rate and the penalties at its end."""
        self._epochs.append(epoch)
        self._logs.append({k: float(v) for k, v in (logs or {}).items() if np.ndim(v) == 0})
        with contextlib.suppress(Exception):
            self._rates.append(float(np.asarray(self.model.optimizer.learning_rate)))
        with contextlib.suppress(Exception):
            self._penalties.append(self._penalty())

    def _penalty(self) -> float:
        if any(getattr(layer, "_losses", ()) for layer in self.model._flatten_layers()):
            raise ValueError("a term of add_loss has no value outside the step")
        regularized = [w for w in self.model.trainable_weights if getattr(w, "regularizer", None)]
        return float(sum(float(np.asarray(w.regularizer(w))) for w in regularized))

    def history(self) -> History:
        """The logs so far."""
        names = dict.fromkeys(name for logs in self._logs for name in logs)
        count = len(self._epochs)
        return History(
            epochs=np.array(self._epochs, dtype=np.int64),
            logs={
                name: np.array([logs.get(name, np.nan) for logs in self._logs]) for name in names
            },
            learning_rate=np.array(self._rates) if len(self._rates) == count else np.empty(0),
            penalty=np.array(self._penalties) if len(self._penalties) == count else np.empty(0),
        )

    def record(self, recorder: Recorder, *, stopped: str | None = None) -> RunRecord:
        """The record of everything up to now. What cannot be measured is noted, never raised."""
        missing = dict(recorder.not_recorded)
        self.open()
        assert self.structure is not None
        model = _with_traced_heads(self.structure, recorder)
        losses = snapshot_losses(self.model, model.outputs)
        train, validation = recorder.train_stream, recorder.validation_stream
        with noting(missing, "baselines"):
            losses = with_baselines(self.model, losses, model.outputs, train)
        train_record, activations = self._train_side(recorder, model, losses, missing)
        validation_record = None
        if validation.batches:
            predictions = _predictions(
                self.model, validation, recorder.validation_mirror, model, losses, missing
            )
            validation_record = dataclasses.replace(
                validation.record(row_order_known=True),
                predictions=predictions.summaries,
                pairing=predictions.pairing,
            )
        probes: dict[str, float] = {}
        with noting(missing, "data probes"):
            sides = (train_record, validation_record)
            probes = probe_data(
                train.sampled_inputs,
                train.sampled_targets,
                validation_inputs=validation.sampled_inputs,
                validation_targets=validation.sampled_targets,
                rows=train.rows,
                # Simple models tell why a run learned little; a run that learned need not wait.
                fit_models=any(_learned_little(side, losses) for side in sides if side),
            )
        shapes = [(None, *t.shape) for t in train_record.targets]
        metrics = None
        with noting(missing, "metrics"):
            metrics = snapshot_metrics(self.model, model.outputs, shapes)
        return RunRecord(
            source="run",
            versions=versions(),
            model=model,
            losses=losses,
            metrics=metrics,
            optimizer=self.optimizer,
            fit=dataclasses.replace(
                self.fit,
                batch_size=train.batch_size,
                has_validation=bool(validation.batches),
                sample_weight=train.weights is not None,
                completed_epochs=len(self._epochs),
                initial_epoch=self._epochs[0] if self._epochs else 0,
                stopped=stopped,
            ),
            train=train_record,
            validation=validation_record,
            history=self.history() if self._epochs else None,
            steps=_step_series(recorder),
            variables=_variable_series(recorder),
            units=_unit_series(recorder),
            activations=activations,
            non_finite=_origin(recorder, self.structure),
            probes=probes,
            not_recorded=missing,
        )

    def _train_side(
        self,
        recorder: Recorder,
        model: ModelRecord,
        losses: tuple[LossRecord, ...],
        missing: dict[str, str],
    ) -> tuple[DataRecord, tuple[Any, ...]]:
        stream = recorder.train_stream
        predictions = _predictions(
            self.model, stream, recorder.train_mirror, model, losses, missing
        )
        activations: tuple[Any, ...] = ()
        inputs = [rows for rows in stream.sampled_inputs if rows is not None]
        if inputs and len(inputs) == len(stream.sampled_inputs):
            with noting(missing, "activations"):
                activations = measure_activations(self.model, model, inputs)
        record = dataclasses.replace(
            stream.record(), predictions=predictions.summaries, pairing=predictions.pairing
        )
        return record, activations


_LEARNED_LITTLE = 0.6
"""From this share of a constant prediction's loss on, 98 % of sound runs end below (see
`HighLearningRate.remaining`)."""


def _learned_little(side: DataRecord, losses: tuple[LossRecord, ...]) -> bool:
    for pairing in side.pairing:
        loss = losses[pairing.output]
        if pairing.loss is not None and loss.baseline is not None:
            floor = loss.floor or 0.0
            if not pairing.loss - floor <= _LEARNED_LITTLE * (loss.baseline - floor):
                return True
    return False


@contextlib.contextmanager
def noting(missing: dict[str, str], what: str) -> Iterator[None]:
    """Note in `missing` why `what` could not be measured, and go on."""
    try:
        yield
    except Exception as error:
        missing.setdefault(what, f"could not be measured ({brief(error)})")


def _predictions(
    model: keras.Model,
    stream: DataStream,
    mirror: BatchMirror | None,
    record: ModelRecord,
    losses: tuple[LossRecord, ...],
    missing: dict[str, str],
) -> Predictions:
    if mirror is None or not mirror.complete:
        missing["predictions"] = "the inputs are not plain dense tensors, or were not seen"
        return Predictions()
    with noting(missing, "predictions"):
        return measure_predictions(model, stream, mirror.structure, record.outputs, losses)
    return Predictions()


def _with_traced_heads(model: ModelRecord, recorder: Recorder) -> ModelRecord:
    """Fill in, from the traced step, the outputs the layer graph does not tell."""
    heads = list(zip(recorder.traced_heads, recorder.traced_shapes))
    if not model.outputs:
        outputs = [
            OutputRecord(name=f"output_{i}" if len(heads) > 1 else "output", shape=shape)
            for i, (_, shape) in enumerate(heads)
        ]
    else:
        outputs = list(model.outputs)
    for i, ((activation, inner, axis_size), _) in enumerate(heads[: len(outputs)]):
        if outputs[i].activation is None and activation is not None:
            outputs[i] = dataclasses.replace(
                outputs[i],
                activation=activation,
                inner_activation=inner,
                activation_source="graph",
                softmax_axis_size=axis_size,
            )
    return dataclasses.replace(model, outputs=tuple(outputs))


def _step_series(recorder: Recorder) -> StepSeries | None:
    if not recorder.steps:
        return None
    rows = np.concatenate(recorder.steps)
    flags = rows[:, 5:9].astype(bool)
    scaled = hasattr(recorder.optimizer, "dynamic_scale")
    return StepSeries(
        step=rows[:, 0].astype(np.int64),
        epoch=rows[:, 1].astype(np.int64),
        loss=rows[:, 2],
        learning_rate=rows[:, 3],
        gradient_norm=rows[:, 4],
        inputs_finite=flags[:, 0],
        targets_finite=flags[:, 1],
        predictions_finite=flags[:, 2],
        gradients_finite=flags[:, 3],
        skipped=~flags[:, 3] if scaled else np.zeros(len(rows), dtype=bool),
        total_steps=recorder.step,
        epoch_loss_std=np.array(recorder.epoch_loss_std),
    )


def _variable_series(recorder: Recorder) -> VariableSeries | None:
    details = [d for d in recorder.details if d.gradient is not None]
    if not details:
        return None
    layers, depth = _owners(recorder)
    return VariableSeries(
        paths=tuple(v.path for v in recorder.variables),
        layers=tuple(layers),
        roles=tuple(v.name for v in recorder.variables),
        sizes=tuple(int(np.prod(v.shape)) for v in recorder.variables),
        depth=tuple(depth),
        connected=tuple(recorder.connected),
        step=np.array([d.step for d in details]),
        gradient_norm=np.stack([_array(d.gradient) for d in details]),
        weight_norm=np.stack([d.weight for d in details]),
        update_norm=np.stack([d.update for d in details]),
        gradient_zero_fraction=np.stack([d.zeros for d in details]),
        curvature=np.array([d.curvature for d in details]),
        curvature_norm=np.array([d.curvature_norm for d in details]),
    )


def _array(values: NDArray[Any] | None) -> NDArray[Any]:
    assert values is not None
    return values


def _owners(recorder: Recorder) -> tuple[list[str], list[int]]:
    """The layer each variable belongs to, and its place among the layers with variables."""
    owner = {
        id(variable): layer.name
        for layer in leaf_layers(recorder.model)
        for variable in layer.trainable_variables
    }
    names = [owner.get(id(v), v.path.rpartition("/")[0]) for v in recorder.variables]
    order = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return names, [order[name] for name in names]


def _unit_series(recorder: Recorder) -> UnitSeries | None:
    if not recorder.dead_units:
        return None
    return UnitSeries(
        layers=tuple(u.layer for u in recorder.units),
        units=tuple(u.units for u in recorder.units),
        epoch=np.array([epoch for epoch, _ in recorder.dead_units]),
        dead_fraction=np.stack([dead for _, dead in recorder.dead_units]),
    )


def _origin(recorder: Recorder, initial: ModelRecord) -> NonFiniteOrigin | None:
    if recorder.first_bad is None:
        return None
    for layer in initial.layers:
        if any(not np.isfinite(weight.mean) for weight in layer.weights):
            return NonFiniteOrigin(epoch=0, step=0, source="weights", layer=layer.name)
    epoch, step, (loss, inputs, targets, outputs), gradients = recorder.first_bad
    bad = np.flatnonzero(~np.isfinite(gradients) & np.asarray(recorder.connected))
    variable = recorder.variables[bad[-1]].path if len(bad) else None
    where: dict[str, Any] = {"epoch": epoch, "step": step, "variable": variable}
    if not np.isfinite(inputs):
        return NonFiniteOrigin(source="inputs", **where)
    if not np.isfinite(targets):
        return NonFiniteOrigin(source="targets", **where)
    if not np.isfinite(outputs):
        return NonFiniteOrigin(source="forward", **where)
    if not np.isfinite(loss):
        weights = recorder.train_stream.weights
        source = "sample_weight" if weights and weights.has_non_finite else "loss"
        return NonFiniteOrigin(source=source, **where)  # type: ignore[arg-type]
    return NonFiniteOrigin(source="gradients", **where)

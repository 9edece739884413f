"""Put together the record of a run from what the recorder measured."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import platform
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import keras
import numpy as np

from lossdoctor.record.compiled import snapshot_losses, snapshot_metrics, snapshot_optimizer
from lossdoctor.record.epochs import EpochLog, extended
from lossdoctor.record.lifetime import RunningFit
from lossdoctor.record.measure import (
    measure_activations,
    measure_predictions,
    with_baselines,
    with_gaps,
)
from lossdoctor.record.memory import probe_memory
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
    OptimizerRecord,
    OutputRecord,
    RunRecord,
)
from lossdoctor.record.series import (
    non_finite_origin,
    step_series,
    unit_series,
    variable_series,
)
from lossdoctor.record.snapshot import snapshot_model
from lossdoctor.record.stream import DataStream


def versions() -> dict[str, str]:
    """The versions a record was made with."""
    found = {"python": platform.python_version()}
    for name in ("lossdoctor", "keras", "tensorflow", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _number(value: Any) -> float | None:
    with contextlib.suppress(Exception):
        return float(np.asarray(value)) if np.ndim(value) == 0 else None
    return None


def _callback_record(callback: Any) -> CallbackRecord:
    config: dict[str, Any] = {}
    with contextlib.suppress(Exception):
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
        fit: The call of `fit`, where there is one.
    """

    def __init__(
        self,
        model: keras.Model,
        params: dict[str, Any],
        fit: RunningFit | None = None,
    ) -> None:
        self.model = model
        self.structure: ModelRecord | None = None
        epochs, steps = params.get("epochs"), params.get("steps")
        callbacks = fit.callbacks.callbacks if fit and fit.callbacks else None
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
            callbacks=None if callbacks is None else tuple(map(_callback_record, callbacks)),
            **(fit.settings if fit else {}),
        )
        self._described: _Data | None = None
        self.epochs: list[EpochLog] = []

    @property
    def completed_epochs(self) -> int:
        """How many epochs have ended."""
        return len(self.epochs)

    def open(self) -> None:
        """Describe the model once it is built, before its first update."""
        if self.structure is None:
            self.structure = snapshot_model(self.model)

    def end_epoch(self, epoch: int, logs: dict[str, Any] | None) -> None:
        """Note an epoch's logs, its learning rate and the penalties at its end."""
        numbers = ((name, _number(value)) for name, value in (logs or {}).items())
        self.epochs.append(
            EpochLog(
                epoch=epoch,
                logs={str(name): number for name, number in numbers if number is not None},
                learning_rate=_number(getattr(self.model.optimizer, "learning_rate", None)),
                penalty=self._penalty(),
            )
        )

    def _penalty(self) -> float | None:
        """The sum of the regularizers; None where terms of `add_loss`, which have no value outside
        the step, or a regularizer of the user's own stand in the way."""
        with contextlib.suppress(Exception):
            if not any(getattr(layer, "_losses", ()) for layer in self.model._flatten_layers()):
                weights = self.model.trainable_weights
                regularized = [w for w in weights if getattr(w, "regularizer", None)]
                return float(sum(float(np.asarray(w.regularizer(w))) for w in regularized))
        return None

    def configuration(self) -> RunRecord:
        """What is known before the first step: the built model and what it was compiled with."""
        self.open()
        assert self.structure is not None
        return RunRecord(
            source="config",
            versions=versions(),
            model=self.structure,
            losses=snapshot_losses(self.model, self.structure.outputs),
            optimizer=self.optimizer,
            fit=self.fit,
        )

    def record(
        self, recorder: Recorder, *, stopped: str | None = None, measure: bool = True
    ) -> RunRecord:
        """The record of everything up to now. What cannot be measured is noted, never raised.

        Args:
            recorder: What has been recorded of the steps.
            stopped: Why training ended early, if it did.
            measure: Also run the model on sampled rows and fit simple models to them. Without, the
                record is cheap enough to be made after every epoch.
        """
        self.open()
        assert self.structure is not None
        model = _with_traced(self.structure, recorder)
        data = self._data(model, recorder)
        missing = dict(recorder.not_recorded)
        measured: dict[str, Any] = {}
        if measure:
            data, measured = self._measured(model, data, recorder, missing)
        else:
            missing["predictions"] = "predictions are only measured when training ends"
        shapes = [(None, *t.shape) for t in data.train.targets]
        metrics = None
        with noting(missing, "metrics"):
            metrics = snapshot_metrics(self.model, model.outputs, shapes)
        return RunRecord(
            source="run",
            versions=versions(),
            model=model,
            losses=data.losses,
            metrics=metrics,
            optimizer=self.optimizer,
            fit=dataclasses.replace(
                self.fit,
                batch_size=data.train.batch_size,
                has_validation=data.validation is not None,
                sample_weight=data.train.sample_weight is not None,
                completed_epochs=self.completed_epochs,
                initial_epoch=self.epochs[0].epoch if self.epochs else 0,
                stopped=stopped,
            ),
            train=data.train,
            validation=data.validation,
            history=extended(History(), self.epochs) if self.epochs else None,
            steps=step_series(recorder),
            variables=variable_series(recorder),
            units=unit_series(recorder),
            non_finite=non_finite_origin(recorder, self.structure),
            not_recorded=missing,
            **measured,
        )

    def _data(self, model: ModelRecord, recorder: Recorder) -> _Data:
        """The data seen so far and the losses' baselines on them, made anew only for new data."""
        train, validation = recorder.train_stream, recorder.validation_stream
        seen = train.batches, validation.batches
        if self._described is None or self._described.batches != seen:
            losses: tuple[LossRecord, ...] = ()
            if "the loss" not in recorder.not_recorded:
                losses = snapshot_losses(self.model, model.outputs)
            with noting(recorder.not_recorded, "baselines"):
                losses = with_baselines(self.model, losses, model.outputs, train, train.batch_size)
            self._described = _Data(
                batches=seen,
                losses=losses,
                train=train.record(),
                validation=validation.record(row_order_known=True) if seen[1] else None,
            )
        return self._described

    def _measured(
        self, model: ModelRecord, data: _Data, recorder: Recorder, missing: dict[str, str]
    ) -> tuple[_Data, dict[str, Any]]:
        """Add to `data` the predictions; and the other fields of a record that need the live
        model, or simple ones fitted to its data."""
        train, validation = recorder.train_stream, recorder.validation_stream
        predict = functools.partial(
            _with_predictions, model=self.model, record=model, losses=data.losses, missing=missing
        )
        data = dataclasses.replace(
            data,
            train=predict(data.train, train, recorder.train_mirror),
            validation=data.validation
            and predict(data.validation, validation, recorder.validation_mirror),
        )
        fields: dict[str, Any] = {}
        inputs = [rows for rows in train.sampled_inputs if rows is not None]
        if inputs and len(inputs) == len(train.sampled_inputs):
            with noting(missing, "activations"):
                fields["activations"] = measure_activations(self.model, model, inputs)
        # Simple models tell why a run learned little; a run that learned need not wait. What was
        # learned by heart looks the same where nothing is held out.
        in_doubt = data.validation is None or any(
            _learned_little(side, data.losses) for side in (data.train, data.validation)
        )
        if not in_doubt:
            missing["simple models"] = "fitted after runs that learned little; this one learned"
        with noting(missing, "data probes"):
            fields["probes"] = probe_data(
                train.sampled_inputs,
                with_gaps(train.sampled_targets, data.losses),
                validation_inputs=validation.sampled_inputs,
                validation_targets=with_gaps(validation.sampled_targets, data.losses),
                rows=train.rows,
                fit_models=in_doubt,
            )
        if in_doubt:
            with noting(missing, "gradients by time step"):
                fields["probes"] |= probe_memory(
                    self.model, model, train.sampled_inputs, train.sampled_targets
                )
        return data, fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Data:
    """Both sides of the data after so many `batches` of each, and the losses measured on them."""

    batches: tuple[int, int]
    losses: tuple[LossRecord, ...]
    train: DataRecord
    validation: DataRecord | None


_LEARNED_LITTLE = 0.3
"""Share of a constant prediction's loss: half of what 98 % of sound runs end below (see
`HighLearningRate.remaining`), as a model too small for its task gets that far, too."""


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


def _with_predictions(
    side: DataRecord,
    stream: DataStream,
    mirror: BatchMirror | None,
    *,
    model: keras.Model,
    record: ModelRecord,
    losses: tuple[LossRecord, ...],
    missing: dict[str, str],
) -> DataRecord:
    if mirror is None or not mirror.complete:
        missing["predictions"] = "the inputs are not plain dense tensors, or were not seen"
        return side
    with noting(missing, "predictions"):
        found = measure_predictions(model, stream, mirror.structure, record.outputs, losses)
        return dataclasses.replace(side, predictions=found.summaries, pairing=found.pairing)
    return side


def _with_traced(model: ModelRecord, recorder: Recorder) -> ModelRecord:
    """Fill in, from the traced step, what the layer graph does not tell."""
    heads = list(zip(recorder.traced_heads, recorder.traced_shapes))
    if not model.outputs:
        outputs = [
            OutputRecord(name=f"output_{i}" if len(heads) > 1 else "output", shape=shape)
            for i, (_, shape) in enumerate(heads)
        ]
    else:
        outputs = list(model.outputs)
    as_built = len(heads) == len(outputs)
    for i, ((activation, inner, axis_size), _) in enumerate(heads[: len(outputs)]):
        as_built &= outputs[i].activation in (None, activation)
        if outputs[i].activation is None and activation is not None:
            outputs[i] = dataclasses.replace(
                outputs[i],
                activation=activation,
                inner_activation=inner,
                activation_source="graph",
                softmax_axis_size=axis_size,
            )
    return dataclasses.replace(
        model,
        outputs=tuple(outputs),
        compares_all_pairs=recorder.compares_all_pairs,
        # What a step does to predictions before it judges them shows at the heads.
        applies_compiled_loss=as_built and recorder.applies_compiled_loss,
        logs_stale_loss=recorder.logs_stale_loss,
    )

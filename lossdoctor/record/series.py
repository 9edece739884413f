"""What the recorder read from the steps, as the series a record holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossdoctor.record.gradients import skips_steps
from lossdoctor.record.recorder import Recorder
from lossdoctor.record.replay import Replay
from lossdoctor.record.run import (
    ModelRecord,
    NonFiniteOrigin,
    StepSeries,
    UnitSeries,
    VariableSeries,
)
from lossdoctor.record.snapshot import leaf_layers


def step_series(recorder: Recorder) -> StepSeries | None:
    if not recorder.steps:
        return None
    rows = np.concatenate(recorder.steps)
    flags = rows[:, 5:9].astype(bool)
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
        skipped=~flags[:, 3] & skips_steps(recorder.optimizer),
        total_steps=recorder.step,
        epoch_loss_std=np.array(recorder.epoch_loss_std),
    )


def variable_series(recorder: Recorder) -> VariableSeries | None:
    details = recorder.details
    if not recorder.connected or (not details and any(recorder.connected)):
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
        gradient_norm=_stacked([d.gradient for d in details], recorder),
        weight_norm=_stacked([d.weight for d in details], recorder),
        update_norm=_stacked([d.update for d in details], recorder),
        gradient_zero_fraction=_stacked([d.zeros for d in details], recorder),
        curvature=np.array([d.curvature for d in details]),
        curvature_norm=np.array([d.curvature_norm for d in details]),
    )


def _stacked(rows: Sequence[NDArray[Any]], recorder: Recorder) -> NDArray[Any]:
    return np.stack(rows) if rows else np.empty((0, len(recorder.variables)))


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


def unit_series(recorder: Recorder) -> UnitSeries | None:
    if not recorder.dead_units:
        return None
    return UnitSeries(
        layers=tuple(u.layer for u in recorder.units),
        units=tuple(u.units for u in recorder.units),
        epoch=np.array([epoch for epoch, _ in recorder.dead_units]),
        dead_fraction=np.stack([dead for _, dead in recorder.dead_units]),
    )


def non_finite_origin(recorder: Recorder, initial: ModelRecord) -> NonFiniteOrigin | None:
    if recorder.first_bad is None:
        return None
    for layer in initial.layers:
        if any(not np.isfinite(weight.mean) for weight in layer.weights):
            return NonFiniteOrigin(epoch=0, step=0, source="weights", layer=layer.name)
    epoch, step, loss, look = recorder.first_bad
    inputs, targets, outputs = (0.0, 0.0, 0.0) if look is None else look.data
    bad = np.flatnonzero([] if look is None else ~np.isfinite(look.gradient) & look.connected)
    seen = recorder.replayed
    if seen is None or seen.step != step:
        seen = Replay(step=step)
    source: Any = seen.source
    if source is None:
        # A train_step that computes its loss itself shows no outputs.
        forward = np.nan if seen.layer else outputs
        flags = {"inputs": inputs, "targets": targets, "forward": forward, "loss": loss}
        source = next((s for s, value in flags.items() if not np.isfinite(value)), "gradients")
    return NonFiniteOrigin(
        epoch=epoch,
        step=step,
        source=source,
        # Gradients are computed from the last variable to the first.
        variable=recorder.variables[bad[-1]].path if len(bad) else None,
        layer=seen.layer,
        detail=seen.detail if source in (seen.source, "forward") else "",
    )

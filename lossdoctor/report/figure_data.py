"""What each picture shows, as plain numbers: pure functions of a record, None where it has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossdoctor.finding import Finding, Onset
from lossdoctor.record.run import DataRecord, RunRecord, TensorSummary, VariableSeries

Floats = NDArray[np.float64]

MAX_BARS = 20
MAX_COLUMNS = 120
MAX_CLASSES = 40


@dataclass(frozen=True, kw_only=True)
class LossCurves:
    """Losses and learning rate over epochs, counted from 1.

    `batch_epoch` and `batch_loss` are the sampled steps' own losses, placed at the end of the
    share of the epoch that was done. `onsets` are epochs at which findings first showed.
    `non_finite` is the first epoch whose loss is NaN or infinite, after which there is little to
    see: `end` is the last epoch worth showing.
    """

    epoch: Floats
    curves: dict[str, Floats]
    batch_epoch: Floats
    batch_loss: Floats
    learning_rate: Floats
    baseline: float | None
    onsets: tuple[tuple[float, str], ...]
    non_finite: float | None
    end: float
    logarithmic: bool


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """A quantity per layer (rows, from the input on) and sampled step (columns), as log10."""

    layers: tuple[str, ...]
    step: NDArray[np.int64]
    values: Floats


@dataclass(frozen=True, kw_only=True)
class UpdateBand:
    """Median, smallest and largest update ratio of the layers at each sampled step."""

    step: NDArray[np.int64]
    low: Floats
    median: Floats
    high: Floats


@dataclass(frozen=True, kw_only=True)
class FeatureScales:
    """Spread and offset of input features, the most extreme ones when there are many."""

    names: tuple[str, ...]
    std: Floats
    offset: Floats
    """|mean| of each feature."""
    left_out: int


@dataclass(frozen=True, kw_only=True)
class ClassShares:
    """How often each class occurs, as shares of the examples."""

    classes: tuple[str, ...]
    train: Floats
    validation: Floats | None


@dataclass(frozen=True, kw_only=True)
class UnitShares:
    """Per layer the share of units that are dead, and of outputs that are saturated."""

    layers: tuple[str, ...]
    dead: Floats
    saturated: Floats


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Validation features in units of training, where all would be 0 ± 1; most shifted first."""

    names: tuple[str, ...]
    mean: Floats
    std: Floats


def loss_curves(record: RunRecord, findings: Sequence[Finding] = ()) -> LossCurves | None:
    """Training and validation loss with what they are judged by."""
    history = record.history
    if history is None or not len(history.epochs):
        return None
    curves: dict[str, Floats] = {
        name: np.asarray(history.logs[name], dtype=float)
        for name in ("loss", "val_loss")
        if name in history.logs
    }
    if not curves:
        return None
    epoch = np.asarray(history.epochs, dtype=float) + 1
    batch_epoch, batch_loss = _batch_losses(record)
    bad = ~np.isfinite(next(iter(curves.values())))
    non_finite = float(epoch[bad][0]) if bad.any() else None
    last = float(epoch[-1])
    baseline = record.losses[0].baseline if len(record.losses) == 1 else None
    return LossCurves(
        epoch=epoch,
        curves=curves,
        batch_epoch=batch_epoch,
        batch_loss=batch_loss,
        learning_rate=_learning_rate(record, len(epoch)),
        baseline=baseline,
        onsets=tuple(
            dict.fromkeys(
                (_position(f.onset, record), f.title) for f in findings if f.onset is not None
            )
        ),
        non_finite=non_finite,
        end=last if non_finite is None else min(last, 1.2 * non_finite + 1),
        logarithmic=_spans_decades([*curves.values(), batch_loss]),
    )


def gradient_heat_map(record: RunRecord) -> HeatMap | None:
    """Root mean square gradient entry per layer and step."""
    series = record.variables
    if series is None:
        return None
    sizes = np.asarray(series.sizes, dtype=float)
    return _heat_map(series, series.gradient_norm, np.broadcast_to(np.sqrt(sizes), _shape(series)))


def update_heat_map(record: RunRecord) -> HeatMap | None:
    """Update ratio ‖Δw‖/‖w‖ per layer and step."""
    series = record.variables
    return None if series is None else _heat_map(series, series.update_norm, series.weight_norm)


def update_band(record: RunRecord) -> UpdateBand | None:
    """How large the updates are against the weights, over all layers."""
    heat = update_heat_map(record)
    if heat is None:
        return None
    ratios = np.where(np.isfinite(heat.values), 10.0**heat.values, np.nan)
    measured = np.isfinite(ratios).any(axis=0)
    if not measured.any():
        return None
    ratios = ratios[:, measured]
    return UpdateBand(
        step=heat.step[measured],
        low=np.nanmin(ratios, axis=0),
        median=np.nanmedian(ratios, axis=0),
        high=np.nanmax(ratios, axis=0),
    )


def feature_scales(record: RunRecord) -> FeatureScales | None:
    """Scale of the first input's features."""
    summary = _first_input(record.train)
    if summary is None or len(summary.feature_std) < 2:
        return None
    std = np.asarray(summary.feature_std, dtype=float)
    order = np.argsort(-np.nan_to_num(std), kind="stable")
    if len(order) > MAX_BARS:
        order = np.concatenate([order[: MAX_BARS // 2], order[-MAX_BARS // 2 :]])
    return FeatureScales(
        names=tuple(_feature_name(summary, index) for index in order),
        std=std[order],
        offset=np.abs(np.asarray(summary.feature_mean, dtype=float))[order],
        left_out=len(std) - len(order),
    )


def class_shares(record: RunRecord) -> ClassShares | None:
    """Class balance of the first output's targets."""
    train = _class_counts(record.train)
    if not train or len(train) > MAX_CLASSES:
        return None
    validation = _class_counts(record.validation)
    classes = sorted({*train, *validation})

    def shares(counts: dict[float, float]) -> Floats:
        total = sum(counts.values())
        return np.array([counts.get(name, 0.0) / total for name in classes])

    return ClassShares(
        classes=tuple(f"{name:g}" for name in classes),
        train=shares(train),
        validation=shares(validation) if validation else None,
    )


def unit_shares(record: RunRecord) -> UnitShares | None:
    """Dead units in the last recorded epoch and saturated outputs after training."""
    dead: dict[str, float] = {}
    if record.units is not None and len(record.units.epoch):
        dead = dict(zip(record.units.layers, map(float, record.units.dead_fraction[-1])))
    saturated: dict[str, float] = {}
    for activation in record.activations:
        dead.setdefault(activation.layer, activation.zero_units)
        if activation.saturated_fraction is not None:
            saturated[activation.layer] = activation.saturated_fraction
    layers = tuple(dict.fromkeys([*dead, *saturated]))
    if not layers:
        return None
    return UnitShares(
        layers=layers,
        dead=np.array([dead.get(layer, np.nan) for layer in layers]),
        saturated=np.array([saturated.get(layer, np.nan) for layer in layers]),
    )


def shift(record: RunRecord) -> Shift | None:
    """Features whose distribution differs most between training and validation."""
    train, validation = _first_input(record.train), _first_input(record.validation)
    if train is None or validation is None:
        return None
    means = np.asarray(train.feature_mean), np.asarray(validation.feature_mean)
    stds = np.asarray(train.feature_std), np.asarray(validation.feature_std)
    if not len(means[0]) or len(means[0]) != len(means[1]):
        return None
    scale = np.where(stds[0] > 0, stds[0], 1.0)
    mean, std = (means[1] - means[0]) / scale, stds[1] / scale
    distance = np.abs(mean) + np.abs(std - 1)
    order = np.argsort(-np.nan_to_num(distance), kind="stable")[:MAX_BARS]
    return Shift(
        names=tuple(_feature_name(train, index) for index in order),
        mean=mean[order],
        std=std[order],
    )


def _batch_losses(record: RunRecord) -> tuple[Floats, Floats]:
    per_epoch = _steps_per_epoch(record)
    if record.steps is None or per_epoch is None:
        return np.empty(0), np.empty(0)
    done = (np.asarray(record.steps.step, dtype=float) + 1) / per_epoch
    return _first_epoch(record) + done, np.asarray(record.steps.loss, dtype=float)


def _position(onset: Onset, record: RunRecord) -> float:
    """Where on the epoch axis a finding first showed: at its step, or at its epoch's end."""
    per_epoch = _steps_per_epoch(record)
    if onset.step is None or per_epoch is None:
        return onset.epoch + 1.0
    return _first_epoch(record) + (onset.step + 1) / per_epoch


def _steps_per_epoch(record: RunRecord) -> float | None:
    steps = record.steps
    if steps is None or not len(steps.step) or not steps.total_steps:
        return None
    epochs = float(np.max(steps.epoch)) - _first_epoch(record) + 1
    return max(1.0, steps.total_steps / epochs)


def _first_epoch(record: RunRecord) -> float:
    return float(np.min(record.steps.epoch)) if record.steps is not None else 0.0


def _learning_rate(record: RunRecord, epochs: int) -> Floats:
    if record.history is not None and len(record.history.learning_rate) == epochs:
        return np.asarray(record.history.learning_rate, dtype=float)
    rate = record.optimizer.learning_rate if record.optimizer else None
    constant = rate is not None and record.optimizer is not None and not record.optimizer.schedule
    return np.full(epochs, rate, dtype=float) if constant else np.empty(0)


def _spans_decades(curves: Sequence[Floats]) -> bool:
    finite = np.concatenate([curve[np.isfinite(curve)] for curve in curves])
    return bool(len(finite) and finite.min() > 0 and finite.max() > 30 * finite.min())


def _shape(series: VariableSeries) -> tuple[int, ...]:
    return np.shape(series.gradient_norm)


def _heat_map(series: VariableSeries, numerator: Floats, denominator: Floats) -> HeatMap | None:
    """log10 of the ratio of root sums of squares over the variables of each layer."""
    layers = tuple(dict.fromkeys(series.layers))
    if not layers or not len(series.step):
        return None
    member = np.array([[name == layer for layer in layers] for name in series.layers], dtype=float)
    columns = np.unique(np.linspace(0, len(series.step) - 1, MAX_COLUMNS).astype(int))
    with np.errstate(all="ignore"):
        top = np.square(np.asarray(numerator, dtype=float)[columns]) @ member
        bottom = np.square(np.asarray(denominator, dtype=float)[columns]) @ member
        values = 0.5 * np.log10(top / bottom).T
    return HeatMap(layers=layers, step=np.asarray(series.step)[columns], values=values)


def _first_input(data: DataRecord | None) -> TensorSummary | None:
    return data.inputs[0] if data is not None and data.inputs else None


def _feature_name(summary: TensorSummary, index: int) -> str:
    names = summary.feature_names
    return str(names[index]) if index < len(names) else f"feature {index}"


def _class_counts(data: DataRecord | None) -> dict[float, float]:
    if data is None or not data.targets:
        return {}
    targets = data.targets[0]
    if targets.one_hot_fraction > 0.99 and len(targets.argmax_counts):
        return {float(i): float(count) for i, count in enumerate(targets.argmax_counts)}
    if (
        targets.integral
        and len(targets.values)
        and len(targets.values) == len(targets.value_counts)
    ):
        return dict(zip(map(float, targets.values), map(float, targets.value_counts)))
    return {}

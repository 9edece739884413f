"""What each picture shows, as plain numbers: pure functions of a record, None where it has none.

Where a rule judges by the same numbers, they come from the same evidence, so that a picture never
contradicts the finding it stands with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._sound import sound_rows
from lossdoctor.evidence.baseline import Baseline
from lossdoctor.evidence.decisions import Decisions
from lossdoctor.evidence.distribution_shift import DistributionShift
from lossdoctor.evidence.gradient_flow import GradientFlow
from lossdoctor.evidence.gradient_growth import GradientGrowth
from lossdoctor.evidence.output_head import CROSS_ENTROPIES, NUMBER_LOSSES, LossFamily, OutputHeads
from lossdoctor.evidence.saturation import Saturation
from lossdoctor.evidence.step_size import StepSize
from lossdoctor.evidence.unit_activity import UnitActivity
from lossdoctor.evidence.weight_growth import WeightGrowth
from lossdoctor.finding import Finding, Onset
from lossdoctor.record.run import DataRecord, RunRecord, TensorSummary

Floats = NDArray[np.float64]

MAX_ROWS = 20
MAX_COLUMNS = 120
MAX_CLASSES = 40
MAX_LINES = 5
MAX_ONSETS = 3
USUAL_UPDATE = 1e-3
RESOLUTION = 2.0**-24
"""A smaller share of itself a float32 weight cannot move by."""
_SAME = 0.02
_DECADES = 30.0


class Reference(NamedTuple):
    """A value that curves are judged by, and what it is."""

    value: float
    label: str


@dataclass(frozen=True, kw_only=True)
class LossCurves:
    """Losses and learning rate over epochs (counted from 1), or over steps in a run that is over
    within two epochs: `x_label` says which.

    `batch_loss` are the sampled steps' own losses. `onsets` are where findings first showed.
    `non_finite` is where the loss first is NaN or infinite, after which there is little to see:
    `end` is the last place worth showing.
    """

    x_label: str
    x: Floats
    curves: dict[str, Floats]
    batch_x: Floats
    batch_loss: Floats
    learning_rate: Floats
    references: tuple[Reference, ...]
    onsets: tuple[Reference, ...]
    non_finite: float | None
    end: float
    logarithmic: bool


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Curves over `x`, the references they are judged by, and a band of (lowest, highest)."""

    x_label: str
    y_label: str
    x: Floats
    curves: dict[str, Floats]
    references: tuple[Reference, ...] = ()
    band: tuple[str, Floats, Floats] | None = None
    logarithmic: bool = False


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """A positive quantity per layer (rows, from the input on) and sampled step (columns)."""

    unit: str
    layers: tuple[str, ...]
    step: NDArray[np.int64]
    values: Floats


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Shares between 0 and 1 of each name, one series beside the other; NaN = not known."""

    label: str
    names: tuple[str, ...]
    series: dict[str, Floats]
    reference: Reference | None = None


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Where the values of each name lie: center, the bulk around it, and the extremes.

    `bulk` says what the inner interval is. `expected` is where they should lie.
    """

    label: str
    bulk: str
    names: tuple[str, ...]
    center: Floats
    inner: tuple[Floats, Floats]
    outer: tuple[Floats, Floats] | None = None
    expected: tuple[float, float, str] | None = None
    left_out: int = 0


def loss_curves(record: RunRecord, findings: Sequence[Finding] = ()) -> LossCurves | None:
    """Training and validation loss with what they are judged by."""
    history = record.history
    if history is None or not len(history.epochs):
        return None
    names = ("loss", "val_loss")
    curves = {n: np.asarray(history.logs[n], dtype=float) for n in names if n in history.logs}
    if not curves:
        return None
    if len(history.penalty) and np.any(history.penalty > 0):
        curves["of which penalties"] = np.asarray(history.penalty, dtype=float)
    broken = _first_non_finite(record, next(iter(curves.values())))
    axis = _Axis.of(record, broken)
    steps = record.steps
    batch_loss = np.asarray(steps.loss if steps else (), dtype=float)
    last = axis.at(Onset(epoch=int(history.epochs[-1])))
    non_finite = None if broken is None else axis.at(broken)
    return LossCurves(
        x_label=axis.label,
        x=np.array([axis.at(Onset(epoch=int(epoch))) for epoch in history.epochs]),
        curves=curves,
        batch_x=axis.of_steps(record),
        batch_loss=batch_loss if axis.per_epoch else np.empty(0),
        learning_rate=_learning_rate(record, len(history.epochs)),
        references=_loss_references(record),
        onsets=_onsets(findings, axis),
        non_finite=non_finite,
        end=last if non_finite is None else min(last, 1.2 * non_finite + 1),
        logarithmic=_spans_decades([*(curves[n] for n in names if n in curves), batch_loss]),
    )


def metric_curves(record: RunRecord) -> Lines | None:
    """The first metric on training and validation data; for an accuracy, what it stands against."""
    history = record.history
    logs = history.logs if history else {}
    names = [n for n in logs if n != "loss" and not n.startswith("val_") and "loss" not in n]
    if history is None or not names:
        return None
    name = next((n for n in names if "acc" in n), names[0])
    curves = {n: np.asarray(logs[n], dtype=float) for n in (name, f"val_{name}") if n in logs}
    references = []
    decisions = _of(Decisions, record) if "acc" in name else None
    if decisions is not None:
        chance = 1 - decisions.chance_error_rate
        references.append(Reference(chance, "always the most frequent class"))
        correct = 1 - decisions.error_rate
        if abs(correct - curves[name][-1]) > _SAME:
            references.append(Reference(correct, "examples really decided right"))
    return Lines(
        x_label="epoch",
        y_label=name.replace("_", " "),
        x=np.asarray(history.epochs, dtype=float) + 1,
        curves=curves,
        references=tuple(references),
    )


def gradient_heat_map(record: RunRecord) -> HeatMap | None:
    """Root mean square of the non-zero gradient entries, per layer and step."""
    flow = _of(GradientFlow, record)
    if flow is None:
        return None
    return _heat_map("root mean square gradient", flow.layers, flow.step, flow.scale)


def gradient_norm(record: RunRecord) -> Lines | None:
    """The global gradient norm over the sampled steps, against that of the first ones."""
    growth = _of(GradientGrowth, record)
    if growth is None or len(growth.norm) < 2:
        return None
    return Lines(
        x_label="step",
        y_label="global gradient norm",
        x=growth.step.astype(float),
        curves={"all weights": growth.norm},
        references=(Reference(growth.early, "first steps"),),
        logarithmic=_spans_decades([growth.norm]),
    )


def update_heat_map(record: RunRecord) -> HeatMap | None:
    """Update ratio ‖Δw‖/‖w‖ of the layers' kernels, per layer and step."""
    sizes = _of(StepSize, record)
    if sizes is None:
        return None
    layers = tuple(dict.fromkeys(sizes.kernels))
    owner = np.asarray(sizes.kernels)
    ratio = np.maximum(sizes.ratio, RESOLUTION)
    columns = [np.max(ratio[:, owner == layer], axis=1) for layer in layers]
    return _heat_map("‖Δw‖ / ‖w‖", layers, sizes.step, np.stack(columns, axis=1))


def update_band(record: RunRecord) -> Lines | None:
    """How large the updates are against the weights, over all kernels."""
    sizes = _of(StepSize, record)
    measured = () if sizes is None else np.isfinite(sizes.ratio).any(axis=1)
    if sizes is None or np.sum(measured) < 2:
        return None
    ratio = np.maximum(sizes.ratio[measured], RESOLUTION)
    return Lines(
        x_label="step",
        y_label="‖Δw‖ / ‖w‖",
        x=sizes.step[measured].astype(float),
        curves={"median kernel": np.nanmedian(ratio, axis=1)},
        references=(Reference(USUAL_UPDATE, "1e-3, the usual size"),),
        band=("all kernels", np.nanmin(ratio, axis=1), np.nanmax(ratio, axis=1)),
        logarithmic=True,
    )


def kernel_norms(record: RunRecord) -> Lines | None:
    """Norms of the kernels that grew most, relative to their initial ones."""
    growth, series = _of(WeightGrowth, record), record.variables
    if growth is None or series is None:
        return None
    rows = np.flatnonzero(sound_rows(record))
    kernels = sorted(growth.kernels, key=lambda kernel: -kernel.growth)[:MAX_LINES]
    curves = {
        "/".join(kernel.path.split("/")[-2:]): (
            series.weight_norm[rows, series.paths.index(kernel.path)] / kernel.initial
        )
        for kernel in kernels
    }
    return Lines(
        x_label="step",
        y_label="norm ÷ initial norm",
        x=np.asarray(series.step, dtype=float)[rows],
        curves=curves,
        references=(Reference(1.0, "before training"),),
        logarithmic=_spans_decades(list(curves.values())),
    )


def feature_scales(record: RunRecord) -> Intervals | None:
    """Scale of the first input's features, the most extreme ones when there are many."""
    summary = _first(record.train, "inputs")
    if summary is None or len(summary.feature_std) < 2:
        return None
    mean, std = np.asarray(summary.feature_mean), np.asarray(summary.feature_std)
    scale = np.nan_to_num(np.hypot(mean, std))
    order = np.argsort(-scale, kind="stable")
    if len(order) > MAX_ROWS:
        least_varying = np.argsort(std, kind="stable")[: MAX_ROWS // 2]
        extreme = {*order[: MAX_ROWS // 2], *least_varying}
        order = np.array([index for index in order if index in extreme])
    return Intervals(
        label="value",
        bulk="mean ± standard deviation",
        names=tuple(_feature_name(summary, index) for index in order),
        center=mean[order],
        inner=((mean - std)[order], (mean + std)[order]),
        outer=(np.asarray(summary.feature_min)[order], np.asarray(summary.feature_max)[order]),
        expected=(-1.0, 1.0, "scale that initial weights are made for"),
        left_out=len(std) - len(order),
    )


def answers(record: RunRecord) -> Intervals | None:
    """Targets of the first output and the predictions for them, on one axis."""
    outputs = _of(OutputHeads, record)
    head = outputs.heads[0] if outputs and outputs.heads else None
    if head is None or not (head.units == 1 or head.family in NUMBER_LOSSES):
        return None
    rows = {
        "targets": head.targets,
        "validation targets": _first(record.validation, "targets"),
        "untrained predictions": head.initial_predictions,
        "predictions": head.predictions,
    }
    known = {n: s.quantiles for n, s in rows.items() if s is not None and s.quantiles}
    if "targets" not in known:
        return None
    values = np.array(list(known.values()), dtype=float)
    low, high = head.range or (-math.inf, math.inf)
    bounded = math.isfinite(low) or math.isfinite(high)
    return Intervals(
        label="value",
        bulk="middle half",
        names=tuple(known),
        center=values[:, 4],
        inner=(values[:, 3], values[:, 5]),
        outer=(values[:, 0], values[:, 8]),
        expected=(low, high, f"what {head.activation} can answer") if bounded else None,
    )


def class_shares(record: RunRecord) -> Bars | None:
    """Class balance of the first output's targets, in training and validation."""
    train = _class_counts(_first(record.train, "targets"))
    validation = _class_counts(_first(record.validation, "targets"))
    return _shares({"training": train, "validation": validation}) if train else None


def decided_classes(record: RunRecord) -> Bars | None:
    """How often each class occurs and how often it has the highest prediction."""
    train = _class_counts(_first(record.train, "targets"))
    predictions = _first(record.train, "predictions")
    if not train or predictions is None or not len(predictions.argmax_counts):
        return None
    decided = {float(i): float(n) for i, n in enumerate(predictions.argmax_counts)}
    return _shares({"targets": train, "predictions": decided})


def unit_shares(record: RunRecord) -> Bars | None:
    """Units that were dead in all the last epochs, and outputs saturated after training."""
    activity, saturation = _of(UnitActivity, record), _of(Saturation, record)
    dead = {layer.layer: layer.dead for layer in activity.layers} if activity else {}
    saturated = {layer.layer: layer.share for layer in saturation.layers} if saturation else {}
    layers = tuple(dict.fromkeys([*dead, *saturated]))
    known = {"dead units": dead, "saturated outputs": saturated}
    if not any([*dead.values(), *saturated.values()]):
        return None
    return Bars(
        label="% of the layer",
        names=layers,
        series={
            label: np.array([shares.get(layer, np.nan) for layer in layers])
            for label, shares in known.items()
            if shares
        },
    )


def shift(record: RunRecord) -> Intervals | None:
    """Validation features in units of training, where all would be 0 ± 1; most shifted first."""
    found = _of(DistributionShift, record)
    pair = _first(record.train, "inputs"), _first(record.validation, "inputs")
    if found is None or pair[0] is None or pair[1] is None:
        return None
    if not any(s.gap or s.stretch != 1 for s in found.shifts if s.kind == "input"):
        return None
    means, stds = ([np.asarray(getattr(s, f"feature_{k}")) for s in pair] for k in ("mean", "std"))
    if not len(means[0]) or len(means[0]) != len(means[1]):
        return None
    scale = np.where(stds[0] > 0, stds[0], 1.0)
    mean, std = (means[1] - means[0]) / scale, stds[1] / scale
    distance = np.abs(mean) + np.abs(std - 1)
    order = np.argsort(-np.nan_to_num(distance), kind="stable")[:MAX_ROWS]
    return Intervals(
        label="training standard deviations from the training mean",
        bulk="validation, mean ± standard deviation",
        names=tuple(_feature_name(pair[0], index) for index in order),
        center=mean[order],
        inner=((mean - std)[order], (mean + std)[order]),
        expected=(-1.0, 1.0, "training, the same"),
        left_out=len(mean) - len(order),
    )


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """Places epochs and steps on one axis; `per_epoch` is 0 where steps were not recorded."""

    per_epoch: float
    first_epoch: int
    in_steps: bool

    @classmethod
    def of(cls, record: RunRecord, broken: Onset | None) -> _Axis:
        steps = record.steps
        if steps is None or not len(steps.step) or not steps.total_steps:
            return cls(per_epoch=0.0, first_epoch=0, in_steps=False)
        first, last = int(np.min(steps.epoch)), int(np.max(steps.epoch))
        per_epoch = max(1.0, steps.total_steps / (last - first + 1))
        epochs = last + 1 if broken is None else broken.epoch + 1
        short = broken is not None and broken.step is not None and epochs - first <= 2
        return cls(per_epoch=per_epoch, first_epoch=first, in_steps=short)

    @property
    def label(self) -> str:
        return "step" if self.in_steps else "epoch"

    def at(self, moment: Onset) -> float:
        """Where something is that showed at a step, or at an epoch's end."""
        if self.in_steps:
            end = (moment.epoch - self.first_epoch + 1) * self.per_epoch - 1
            return float(end if moment.step is None else moment.step)
        if moment.step is None or not self.per_epoch:
            return moment.epoch + 1.0
        return self.first_epoch + (moment.step + 1) / self.per_epoch

    def of_steps(self, record: RunRecord) -> Floats:
        """Where the sampled steps are."""
        if record.steps is None or not self.per_epoch:
            return np.empty(0)
        moments = (Onset(epoch=0, step=int(step)) for step in record.steps.step)
        return np.array([self.at(moment) for moment in moments])


def _of(kind: Any, record: RunRecord) -> Any:
    """Evidence of one kind, None where the record does not have it."""
    try:
        return kind.from_record(record)
    except Exception:
        # What fails for another reason is the engine's to report; a picture is only left out.
        return None


def _first_non_finite(record: RunRecord, loss: Floats) -> Onset | None:
    if record.non_finite is not None:
        return Onset(epoch=record.non_finite.epoch, step=record.non_finite.step)
    broken = np.flatnonzero(~np.isfinite(loss))
    if not len(broken) or record.history is None:
        return None
    return Onset(epoch=int(record.history.epochs[broken[0]]))


def _onsets(findings: Sequence[Finding], axis: _Axis) -> tuple[Reference, ...]:
    """Where `findings` first showed; those at one place under one label, the earliest kept."""
    places: dict[float, list[str]] = {}
    for finding in findings:
        if finding.onset is not None:
            titles = places.setdefault(axis.at(finding.onset), [])
            titles += [finding.title] if finding.title not in titles else []
    labels = {
        place: titles[0] + (f" and {len(titles) - 1} more" if len(titles) > 1 else "")
        for place, titles in sorted(places.items())[:MAX_ONSETS]
    }
    return tuple(Reference(place, label) for place, label in labels.items())


def _loss_references(record: RunRecord) -> tuple[Reference, ...]:
    """The best constant prediction's loss, and that of guessing among C classes."""
    baseline, chance = _of(Baseline, record), _chance(record)
    if baseline is None:
        return ()
    constant = Reference(baseline.value, "best constant prediction")
    if chance is None:
        return (constant,)
    if abs(chance.value - baseline.value) <= _SAME * chance.value:
        return (constant._replace(label=f"{constant.label} ({chance.label})"),)
    return constant, chance


def _chance(record: RunRecord) -> Reference | None:
    outputs = _of(OutputHeads, record)
    if outputs is None or len(outputs.heads) != 1:
        return None
    (head,) = outputs.heads
    classes = 2 if head.family is LossFamily.BINARY else head.units or 0
    if head.family not in CROSS_ENTROPIES or classes < 2:
        return None
    return Reference(math.log(classes), f"chance, ln {classes}")


def _learning_rate(record: RunRecord, epochs: int) -> Floats:
    if record.history is not None and len(record.history.learning_rate) == epochs:
        return np.asarray(record.history.learning_rate, dtype=float)
    rate = record.optimizer.learning_rate if record.optimizer else None
    constant = rate is not None and record.optimizer is not None and not record.optimizer.schedule
    return np.full(epochs, rate, dtype=float) if constant else np.empty(0)


def _spans_decades(curves: Sequence[Floats]) -> bool:
    finite = np.concatenate([curve[np.isfinite(curve)] for curve in curves])
    return bool(len(finite) and finite.min() > 0 and finite.max() > _DECADES * finite.min())


def _heat_map(unit: str, layers: tuple[str, ...], step: Any, values: Floats) -> HeatMap | None:
    """`values` (S, L) at as many of the steps as fit; zero is no color on decades."""
    positive = np.where((values > 0) & np.isfinite(values), values, np.nan)
    measured = np.flatnonzero(np.isfinite(positive).any(axis=1))
    if len(measured) < 2:
        return None
    shown = measured[np.unique(np.linspace(0, len(measured) - 1, MAX_COLUMNS).astype(int))]
    return HeatMap(unit=unit, layers=layers, step=np.asarray(step)[shown], values=positive[shown].T)


def _first(data: DataRecord | None, side: str) -> TensorSummary | None:
    summaries: tuple[TensorSummary, ...] = getattr(data, side) if data is not None else ()
    return summaries[0] if summaries else None


def _feature_name(summary: TensorSummary, index: int) -> str:
    names = summary.feature_names
    return str(names[index]) if index < len(names) else f"feature {index}"


def _class_counts(targets: TensorSummary | None) -> dict[float, float]:
    if targets is None:
        return {}
    if targets.one_hot_fraction > 0.99 and len(targets.argmax_counts):
        return {float(i): float(count) for i, count in enumerate(targets.argmax_counts)}
    counted = len(targets.values) == len(targets.value_counts)
    if targets.integral and len(targets.values) and counted:
        return dict(zip(map(float, targets.values), map(float, targets.value_counts)))
    return {}


def _shares(counts: dict[str, dict[float, float]]) -> Bars | None:
    counts = {label: table for label, table in counts.items() if sum(table.values())}
    classes = sorted(set().union(*counts.values()))
    if not classes or len(classes) > MAX_CLASSES:
        return None
    return Bars(
        label="% of the examples",
        names=tuple(f"class {name:g}" for name in classes),
        series={
            label: np.array([table.get(name, 0.0) for name in classes]) / sum(table.values())
            for label, table in counts.items()
        },
        reference=Reference(1 / len(classes), "equal shares"),
    )

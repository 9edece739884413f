"""How large regression targets are beside what a freshly initialized head puts out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from lossdoctor.evidence._missing import NotApplicable
from lossdoctor.evidence.outliers import MOST_FAR, SQUARED
from lossdoctor.evidence.output_head import Head, OutputHeads
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import LayerRecord, OptimizerRecord, RunRecord, TensorSummary

ABSOLUTE = frozenset({"mean_absolute_error", "huber", "log_cosh"})
_UNBOUNDED = {"linear", "relu", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu", None}
_KEEPS_SCALE = {"Reshape", "Flatten", "Dropout", "Activation", "ReLU", "LeakyReLU", "Identity"}
_QUARTILES = slice(3, 6)
_NORMAL_IQR = 1.349


@dataclass(frozen=True, kw_only=True)
class ScaledTarget:
    """The target of one regression head.

    Attributes:
        mean: Mean over examples of the target column farthest from zero, less the head's initial
            bias.
        spread: Standard deviation of the widest target column; from its quartiles where a few far
            values make up the standard deviation.
        disparity: Widest column that varies ÷ narrowest, by their standard deviations and by their
            ranges, whichever is less: a pixel that is seldom lit spreads little, yet as far as the
            others when it does, and one far value makes a wide range.
        travel: How far a weight can travel in the whole run: rate × steps, for losses and
            optimizers whose steps do not grow with the error. None where they do, or where the
            number of steps is not known.
        step: Learning rate × scale ÷ (1 - momentum), for those whose steps grow with the error;
            else None.
        unreached: How many spreads the trained model's mean prediction falls short of `mean`;
            None where it was not recorded.
    """

    head: Head
    summary: TensorSummary
    mean: float
    spread: float
    disparity: float
    travel: float | None
    step: float | None
    unreached: float | None
    worst_r2: float
    """R² of the column that the trained model predicts worst; 1 where it was not recorded."""

    @property
    def scale(self) -> float:
        """Root mean square of the targets as seen from the head's start."""
        return math.hypot(self.mean, self.spread)


@dataclass(frozen=True, kw_only=True)
class TargetScale:
    """The scale of every target that is judged by its distance from the prediction."""

    targets: tuple[ScaledTarget, ...]
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        outputs = OutputHeads.from_record(record)
        reasons: list[str] = []
        targets = []
        for head in outputs.heads:
            reason = _exempt(head, outputs.setup)
            if reason is None and head.targets is not None:
                targets.append(_scaled(head, head.targets, record, outputs.setup))
            elif reason is not None:
                reasons.append(reason)
        if not targets:
            raise NotApplicable("; ".join(reasons) or "no targets were recorded")
        return cls(targets=tuple(targets), setup=outputs.setup)


def _exempt(head: Head, setup: Setup) -> str | None:
    if head.loss.custom or head.loss.name not in SQUARED | ABSOLUTE:
        return f"{head.loss.name} does not measure distances in the target's own unit"
    if head.output.activation not in _UNBOUNDED:
        return f"a {head.output.activation} head has a range of its own"
    if head.targets is None:
        return "no targets were recorded"
    if not math.isfinite(head.targets.std):
        return "the targets hold no finite numbers"
    behind = _rescaled_behind(head, setup)
    return None if behind is None else f"'{behind}' rescales what {head.label} puts out"


def _rescaled_behind(head: Head, setup: Setup) -> str | None:
    """Name of a layer between the last weights and the output that may change the scale."""
    start = head.output.layer
    if start is None:
        return None
    layers = setup.model.layers
    reached = {start}
    for index, layer in enumerate(layers):
        if reached & set(layer.inbound):
            reached.add(index)
            if layer.custom or layer.class_name not in _KEEPS_SCALE:
                return layer.name
    return None


def _scaled(head: Head, summary: TensorSummary, record: RunRecord, setup: Setup) -> ScaledTarget:
    columns = len(summary.feature_mean)
    bias = _bias(head.layer)
    means = np.asarray(summary.feature_mean if columns else [summary.mean]) - bias
    spreads = np.asarray(summary.feature_std if columns else [summary.std])
    farthest = int(np.argmax(np.abs(means)))
    mean, spread = float(means[farthest]), float(spreads.max())
    if columns == 1:
        mean, spread = _without_outliers(summary, mean, spread)
    bounded = head.loss.name in ABSOLUTE or _steps_are_bounded(setup.optimizer)
    return ScaledTarget(
        head=head,
        summary=summary,
        mean=mean,
        spread=spread,
        disparity=_disparity(summary),
        travel=_travel(record) if bounded else None,
        step=None if bounded else _step(setup.optimizer, math.hypot(mean, spread)),
        unreached=_unreached(head.predictions, farthest, bias, mean, spread),
        worst_r2=_worst_r2(record, head.index),
    )


def _unreached(
    seen: TensorSummary | None, column: int, bias: float, mean: float, spread: float
) -> float | None:
    if seen is None or len(seen.feature_mean) <= column or not mean or not spread:
        return None
    way = (float(seen.feature_mean[column]) - bias) / mean
    return max(0.0, 1 - way) * abs(mean) / spread if math.isfinite(way) else None


def _worst_r2(record: RunRecord, output: int) -> float:
    pairing = record.train.pairing if record.train else ()
    found = [r2 for p in pairing if p.output == output for r2 in p.column_r2]
    return min(found, default=1.0)


def _disparity(summary: TensorSummary) -> float:
    varying = np.asarray(summary.feature_std) > 0
    if not varying.any():
        return 1.0
    spreads = np.asarray(summary.feature_std)[varying]
    ranges = (np.asarray(summary.feature_max) - np.asarray(summary.feature_min))[varying]
    return float(min(spreads.max() / spreads.min(), ranges.max() / ranges.min()))


def _without_outliers(summary: TensorSummary, mean: float, spread: float) -> tuple[float, float]:
    """Center and spread by quartiles, where single values far away are all there is to them."""
    if not 0 < summary.outlier_fraction <= MOST_FAR or not summary.quantiles:
        return mean, spread
    low, middle, high = summary.quantiles[_QUARTILES]
    return mean - summary.mean + middle, (high - low) / _NORMAL_IQR


def _bias(layer: LayerRecord | None) -> float:
    return layer.bias.mean if layer and layer.bias else 0.0


def _steps_are_bounded(optimizer: OptimizerRecord | None) -> bool:
    if optimizer is None or optimizer.class_name != "SGD":
        return True
    return bool(optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue)


def _travel(record: RunRecord) -> float | None:
    optimizer, steps = record.optimizer, planned_steps(record)
    if optimizer is None or not optimizer.learning_rate or steps is None:
        return None
    if optimizer.momentum >= 1:
        return None
    rates = optimizer.schedule_values or (optimizer.learning_rate,)
    return float(np.mean(rates)) / (1 - optimizer.momentum) * steps


def planned_steps(record: RunRecord) -> int | None:
    """How many steps the run took, or will take by its configuration; None where not known."""
    if record.steps is not None and record.steps.total_steps:
        return record.steps.total_steps
    fit, train = record.fit, record.train
    if fit is None or fit.epochs is None:
        return None
    per_epoch = fit.steps_per_epoch
    if per_epoch is None and fit.batch_size and train is not None and train.rows:
        per_epoch = math.ceil(train.rows / fit.batch_size)
    return None if per_epoch is None else per_epoch * (fit.epochs - fit.initial_epoch)


def _step(optimizer: OptimizerRecord | None, scale: float) -> float | None:
    if optimizer is None or optimizer.learning_rate is None or optimizer.momentum >= 1:
        return None
    return optimizer.learning_rate * scale / (1 - optimizer.momentum)

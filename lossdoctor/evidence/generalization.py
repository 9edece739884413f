"""How the run does on validation data, against how it does on training data."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence._trend import Trend, rolling_median, trend
from lossdoctor.record.run import RunRecord

Floats = NDArray[np.float64]

TAIL_SHARE = 0.1
WIDEST_TAIL = 20
FEWEST_EPOCHS = 5
NOISE_MARGIN = 2.0
STANDARD_ERRORS = 2.0
LEAST_DROP = 0.02
TINY = 1e-12

HIGHER_IS_BETTER = re.compile(
    r"acc|auc|precision|recall|f1|f_1|iou|r2|top_|dice|sensitivity|specificity"
)
LOWER_IS_BETTER = re.compile(r"error|mae|mse|mape|rmse|perplexity")


@dataclass(frozen=True, kw_only=True)
class MetricCurves:
    """One metric on training and validation data; `sign` is +1 where higher is better, else -1."""

    name: str
    train: Floats
    validation: Floats
    sign: int

    def drop(self, best_index: int, width: int) -> float:
        """By how much the validation metric is worse at the end than around `best_index`."""
        start = max(0, best_index - width // 2)
        return self.sign * float(
            np.nanmedian(self.validation[start : start + width])
            - np.nanmedian(self.validation[-width:])
        )

    def gap(self, width: int) -> float:
        """By how much the metric is better on training than on validation data at the end."""
        return self.sign * float(
            np.nanmedian(self.train[-width:]) - np.nanmedian(self.validation[-width:])
        )


@dataclass(frozen=True, kw_only=True)
class Generalization:
    """Training and validation curves at the epochs that were validated.

    `rows` is the number of validation examples (None = unknown), `train_rows` of training ones.
    `answers` is the share of right answers, or R², of the trained model on sampled training and
    validation rows (None = not recorded).
    """

    epoch: NDArray[np.int64]
    train: Floats
    validation: Floats
    metric: MetricCurves | None
    rows: int | None
    train_rows: int | None
    answers: tuple[float, float] | None

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        history = record.history
        if history is None or "loss" not in history.logs:
            raise NotRecorded.of(record, "the loss curves", "train with LossDoctor()")
        if "val_loss" not in history.logs:
            raise NotRecorded.of(
                record, "the validation loss", "pass validation_data= or validation_split= to fit"
            )
        train = np.asarray(history.logs["loss"], dtype=np.float64)
        validation = np.asarray(history.logs["val_loss"], dtype=np.float64)
        # With validation_freq > 1 most epochs have no validation loss.
        kept = np.isfinite(validation) & np.isfinite(train)
        if not kept.any():
            raise NotApplicable("no epoch has a finite training and validation loss")
        return cls(
            epoch=np.asarray(history.epochs, dtype=np.int64)[kept],
            train=train[kept],
            validation=validation[kept],
            metric=_metric(history.logs, kept),
            rows=(record.validation.rows or None) if record.validation else None,
            train_rows=(record.train.rows or None) if record.train else None,
            answers=_answers(record),
        )

    @property
    def tail_width(self) -> int:
        """How many epochs are averaged for the loss "at the end"."""
        return max(1, min(WIDEST_TAIL, int(len(self.validation) * TAIL_SHARE)))

    @cached_property
    def smooth(self) -> Floats:
        """Rolling median of the validation loss, so that one noisy epoch is no minimum."""
        return rolling_median(self.validation, self.tail_width)

    @property
    def best(self) -> float:
        """The lowest typical validation loss."""
        return float(self.smooth.min())

    @property
    def end(self) -> float:
        """The typical validation loss of the last epochs."""
        return float(self.smooth[-1])

    @property
    def train_end(self) -> float:
        """The typical training loss of the last epochs."""
        return float(np.median(self.train[-self.tail_width :]))

    @property
    def best_index(self) -> int:
        """Index of the (first) lowest typical validation loss."""
        return int(np.argmin(self.smooth)) + (self.tail_width - 1) // 2

    @property
    def best_epoch(self) -> int:
        """The epoch of the lowest typical validation loss."""
        return int(self.epoch[self.best_index])

    @cached_property
    def since_best(self) -> Trend:
        """Trend of the validation loss from its best epoch to the end."""
        return trend(self.epoch[self.best_index :], self.validation[self.best_index :])

    @cached_property
    def train_since_best(self) -> Trend:
        """Trend of the training loss over the same epochs."""
        return trend(self.epoch[self.best_index :], self.train[self.best_index :])

    @cached_property
    def tail(self) -> Trend:
        """Trend of the validation loss over the second half of the run."""
        half = len(self.validation) // 2
        return trend(self.epoch[half:], self.validation[half:])

    @property
    def noise(self) -> float:
        """Typical jump of the validation loss from epoch to epoch."""
        if len(self.validation) < FEWEST_EPOCHS:
            return 0.0
        return float(np.median(np.abs(np.diff(self.validation))))

    @property
    def rise(self) -> float:
        """By how much the validation loss stands above its best at the end."""
        return self.end - self.best

    @property
    def gap(self) -> float:
        """By how much the validation loss stands above the training loss at the end."""
        return self.end - self.train_end

    @property
    def late_deficit(self) -> float:
        """How far the validation loss lies below the training loss in the second half, relative."""
        half = len(self.train) // 2
        below = self.train[half:] - self.validation[half:]
        return float(np.median(below / np.maximum(np.abs(self.train[half:]), TINY)))

    @property
    def share_below(self) -> float:
        """Share of the second half's epochs in which validation lies below training."""
        half = len(self.train) // 2
        return float(np.mean(self.validation[half:] < self.train[half:]))

    def has_risen(self, significance: float) -> bool:
        """Whether the validation loss has gone up since its best, beyond chance and noise.

        Not where the training loss went up with it: then the run diverges.
        """
        alone = not self.train_since_best.rises(significance)
        return (
            alone and self.since_best.rises(significance) and self.rise > NOISE_MARGIN * self.noise
        )

    @property
    def metric_drop(self) -> float | None:
        """By how much the validation metric fell since the best validation loss; None = unknown."""
        return None if self.metric is None else self.metric.drop(self.best_index, self.tail_width)

    @property
    def metric_gap(self) -> float | None:
        """Training metric minus validation metric at the end, in the better direction."""
        return None if self.metric is None else self.metric.gap(self.tail_width)

    @property
    def metric_error(self) -> float:
        """Standard error of an accuracy over the validation examples; 0 where it is unknown."""
        if self.metric is None or not self.rows or "acc" not in self.metric.name:
            return 0.0
        share = float(np.clip(np.nanmedian(self.metric.validation[-self.tail_width :]), 0.0, 1.0))
        return math.sqrt(share * (1 - share) / self.rows)

    def metric_worse(self, gap: float) -> bool | None:
        """Whether the validation metric fell since the best loss, or lies `gap` below training's.

        Beyond two standard errors of a share over the validation examples. Without a metric of
        which higher is better, the recorded answers of the trained model are compared; None where
        there are none either: the loss is all there is to judge by.
        """
        if self.metric is None or self.metric.sign < 0:
            return None if self.answers is None else self.answers[0] - self.answers[1] > gap
        error = STANDARD_ERRORS * self.metric_error
        dropped = (self.metric_drop or 0.0) > max(error, LEAST_DROP)
        return dropped or (self.metric_gap or 0.0) > gap + error


def _answers(record: RunRecord) -> tuple[float, float] | None:
    sides = [side.pairing if side else () for side in (record.train, record.validation)]
    if any(len(pairing) != 1 for pairing in sides):
        return None
    shares = [
        pairing.r2 if pairing.error_rate is None else 1 - pairing.error_rate for (pairing,) in sides
    ]
    train, validation = shares
    return None if train is None or validation is None else (train, validation)


def _metric(logs: dict[str, Floats], kept: NDArray[np.bool_]) -> MetricCurves | None:
    """The first metric logged on both sides whose better direction is known, accuracies first."""
    names = [name for name in logs if name != "loss" and f"val_{name}" in logs]
    for pattern, sign in ((HIGHER_IS_BETTER, 1), (LOWER_IS_BETTER, -1)):
        for name in names:
            if pattern.search(name.lower()):
                return MetricCurves(
                    name=name,
                    train=np.asarray(logs[name], dtype=np.float64)[kept],
                    validation=np.asarray(logs[f"val_{name}"], dtype=np.float64)[kept],
                    sign=sign,
                )
    return None

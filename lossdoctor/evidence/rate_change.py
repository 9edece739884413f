"""Jumps of the loss where the learning rate, or the start of the run, changed something."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotRecorded
from lossdoctor.evidence._moment import Moment
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.record.run import RunRecord

Floats = NDArray[np.float64]

LEAST_RISE_OF_RATE = 2.0
WINDOW = 5


@dataclass(frozen=True, kw_only=True)
class RateChange:
    """One epoch at which the learning rate rose, with the loss before and after it.

    `after` is the highest typical loss of the epochs that follow, infinite where the loss stopped
    being finite within them.
    """

    at: Moment
    old_rate: float
    new_rate: float
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class RateChanges:
    """All rises of the learning rate by at least a factor of two, and how the run began.

    `resumed_at` is the loss of the first step and `resumed_peak` the typical loss of the first
    epoch, where trained weights met an optimizer without state; else None.
    """

    changes: tuple[RateChange, ...]
    resumed_at: float | None
    resumed_peak: float | None

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        curve = LossCurve.from_record(record)
        rates = np.empty(0) if record.history is None else record.history.learning_rate
        fresh = record.optimizer is not None and record.optimizer.iterations == 0
        known = fresh and _trained_before(record) and len(curve.step_loss) > WINDOW
        if len(rates) < 2 and not known:
            raise NotRecorded.of(record, "the learning rate", "train with LossDoctor()")
        return cls(
            changes=tuple(_changes(np.asarray(rates, dtype=np.float64), curve)),
            resumed_at=float(curve.step_loss[0]) if known else None,
            resumed_peak=_first_epoch(curve) if known else None,
        )


def _changes(rates: Floats, curve: LossCurve) -> list[RateChange]:
    found = []
    for index in range(1, len(rates)):
        jumped = rates[index] > LEAST_RISE_OF_RATE * rates[index - 1] > 0
        if not jumped or index > len(curve.loss):
            continue
        before = curve.loss[max(0, index - WINDOW) : index]
        after = curve.loss[index : index + WINDOW]
        lost = curve.non_finite is not None and index + WINDOW > len(curve.loss)
        if len(before) and (len(after) or lost):
            found.append(
                RateChange(
                    at=Moment(epoch=index),
                    old_rate=float(rates[index - 1]),
                    new_rate=float(rates[index]),
                    before=float(np.median(before)),
                    after=math.inf if lost else float(np.median(after)),
                )
            )
    return found


def _trained_before(record: RunRecord) -> bool:
    """Whether a weight that starts at zero no longer stands there."""
    layers = record.model.layers if record.model else ()
    return any(
        weight.initializer == "Zeros" and weight.trainable and weight.abs_max > 0
        for layer in layers
        for weight in layer.weights
    )


def _first_epoch(curve: LossCurve) -> float:
    length = int(curve.steps_per_epoch or len(curve.step_loss))
    return float(np.median(curve.step_loss[1 : max(length, WINDOW)]))

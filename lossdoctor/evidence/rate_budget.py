"""What the loss still gained on the way that a falling learning rate let the run go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.baseline import LossScale
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.record.run import RunRecord

_FEWEST_EPOCHS = 4
_FEWEST_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class RateBudget:
    """The way of a run is the sum of its learning rates, step by step.

    Attributes:
        gain: By how much the loss still fell on the second half of that way, in units of a constant
            prediction's loss.
        left: Where it ends, in the same units.
    """

    gain: float
    left: float

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        steps, curve = record.steps, LossCurve.from_record(record)
        curve.require_known_meaning()
        if steps is None or len(steps.step) < _FEWEST_STEPS or not steps.total_steps:
            raise NotRecorded.of(record, "the steps", "run with LossDoctor()")
        rates = np.interp(np.arange(steps.total_steps), steps.step, steps.learning_rate)
        if not np.isfinite(rates).all() or rates.max() <= 0:
            raise NotApplicable("the learning rate is not known, or never above 0")
        if len(curve.loss) < _FEWEST_EPOCHS or curve.non_finite is not None:
            raise NotApplicable("there are too few epochs with a finite loss")
        way = np.cumsum(rates)
        # An epoch's loss is the average over it.
        middle = (np.arange(len(curve.loss)) + 0.5) * len(rates) / len(curve.loss)
        half = int(np.argmax(way[middle.astype(int)] >= way[-1] / 2))
        scale = LossScale.from_record(record)
        gain = float(curve.loss[half] - curve.loss[-1]) / scale.value
        return cls(gain=gain, left=scale.end)

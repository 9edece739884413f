"""Where the run's loss stands between the best constant prediction and a perfect one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.evidence.outliers import SQUARED
from lossdoctor.record.run import RunRecord

Floats = NDArray[np.float64]

AS_GOOD_AS = 0.005


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The compiled loss of the best constant prediction (`value`) and of perfect ones (`floor`).

    Positions are shares of the way from the floor (0) to the baseline (1): a model at 1 is no
    better than a constant, above 1 it is worse. `trained` is the loss of the trained model on
    recorded rows in inference mode, without penalties, where it was measured.
    """

    value: float
    floor: float
    trained: float | None
    curve: LossCurve
    uninformed: float
    """The loss of answering 0: equal probabilities for all classes, no quantity; not below
    `value`."""

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        curve = LossCurve.from_record(record)
        curve.require_finite_part()
        values = [loss.baseline for loss in record.losses]
        if not values or any(value is None or not math.isfinite(value) for value in values):
            raise NotRecorded.of(
                record, "the loss of the best constant prediction", "run with LossDoctor()"
            )
        if record.model and record.model.own_loss:
            raise NotApplicable(curve.unknown_meaning or "")
        if record.fit and (record.fit.class_weight or record.fit.sample_weight):
            raise NotApplicable("class or sample weights put the loss on a scale of their own")
        if curve.hidden_penalty:
            raise NotApplicable("the logged loss contains penalties whose size was not recorded")
        value = _weighted(record, [loss.baseline for loss in record.losses])
        floor = _weighted(record, [loss.floor for loss in record.losses])
        if value - floor <= 1e-6 * max(abs(value), abs(floor)):
            raise NotApplicable("a constant already predicts these targets perfectly")
        return cls(
            value=value,
            floor=floor,
            trained=_trained(record),
            curve=curve,
            uninformed=_weighted(record, _uninformed(record)),
        )

    @property
    def scale(self) -> float:
        """What there is to learn: the distance from the baseline to the floor."""
        return self.value - self.floor

    def position(self, loss: float) -> float:
        """Where a loss stands: 0 at the floor, 1 at the baseline."""
        return (loss - self.floor) / self.scale

    @property
    def end(self) -> float:
        """Position at the end of training; the lower of training and inference mode.

        Dropout and the running average of an epoch only ever make the logged loss look worse.
        """
        end = self.position(self.curve.end)
        if self.trained is None or not math.isfinite(self.trained):
            return end
        return min(end, self.position(self.trained))

    @property
    def best(self) -> float:
        """The best position of the run."""
        return min(self.position(self.curve.best), self.end)


@dataclass(frozen=True, kw_only=True)
class LossScale:
    """What losses are measured against, and where the run stands on that scale.

    From the floor to the baseline where those are known (`from_baseline`), else from zero to the
    loss the run began with. `end` and `best` are positions as in `Baseline`.
    """

    value: float
    from_baseline: bool
    end: float
    best: float

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        try:
            known = Baseline.from_record(record)
        except NotApplicable:
            return cls._from_first(LossCurve.from_record(record))
        return cls(value=known.scale, from_baseline=True, end=known.end, best=known.best)

    @classmethod
    def _from_first(cls, curve: LossCurve) -> Self:
        curve.require_finite_part()
        curve.require_known_meaning()
        first = float(curve.step_loss[0]) if len(curve.step_loss) else curve.first
        if not first > 0:
            raise NotApplicable("the loss does not begin above zero")
        return cls(value=first, from_baseline=False, end=curve.end / first, best=curve.best / first)

    @property
    def unit(self) -> str:
        """What positions and changes are shares of."""
        return f"of {self._yardstick}"

    @property
    def place(self) -> str:
        """Where the run's loss ends, for a message: "at 0.12 of a constant prediction's loss"."""
        if abs(self.end - 1) < AS_GOOD_AS:
            return f"at {self._yardstick}"
        how = f"{self.end:.3g} times" if self.end > 1 else f"{self.end:.3g} of"
        return f"at {how} {self._yardstick}"

    @property
    def _yardstick(self) -> str:
        return "a constant prediction's loss" if self.from_baseline else "the first loss"


def gain_ahead(curve: LossCurve, scale: float, remaining: float) -> float:
    """What half as many epochs again would gain at the last slope, as a share of `scale`. A
    straight line overshoots the floor; a loss that decays at its slope nears it."""
    linear = curve.gain_ahead / scale
    decaying = -math.expm1(-max(linear, 0.0) / remaining) if remaining > 0 else 0.0
    return min(linear, remaining * max(0.5, decaying))


def _weighted(record: RunRecord, values: list[float | None]) -> float:
    return sum(
        (1.0 if loss.weight is None else loss.weight) * (value or 0.0)
        for loss, value in zip(record.losses, values)
    )


def _uninformed(record: RunRecord) -> list[float | None]:
    """Of each loss what answering 0 costs, which a fresh head does: ln C per cross-entropy of C
    classes, the mean square of the targets; at least the best constant's."""
    outputs = record.model.outputs if record.model else ()
    targets = record.train.targets if record.train else ()
    found: list[float | None] = []
    for index, loss in enumerate(record.losses):
        cost = 0.0
        if "crossentropy" in loss.name and not loss.custom and index < len(outputs):
            cost = math.log(max(2, outputs[index].units or 2))
        elif loss.name in SQUARED and not loss.custom and index < len(targets):
            cost = targets[index].mean ** 2 + targets[index].std ** 2
        found.append(max(cost, loss.baseline or 0.0))
    return found


def _trained(record: RunRecord) -> float | None:
    pairing = {p.output: p.loss for p in record.train.pairing} if record.train else {}
    values = [pairing.get(index) for index in range(len(record.losses))]
    if any(value is None for value in values):
        return None
    return _weighted(record, values)

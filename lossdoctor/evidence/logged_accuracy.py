"""What a logged accuracy says beside its loss, where nothing else was recorded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from lossdoctor.evidence._missing import NotRecorded
from lossdoctor.record.run import RunRecord

FEWEST_EPOCHS = 3
_MOST_CLASSES = 20
_NEAR_LOGARITHM = 0.03
_NEAR_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class LoggedAccuracy:
    """Loss and accuracy of a history.

    `guessed` is the C for which, from the second epoch on, the loss never left ln C by more than
    3 % downwards nor ends above it by more, and the accuracy never left 1/C by more than a tenth
    of what is missing to 1; None where there is none. Together they are no coincidence.
    """

    epochs: int
    guessed: int | None
    lowest_loss: float
    best: float
    always_zero: bool

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        logs = record.history.logs if record.history and record.model is None else {}
        loss = np.asarray(logs.get("loss", ()), dtype=np.float64)
        accuracy = np.asarray(logs.get("accuracy", logs.get("acc", ())), dtype=np.float64)
        known = len(loss) == len(accuracy) >= FEWEST_EPOCHS
        if not known or not (np.isfinite(loss).all() and np.isfinite(accuracy).all()):
            raise NotRecorded(f"loss and accuracy of at least {FEWEST_EPOCHS} epochs")
        lowest, end, best = float(loss[1:].min()), float(loss[-1]), float(accuracy[1:].max())
        return cls(
            epochs=len(loss),
            guessed=_guessed(lowest, end, float(accuracy[1:].min()), best),
            lowest_loss=lowest,
            best=best,
            always_zero=not accuracy.any(),
        )


def _guessed(lowest: float, end: float, worst: float, best: float) -> int | None:
    if not math.log(2) / 2 < end < math.log(_MOST_CLASSES + 1):
        return None
    classes = max(2, round(math.exp(end)))
    chance, share = math.log(classes), 1 / classes
    slack = _NEAR_SHARE * (1 - share)
    near = lowest >= (1 - _NEAR_LOGARITHM) * chance and end <= (1 + _NEAR_LOGARITHM) * chance
    return classes if near and share - slack <= worst and best <= share + slack else None

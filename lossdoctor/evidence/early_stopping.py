"""How EarlyStopping was set, and what it did."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.generalization import HIGHER_IS_BETTER, LOWER_IS_BETTER
from lossdoctor.record.run import RunRecord


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """The settings of the run's EarlyStopping callback and the values it watched.

    `mode` is the direction it was told to wait for, `reversed` whether that is the wrong one.
    `longest_pause` is the most epochs the monitored value ever went without improving before it
    improved again; `final_pause` those at the end.
    """

    monitor: str
    mode: str
    reversed: bool
    patience: int
    restores: bool
    logged: bool
    available: tuple[str, ...]
    planned: int | None
    completed: int
    longest_pause: int
    final_pause: int
    best_epoch: int
    best: float
    last: float

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        if record.fit is None or record.fit.callbacks is None:
            raise NotRecorded.of(record, "the callbacks", "train with LossDoctor()")
        if record.history is None:
            raise NotRecorded.of(record, "the logs", "train with LossDoctor()")
        config = next(
            (c.config for c in record.fit.callbacks if c.class_name == "EarlyStopping"), None
        )
        if config is None:
            raise NotApplicable("the run had no EarlyStopping")
        monitor = str(config.get("monitor", "val_loss"))
        values = np.asarray(record.history.logs.get(monitor, ()), dtype=np.float64)
        values = values[np.isfinite(values)]
        errors = -values if _higher_is_better(config, monitor) else values
        longest, final = _pauses(errors, abs(float(config.get("min_delta") or 0.0)))
        best = int(np.argmin(errors)) if len(errors) else 0
        return cls(
            monitor=monitor,
            mode=str(config.get("mode", "auto")),
            reversed=_is_reversed(config, monitor),
            patience=int(config.get("patience", 0)),
            restores=bool(config.get("restore_best_weights", False)),
            logged=len(values) > 0,
            available=tuple(record.history.logs),
            planned=record.fit.epochs,
            completed=len(record.history.epochs),
            longest_pause=longest,
            final_pause=final,
            best_epoch=best,
            best=float(values[best]) if len(values) else math.nan,
            last=float(values[-1]) if len(values) else math.nan,
        )

    @property
    def stopped(self) -> bool:
        """Whether it ended the run before the planned number of epochs."""
        return self.logged and self.planned is not None and self.completed < self.planned


def _higher_is_better(config: dict[str, Any], monitor: str) -> bool:
    mode = config.get("mode", "auto")
    return mode == "max" or (mode == "auto" and ("acc" in monitor or "auc" in monitor))


def _is_reversed(config: dict[str, Any], monitor: str) -> bool:
    rises = HIGHER_IS_BETTER.search(monitor) is not None
    falls = "loss" in monitor or LOWER_IS_BETTER.search(monitor) is not None
    return rises != falls and config.get("mode") == ("min" if rises else "max")


def _pauses(errors: NDArray[np.float64], min_delta: float) -> tuple[int, int]:
    """The longest stretch without improvement that ended in one, and the last stretch."""
    best, pause, longest = math.inf, 0, 0
    for error in errors:
        if error < best - min_delta:
            best, pause, longest = float(error), 0, max(longest, pause)
        else:
            pause += 1
    return longest, pause

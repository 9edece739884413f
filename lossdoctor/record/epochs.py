"""What Keras reports of one epoch, and the history a record makes of many."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from lossdoctor.record.run import History


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochLog:
    """One epoch of `History`; None = not known."""

    epoch: int
    logs: dict[str, float]
    learning_rate: float | None = None
    penalty: float | None = None


def extended(history: History, epochs: Sequence[EpochLog]) -> History:
    """`history` with `epochs` after its own."""
    before = len(history.epochs)
    names = dict.fromkeys([*history.logs, *(name for epoch in epochs for name in epoch.logs)])

    def series(values: np.ndarray, added: Sequence[float | None]) -> np.ndarray:
        if len(values) != before or any(value is None for value in added):
            return np.empty(0)
        return np.concatenate([values, np.array(added, dtype=np.float64)])

    return History(
        epochs=np.concatenate([history.epochs, np.array([e.epoch for e in epochs], np.int64)]),
        logs={
            name: series(
                history.logs.get(name, np.full(before, np.nan)),
                [epoch.logs.get(name, np.nan) for epoch in epochs],
            )
            for name in names
        },
        learning_rate=series(history.learning_rate, [e.learning_rate for e in epochs]),
        penalty=series(history.penalty, [e.penalty for e in epochs]),
    )

"""How much of the gradient of a batch is signal, and how much the draw of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.record.run import RunRecord

FEWEST_PAIRS = 16


@dataclass(frozen=True, kw_only=True)
class GradientNoise:
    """Agreement of the gradients of successive batches in the second half of the run.

    With gradient G plus noise of variance σ², two batches' gradients have the inner product ‖G‖²
    and each the squared norm ‖G‖² + σ²: `signal_to_noise` is ‖G‖²/σ².
    """

    signal_to_noise: float
    batch_size: int | None
    rows: int

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        series = record.variables
        if series is None or not len(series.step):
            raise NotRecorded.of(record, "gradient norms", "train with LossDoctor()")
        if record.fit and record.fit.steps_per_epoch == 1:
            raise NotApplicable("every step sees all examples, so its gradient has no noise")
        norm = np.sqrt(np.nansum(np.asarray(series.gradient_norm, dtype=np.float64) ** 2, axis=1))
        moved = np.sqrt(np.nansum(np.asarray(series.update_norm, dtype=np.float64) ** 2, axis=1))
        follows = np.flatnonzero(np.diff(series.step) == 1) + 1
        late = follows[series.step[follows] >= series.step[-1] / 2]
        # curvature_norm is ‖Δg‖/‖Δw‖ along the step before, and ‖Δg‖² = ‖g‖² + ‖g'‖² - 2<g, g'>.
        change = series.curvature_norm[late] * moved[late - 1]
        squares = norm[late] ** 2 + norm[late - 1] ** 2
        usable = np.isfinite(change) & np.isfinite(squares) & (squares > 0)
        if usable.sum() < FEWEST_PAIRS:
            raise NotApplicable("too few successive gradients were recorded")
        inner = np.sum(squares[usable] - change[usable] ** 2) / 2
        power = np.sum(squares[usable]) / 2
        signal = max(0.0, float(inner / power))
        train = record.train
        return cls(
            signal_to_noise=signal / max(1 - signal, 1e-9),
            batch_size=train.batch_size if train else None,
            rows=train.rows if train else 0,
        )

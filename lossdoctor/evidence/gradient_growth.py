"""How the size of the whole gradient develops from the first steps to the last."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotRecorded
from lossdoctor.evidence._owners import weights_by_path
from lossdoctor.evidence._sound import first_non_finite_step, sound_steps
from lossdoctor.evidence.onset import Onset
from lossdoctor.record.run import RunRecord

Floats = NDArray[np.float64]

EARLY_STEPS = 10
LAST_BEFORE_END = 3
ORDINARY = 10.0


@dataclass(frozen=True, kw_only=True)
class GradientGrowth:
    """The global gradient norm, before clipping, at the finite steps that were looked at.

    `weight_norm` is the norm of all trainable weights before the first step (kernels that began at
    zero count as a Glorot draw); None where the model's weights were not recorded.
    """

    step: NDArray[np.int64]
    epoch: NDArray[np.int64]
    norm: Floats
    weight_norm: float | None
    ended_non_finite: bool

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        steps = record.steps
        norm = np.asarray([] if steps is None else steps.gradient_norm, dtype=np.float64)
        if steps is None or not (seen := sound_steps(steps) & np.isfinite(norm)).any():
            raise NotRecorded.of(record, "finite gradient norms", "run with LossDoctor()")
        return cls(
            step=np.asarray(steps.step, dtype=np.int64)[seen],
            epoch=np.asarray(steps.epoch, dtype=np.int64)[seen],
            norm=norm[seen],
            weight_norm=_initial_weight_norm(record),
            ended_non_finite=first_non_finite_step(record) is not None,
        )

    @cached_property
    def early(self) -> float:
        """Median norm of the first steps: at most ten of them and a tenth of the run."""
        taken = self.step - self.step[0]
        return float(np.median(self.norm[taken < max(1, min(EARLY_STEPS, taken[-1] // 10))]))

    @cached_property
    def late(self) -> float:
        """Median norm of the last quarter of the run; where it ended non-finite, the largest of
        the last three, because an explosion takes only a few steps."""
        if self.ended_non_finite:
            return float(self.norm[-LAST_BEFORE_END:].max())
        taken = self.step - self.step[0]
        return float(np.median(self.norm[taken >= 0.75 * taken[-1]]))

    @property
    def growth(self) -> float:
        """Late over early norm."""
        if self.early == 0:
            return math.inf if self.late > 0 else 1.0
        return self.late / self.early

    @property
    def first_ratio(self) -> float:
        """The first gradient's norm over that of the initial weights (0 if unknown)."""
        return float(self.norm[0]) / self.weight_norm if self.weight_norm else 0.0

    @property
    def late_ratio(self) -> float:
        """The late norm over that of the initial weights (infinite if those are unknown)."""
        return self.late / self.weight_norm if self.weight_norm else math.inf

    @property
    def ordinary(self) -> float | None:
        """The early norm, where it is of the weights' own order: a norm worth clipping at."""
        calm = self.weight_norm is None or self.early <= ORDINARY * self.weight_norm
        return self.early if calm and self.early > 0 else None

    def onset(self, growth: float) -> Onset:
        """The first step from which on the norm stays above `growth` times its early value."""
        calm = np.flatnonzero(self.norm <= growth * self.early)
        start = min(int(calm[-1]) + 1 if len(calm) else 0, len(self.norm) - 1)
        return Onset(epoch=int(self.epoch[start]), step=int(self.step[start]))


def _initial_weight_norm(record: RunRecord) -> float | None:
    known = weights_by_path(record)
    paths = record.variables.paths if record.variables else ()
    squares = 0.0
    for weight in (known[path] for path in paths if path in known):
        size = float(np.prod(weight.shape))
        variance = weight.mean**2 + weight.std**2
        if variance == 0 and len(weight.shape) >= 2:
            variance = 2.0 / (size / weight.shape[-1] + weight.shape[-1])
        squares += size * variance
    return math.sqrt(squares) if squares > 0 else None

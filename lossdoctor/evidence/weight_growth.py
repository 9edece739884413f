"""How far the kernels have grown from their initial size, and whether they still grow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence._owners import owners, weights_by_path
from lossdoctor.evidence._sound import first_non_finite_step, sound_rows
from lossdoctor.record.run import RunRecord, WeightRecord

FEWEST_STEPS = 10


@dataclass(frozen=True, kw_only=True)
class KernelGrowth:
    """One kernel: `growth` is its last finite norm over the initial one, `recent` its last norm
    over that at half of the finite steps. A kernel that began at zero counts as a Glorot draw."""

    layer: str
    path: str
    initial: float
    growth: float
    recent: float


@dataclass(frozen=True, kw_only=True)
class WeightGrowth:
    """All trainable kernels."""

    kernels: tuple[KernelGrowth, ...]
    ended_non_finite: bool

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        series = record.variables
        if series is None or not len(series.step):
            raise NotRecorded.of(record, "gradient norms", "run with LossDoctor()")
        rows = np.flatnonzero(sound_rows(record))
        known = weights_by_path(record)
        step = np.asarray(series.step)
        found = []
        for index, (path, layer) in enumerate(zip(series.paths, owners(record, series))):
            weight = known.get(path)
            if weight is None or len(weight.shape) < 2 or not len(rows):
                continue
            norms = np.asarray(series.weight_norm, dtype=np.float64)[rows, index]
            if np.isfinite(norms).all():
                found.append(_growth(layer, weight, step[rows], norms))
        if not found:
            raise NotApplicable("no trainable kernel whose initial size is known stayed finite")
        ended = first_non_finite_step(record) is not None
        if ended and len(rows) < FEWEST_STEPS:
            raise NotApplicable(
                f"the run stopped being finite after {len(rows)} recorded steps, too few to tell "
                "weights that grow from steps that throw them"
            )
        return cls(kernels=tuple(found), ended_non_finite=ended)

    def above(self, growth: float, recent: float) -> tuple[KernelGrowth, ...]:
        """Kernels that grew more than `growth` times and more than `recent` times of late."""
        return tuple(k for k in self.kernels if k.growth > growth and k.recent > recent)


def _growth(
    layer: str, weight: WeightRecord, step: NDArray[np.int64], norms: NDArray[np.float64]
) -> KernelGrowth:
    size = math.prod(weight.shape)
    initial = math.sqrt(size * (weight.mean**2 + weight.std**2))
    if initial == 0:
        initial = math.sqrt(size * 2 / (size / weight.shape[-1] + weight.shape[-1]))
    half = (
        initial if len(norms) == 1 else norms[int(np.searchsorted(step, step[-1] / 2, "right")) - 1]
    )
    return KernelGrowth(
        layer=layer,
        path=weight.path,
        initial=initial,
        growth=float(norms[-1] / initial),
        recent=float(norms[-1] / half) if half > 0 else math.inf,
    )

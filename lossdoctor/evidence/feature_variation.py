"""Which input columns vary over the examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.record.run import RunRecord, TensorSummary

_FEWEST_ROWS = 2
_BORDER = 64
"""From this width on, columns of zeros are taken for the border of images or padding."""


@dataclass(frozen=True, kw_only=True)
class Variation:
    """One input: the names of its constant columns, and whether every example is alike."""

    summary: TensorSummary
    constant: tuple[str, ...]
    features: int
    all_alike: bool


@dataclass(frozen=True, kw_only=True)
class FeatureVariation:
    """Variation of every numeric input."""

    inputs: tuple[Variation, ...]

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        if record.train is None or not record.train.inputs:
            how = "pass x= to check_config, or run with LossDoctor()"
            raise NotRecorded.of(record, "the inputs", how)
        found = [
            _variation(summary)
            for summary in record.train.inputs
            if summary.rows >= _FEWEST_ROWS and np.isfinite(summary.abs_max)
        ]
        if not found:
            raise NotApplicable("there are no numeric inputs of at least 2 examples")
        return cls(inputs=tuple(found))


def _variation(summary: TensorSummary) -> Variation:
    width = len(summary.feature_std)
    tabular = len(summary.shape) <= 1 and width > 0
    constant = np.flatnonzero(_is_constant(summary)) if tabular else np.empty(0, dtype=int)
    if width >= _BORDER:
        constant = constant[summary.feature_max[constant] != 0]
    names = summary.feature_names
    return Variation(
        summary=summary,
        constant=tuple(f"'{names[i]}'" if names else str(i) for i in constant),
        features=max(width, 1),
        all_alike=_all_alike(summary),
    )


def _is_constant(summary: TensorSummary) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray(summary.feature_max == summary.feature_min, dtype=bool)


def _all_alike(summary: TensorSummary) -> bool:
    if summary.min == summary.max:
        return True
    if len(summary.shape) <= 1 and len(summary.feature_std):
        return bool(_is_constant(summary).all())
    return summary.row_spread is not None and summary.row_spread <= 1e-9 * summary.abs_max

"""Values so far from the others that they alone decide a squared loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.output_head import Head, OutputHeads
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import RunRecord, TensorSummary

SQUARED = frozenset({"mean_squared_error"})
MOST_FAR = 0.1
"""More targets than these far from the others are no accident, but what they are about."""
_QUARTILES = slice(3, 6)
_NORMAL_IQR = 1.349
_SPARSE = 0.5
_RARE = 0.2
_FEWEST_ROWS = 20
_CODES = (999.0, 9999.0, 99999.0, 999999.0, -99.0, -999.0, -9999.0, -99999.0, -999999.0)
_UNSCALED = 10.0
_MOST_CODED = 0.3


@dataclass(frozen=True, kw_only=True)
class HeavyTail:
    """The target of one head under a squared loss.

    `inflation` is the standard deviation ÷ the one the quartiles tell of (for a normal
    distribution both are the same), `far` the share of targets more than 10 of these away.
    """

    head: Head
    summary: TensorSummary
    center: float
    spread: float
    inflation: float
    far: float


@dataclass(frozen=True, kw_only=True)
class TargetOutliers:
    """The tails of every target that is judged by squared distance."""

    targets: tuple[HeavyTail, ...]
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        outputs = OutputHeads.from_record(record)
        found = [
            tail
            for head in outputs.heads
            if head.loss.name in SQUARED
            and head.targets is not None
            and (tail := _tail(head, head.targets)) is not None
        ]
        if not found:
            raise NotApplicable("no continuous target is judged by squared distance")
        return cls(targets=tuple(found), setup=outputs.setup)


def _tail(head: Head, summary: TensorSummary) -> HeavyTail | None:
    single = len(summary.feature_mean) == 1 and summary.rows >= _FEWEST_ROWS
    if not single or not summary.quantiles or summary.outlier_fraction > MOST_FAR:
        return None
    low, middle, high = summary.quantiles[_QUARTILES]
    spread = (high - low) / _NORMAL_IQR
    # Targets of which half have one and the same value have no spread to be far by.
    if spread <= 0:
        return None
    return HeavyTail(
        head=head,
        summary=summary,
        center=middle,
        spread=spread,
        inflation=summary.std / spread,
        far=summary.outlier_fraction,
    )


@dataclass(frozen=True, kw_only=True)
class FarEntry:
    """The most extreme entry of one input.

    `distance` counts standard deviations of the feature's other entries, `value` is the entry,
    which makes up `share` of them.
    """

    index: int
    summary: TensorSummary
    feature: str
    value: float
    share: float
    distance: float
    typical: tuple[float, float]
    repeated: bool
    """Several rows hold exactly this value."""
    raw: bool
    """The other features are far from unit scale as well: nobody has scaled these data yet."""


@dataclass(frozen=True, kw_only=True)
class MissingCode:
    """A value such as -999 that stands at the far end of some columns of one input.

    `lopsidedness` is how many times farther it lies from the mean than the other end does.
    """

    index: int
    value: float
    columns: int
    features: int
    lopsidedness: float


@dataclass(frozen=True, kw_only=True)
class InputOutliers:
    """What stands far out in every numeric input with features of its own."""

    inputs: tuple[FarEntry, ...]
    codes: tuple[MissingCode, ...]
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        if record.train is None or not record.train.inputs:
            how = "pass x= to check_config, or run with LossDoctor()"
            raise NotRecorded.of(record, "the inputs", how)
        found = [
            entry
            for index, summary in enumerate(record.train.inputs)
            if (entry := _far_entry(index, summary)) is not None
        ]
        if not found:
            raise NotApplicable("no input has dense numeric features")
        codes = [_missing_code(entry.index, entry.summary) for entry in found]
        return cls(inputs=tuple(found), codes=tuple(code for code in codes if code), setup=setup)


def _missing_code(index: int, summary: TensorSummary) -> MissingCode | None:
    """The code that stands in most columns."""
    mean, low = np.asarray(summary.feature_mean), np.asarray(summary.feature_min)
    high = np.asarray(summary.feature_max)
    below, above = mean - low, high - mean
    best: MissingCode | None = None
    for value in _CODES if summary.outlier_fraction > 0 else ():
        end, near, far = (high, below, above) if value > 0 else (low, above, below)
        lopsided = np.where((end == value) & (near > 0), far / np.where(near > 0, near, 1.0), 0.0)
        columns = int(np.sum(lopsided > 1))
        if columns and (best is None or columns > best.columns):
            best = MissingCode(
                index=index,
                value=value,
                columns=columns,
                features=len(mean),
                lopsidedness=float(lopsided.max()),
            )
    return best


def _end_share(summary: TensorSummary, highest: NDArray[Any], single: float) -> NDArray[np.float64]:
    """Which share of each feature's entries has its most extreme value: `single`, unless the
    sample holds it repeatedly, as a code for missing values is."""
    if summary.feature_end_shares.shape[1] != len(highest):
        return np.full(len(highest), single)
    low, high = summary.feature_end_shares
    share = np.where(highest, high, low)
    repeated = (share * summary.sampled_rows > 1.5) & (share <= _MOST_CODED)
    return np.where(repeated, share, single)


def _far_entry(index: int, summary: TensorSummary) -> FarEntry | None:
    if not len(summary.feature_mean) or summary.rows < _FEWEST_ROWS:
        return None
    mean, std = np.asarray(summary.feature_mean), np.asarray(summary.feature_std)
    above = np.asarray(summary.feature_max) - mean
    below = mean - np.asarray(summary.feature_min)
    deviation = np.maximum(above, below)
    count = summary.rows * max(1, int(np.prod([s or 1 for s in summary.shape[:-1]])))
    share = _end_share(summary, above >= below, 1 / count)
    # Without the entries of its most extreme value a feature has this variance left, around this
    # mean.
    rest_mean = mean - np.where(above >= below, above, -below) * share / (1 - share)
    rest = std**2 - deviation**2 * share / (1 - share)
    dense = (np.asarray(summary.feature_zero_fraction) < _SPARSE) & (std > 0)
    # What is left of a feature with one value besides the extreme one is rounding.
    dense &= rest > 1e-12 * std**2
    if not dense.any():
        return None
    scale = np.sqrt(np.where(dense, rest, 1.0))
    # A pixel that hardly any image fills is no longer 0 once standardized, but still as rare.
    dense &= np.minimum(above, below) > _RARE * scale
    distance = np.where(dense, deviation / scale, 0.0)
    worst = int(np.argmax(distance))
    names = summary.feature_names
    highest = above[worst] >= below[worst]
    return FarEntry(
        index=index,
        summary=summary,
        feature=f"'{names[worst]}'" if names else f"number {worst}",
        value=float((summary.feature_max if highest else summary.feature_min)[worst]),
        share=float(share[worst]),
        repeated=bool(share[worst] * count > 1.5),
        distance=float(distance[worst]),
        typical=(float(rest_mean[worst]), float(scale[worst])),
        raw=bool(np.median(np.hypot(mean, std)) > _UNSCALED),
    )

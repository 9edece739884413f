"""Whether validation data come from the distribution the training data come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import RunRecord, TensorSummary

Floats = NDArray[np.float64]

_SIGNIFICANCE = 1e-3
_FEWEST_ROWS = 20
_NARROWER = 3.0
_FEWEST_FEATURES = 4
_NEARLY_ALL = 0.1


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How one tensor differs between training and validation.

    Attributes:
        name: "x", "y", ...
        kind: Input or target.
        index: Its number among the inputs or targets.
        gap: Distance of the means ÷ the larger standard deviation, of the feature where it is
            largest; 0 where sampling noise (Bonferroni over features) explains it.
        stretch: Standard deviation in validation ÷ in training, likewise; a third of the inverse
            where validation is narrower, as a stretch of time is by nature, or the inverse that
            nine in ten of several features exceed, as a scaler fitted twice leaves them.
        feature: The feature concerned, as the user knows it; "" for a single one.
        train: Mean and standard deviation of that feature in training.
        validation: The same in validation.
        class_distance: Total variation distance of the class shares; None where there are none.
    """

    name: str
    kind: Literal["input", "target"]
    index: int
    gap: float
    stretch: float
    feature: str
    train: tuple[float, float]
    validation: tuple[float, float]
    class_distance: float | None
    summaries: tuple[TensorSummary, TensorSummary]

    @property
    def pixel_factor(self) -> bool | None:
        """True: only training is divided by 255; False: only validation; None: neither."""
        train, validation = self.summaries
        if self.kind == "target" or min(train.min, validation.min) < 0:
            return None
        small, large = sorted((train.max, validation.max))
        if not (small <= 1 and 128 <= large <= 255):
            return None
        return train.max < validation.max


@dataclass(frozen=True, kw_only=True)
class DistributionShift:
    """Every input and target that both sides have."""

    shifts: tuple[Shift, ...]
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        train, validation = record.train, record.validation
        if train is None or validation is None:
            raise NotRecorded.of(record, "validation data", "pass validation_data=")
        pairs: list[tuple[str, Literal["input", "target"], int, TensorSummary, TensorSummary]] = [
            (f"x[{i}]" if len(train.inputs) > 1 else "x", "input", i, a, b)
            for i, (a, b) in enumerate(zip(train.inputs, validation.inputs))
        ]
        fit = record.fit
        # Weights make up for shares of classes that training was never meant to keep.
        weighted = fit is not None and bool(fit.class_weight or fit.sample_weight)
        targets = () if weighted else zip(train.targets, validation.targets)
        pairs += [
            (f"y[{i}]" if len(train.targets) > 1 else "y", "target", i, a, b)
            for i, (a, b) in enumerate(targets)
        ]
        shifts = [_shift(*pair) for pair in pairs if _comparable(pair[3], pair[4])]
        if not shifts:
            raise NotApplicable(
                f"fewer than {_FEWEST_ROWS} examples on one side, or nothing numeric to compare"
            )
        return cls(shifts=tuple(shifts), setup=setup)


def _comparable(train: TensorSummary, validation: TensorSummary) -> bool:
    enough = min(train.rows, validation.rows) >= _FEWEST_ROWS
    same = len(train.feature_mean) == len(validation.feature_mean)
    return enough and same and bool(np.isfinite([train.abs_max, validation.abs_max]).all())


def _shift(
    name: str,
    kind: Literal["input", "target"],
    index: int,
    train: TensorSummary,
    validation: TensorSummary,
) -> Shift:
    means, deviations = _features(train)
    other_means, other_deviations = _features(validation)
    limit = float(scipy.stats.norm.isf(_SIGNIFICANCE / 2 / len(means)))
    gap = _gaps(means, deviations, other_means, other_deviations, train, validation, limit)
    stretch = _stretches(deviations, other_deviations, train, validation, limit)
    distance = _class_distance(train, validation) if kind == "target" else None
    if distance is not None:
        gap, stretch = np.zeros_like(gap), np.ones_like(stretch)
    worst = int(np.argmax(np.maximum(gap, np.log(stretch))))
    names = train.feature_names
    label = f"'{names[worst]}'" if names else f"number {worst}"
    return Shift(
        name=name,
        kind=kind,
        index=index,
        gap=float(gap.max()),
        stretch=float(stretch.max()),
        feature=label if len(means) > 1 else "",
        train=(float(means[worst]), float(deviations[worst])),
        validation=(float(other_means[worst]), float(other_deviations[worst])),
        class_distance=distance,
        summaries=(train, validation),
    )


def _features(summary: TensorSummary) -> tuple[Floats, Floats]:
    if not len(summary.feature_mean):
        return np.asarray([summary.mean]), np.asarray([summary.std])
    return (
        np.asarray(summary.feature_mean, dtype=np.float64),
        np.asarray(summary.feature_std, dtype=np.float64),
    )


def _kurtosis(summary: TensorSummary) -> Floats:
    """The largest that each feature's kurtosis can be, and at least that of a normal one.

    Its fourth moment is at most its variance times the squared distance of its farthest value.
    """
    means, deviations = _features(summary)
    has_range = len(summary.feature_min) == len(means)
    low = summary.feature_min if has_range else summary.min
    high = summary.feature_max if has_range else summary.max
    farthest = np.maximum(np.asarray(high) - means, means - np.asarray(low))
    bound = (farthest / np.where(deviations > 0, deviations, np.inf)) ** 2
    return np.asarray(np.maximum(bound, 3.0), dtype=np.float64)


def _gaps(
    means: Floats,
    deviations: Floats,
    other_means: Floats,
    other_deviations: Floats,
    train: TensorSummary,
    validation: TensorSummary,
    limit: float,
) -> Floats:
    difference = np.abs(means - other_means)
    error = np.sqrt(deviations**2 / train.rows + other_deviations**2 / validation.rows)
    rounding = 1e-5 * np.maximum(np.abs(means), np.abs(other_means))
    real = difference > np.maximum(limit * error, rounding)
    scale = np.maximum(np.maximum(deviations, other_deviations), 1e-6 * difference)
    return np.where(real, difference / np.where(scale > 0, scale, 1.0), 0.0)


def _stretches(
    deviations: Floats,
    other_deviations: Floats,
    train: TensorSummary,
    validation: TensorSummary,
    limit: float,
) -> Floats:
    varies = (deviations > 0) & (other_deviations > 0)
    ratio = np.where(varies, other_deviations, 1.0) / np.where(varies, deviations, 1.0)
    tails = _kurtosis(train), _kurtosis(validation)
    variance = (tails[0] - 1) / train.rows + (tails[1] - 1) / validation.rows
    beyond_error = np.abs(np.log(ratio)) > limit * np.sqrt(variance / 4)
    # The spread of a feature that seldom varies is the work of a few rows, one in `kurtosis`: a
    # side too small to hold any of them looks narrow by chance.
    narrow = ratio < 1
    carriers = np.where(narrow, validation.rows / tails[0], train.rows / tails[1])
    beyond_chance = beyond_error & (np.exp(-carriers) < 2 * scipy.stats.norm.sf(limit))
    several = np.count_nonzero(varies) >= _FEWEST_FEATURES
    everywhere = float(np.quantile(1 / ratio[varies], _NEARLY_ALL)) if several else 1.0
    found = np.maximum(ratio, np.maximum(1 / ratio / _NARROWER, everywhere))
    return np.where(beyond_chance, np.maximum(1.0, found), 1.0)


def _class_distance(train: TensorSummary, validation: TensorSummary) -> float | None:
    """Total variation distance of the class shares, 0 within sampling noise."""
    tables = [_classes(train), _classes(validation)]
    if tables[0] is None or tables[1] is None:
        return None
    every = sorted(tables[0].keys() | tables[1].keys())
    counts = np.array([[table.get(label, 0.0) for label in every] for table in tables if table])
    if len(every) < 2:
        return 0.0
    shares = counts / counts.sum(axis=1, keepdims=True)
    chance = scipy.stats.chi2_contingency(counts).pvalue
    return float(0.5 * np.abs(shares[0] - shares[1]).sum()) if chance < _SIGNIFICANCE else 0.0


def _classes(targets: TensorSummary) -> dict[float, float] | None:
    if targets.one_hot_fraction == 1 and len(targets.argmax_counts):
        return {float(i): float(n) for i, n in enumerate(targets.argmax_counts) if n}
    if targets.integral and targets.shape in ((), (1,)) and len(targets.values) <= 100:
        counts = zip(targets.values, targets.value_counts)
        return {float(value): float(count) for value, count in counts} or None
    return None

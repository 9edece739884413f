"""What simple models found in a sample of the data while it was recorded (`record.probes`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.label_encoding import LabelEncoding
from lossdoctor.evidence.output_head import CLASS_LOSSES
from lossdoctor.evidence.sample_size import holds_rules, is_discrete
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import RunRecord, TensorSummary

_SIGNALS = ("signal", "flat_signal", "pooled_signal")
_NO_TABLE = "a table of numbers as input (of images and sequences simple models say nothing)"
_STANDARD_ERRORS = 3.0
_OWN_VALUE = 0.9
# Measured on three overlapping Gaussians: 3 % at R² 0.6, 14 % at 0.27, 27 % at 0.12.
_OVERLAP_AT_NO_SIGNAL = 0.4
_CLUELESS = 0.5
_BORDER_UNSEEN = 0.1  # up to 0.08 in four of some 900 sound runs
_FEW_COPIES = 0.05


@dataclass(frozen=True, kw_only=True)
class Signal:
    """The best out-of-fold R² of simple models.

    For tables of a linear model, nearest neighbors and a forest; for images, sequences and ids of
    a linear model and neighbors on them as they are, and of a linear model on pooled features.
    """

    r2: float
    rows: int
    minority: int
    """How many of them are not of the most frequent class (all of them for quantities)."""
    discrete: bool
    """The inputs are patterns of two or three whole numbers."""
    flat: bool = False
    """The inputs are images or sequences, flattened: simple models may miss what is in them."""
    pooled: bool = False
    """The inputs are images, sequences or ids, looked at wherever in them something stands."""
    ordered: bool = False
    """They are sequences or ids, whose order may tell what counts and responses do not."""

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup, probes = Setup.from_record(record), record.probes
        if record.train and all(y.min == y.max for y in record.train.targets):
            raise NotApplicable("the targets are all the same")
        if "pooled_signal" in probes and ("signal" not in probes or reads_ids(setup)):
            if any(len(output.shape) > 2 for output in setup.model.outputs):
                raise NotApplicable("the model answers for every position, simple models do not")
            single = [math.prod(n or 0 for n in summary.shape) == 1 for summary in _inputs(record)]
            if reads_ids(setup) and len(single) > 1 and all(single):
                raise NotApplicable("of pairs of ids simple models see each alone")
            return cls(
                r2=max(probes[name] for name in _SIGNALS if name in probes),
                rows=int(probes["signal_rows"]),
                minority=int(probes.get("minority_rows", probes["signal_rows"])),
                discrete=False,
                pooled=True,
                ordered=all(len(summary.shape) < 3 for summary in _inputs(record)),
            )
        _require_table(record)
        if "flat_signal" in record.probes:
            rows = record.train.rows or 0 if record.train else 0
            return cls(
                r2=record.probes["flat_signal"], rows=rows, minority=rows, discrete=False, flat=True
            )
        if "signal" not in record.probes:
            raise NotRecorded.of(record, "simple models", f"they need 60 examples and {_NO_TABLE}")
        return cls(
            r2=record.probes["signal"],
            rows=int(record.probes["signal_rows"]),
            minority=int(record.probes.get("minority_rows", record.probes["signal_rows"])),
            discrete=any(is_discrete(summary) for summary in _inputs(record)),
        )


@dataclass(frozen=True, kw_only=True)
class LinearReach:
    """How much of the targets a linear function of the inputs can explain at most (`r2`, on the
    rows it was fitted to), and how much there is to explain.

    `present` is the out-of-fold R² of simple models that are not linear, or 1 where the inputs are
    discrete patterns that never come with two different targets; None where it is not known.
    """

    r2: float
    present: float | None

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        _require_table(record)
        if "linear_fit" not in record.probes:
            raise NotRecorded.of(record, "a linear fit", f"needs {_NO_TABLE}")
        present = 1.0 if holds_rules(record) else record.probes.get("signal")
        return cls(r2=record.probes["linear_fit"], present=present)


@dataclass(frozen=True, kw_only=True)
class LabelAgreement:
    """How the labels agree with those around them.

    Attributes:
        excess: By how much neighbors (or, of other inputs than tables, a linear model on pooled
            features) mistake training labels more often than validation labels,
            when fitted on other training rows; None without validation.
        excess_error: Standard error of that difference.
        interior: Share of labels that contradict their neighbors, and the best simple model, far
            from any class border; at most as many as can be wrong where simple models predict this
            much of them out of fold.
        interior_error: Its standard error.
        explained: Share that class overlap as wide as the weak signal tells would explain.
        conflicting: Share of rows with the same input as another row and another label.
        everywhere: Share of all labels that do.
        neighbor_error: Share of all labels that contradict their neighbors.
        chance: That share if every label were called the most frequent one.
        kind: What the inputs are: a table of numbers, images or sequences, or ids.
    """

    excess: float | None
    excess_error: float
    interior: float
    interior_error: float
    explained: float
    conflicting: float
    continuous: bool
    """Some input is no whole number, so that equal rows are no accident."""
    everywhere: float
    neighbor_error: float
    chance: float
    kind: Literal["table", "grid", "ids"] = "table"

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        judged = LabelEncoding.from_record(record).judged
        if not any(found.family in CLASS_LOSSES for found in judged):
            raise NotApplicable("the loss is not one for classes")
        probes = record.probes
        if errors_kind(record) == "pooled_":
            reads = reads_ids(Setup.from_record(record))
            return cls._of_pooled_features(probes, "ids" if reads else "grid")
        _require_table(record)
        if "label_noise" not in probes or "signal" not in probes:
            raise NotRecorded.of(record, "simple models", f"they need classes and {_NO_TABLE}")
        classes = max(found.labels.classes for found in judged)
        interior = min(probes["label_noise"], _most_wrong(probes["signal"], classes))
        excess, error = excess_over_validation(probes)
        return cls(
            excess=excess,
            excess_error=error,
            interior=interior,
            interior_error=_standard_error(interior, probes["label_noise_rows"]),
            explained=_OVERLAP_AT_NO_SIGNAL * (1 - min(max(probes["signal"], 0.0), 1.0)) ** 2,
            conflicting=probes.get("conflicting_labels", 0.0),
            continuous=not all(summary.integral for summary in _inputs(record)),
            everywhere=probes.get("contradicted", 0.0),
            neighbor_error=probes.get("neighbor_error", 0.0),
            chance=probes["minority_rows"] / probes["signal_rows"],
        )

    @classmethod
    def _of_pooled_features(cls, probes: dict[str, float], kind: Literal["grid", "ids"]) -> Self:
        """Of images, sequences and ids only validation tells: they have no near neighbors."""
        if probes.get("validation_overlap", 0.0) > _FEW_COPIES:
            raise NotApplicable("validation rows stand in the training data, so are known by heart")
        excess, error = excess_over_validation(probes, "pooled_")
        return cls(
            excess=excess,
            excess_error=error,
            interior=0.0,
            interior_error=0.0,
            explained=0.0,
            conflicting=0.0,
            continuous=False,
            everywhere=0.0,
            neighbor_error=0.0,
            chance=probes["minority_rows"] / probes["signal_rows"],
            kind=kind,
        )

    @property
    def evenness(self) -> float:
        """The interior share, less what chance can add, ÷ that of all labels: near 0 where classes
        overlap at their border, near 1 where labels are wrong wherever they lie.

        0 where neighbors are hardly better than chance, so that no border can be told, and where
        less than a tenth is certain: so much may be a border that neighbors do not see.
        """
        certain = self.interior - 2 * self.interior_error
        clueless = self.neighbor_error > _CLUELESS * self.chance
        if not self.everywhere or clueless or certain < _BORDER_UNSEEN:
            return 0.0
        return certain / self.everywhere

    @property
    def beyond_overlap(self) -> float:
        """The interior share less what overlap and chance can explain."""
        return self.interior - 1.5 * self.explained - 2 * self.interior_error

    @property
    def beyond_validation(self) -> float:
        """The excess over validation, 0 where chance can explain it."""
        if self.excess is None or self.excess < _STANDARD_ERRORS * self.excess_error:
            return 0.0
        return self.excess


def _most_wrong(r2: float, classes: int) -> float:
    """The largest share of wrong labels with which a model can reach this R² out of fold.

    Where a share w of the labels is moved to another class, the best prediction of one-hot labels
    keeps a squared error of 2w(1 - w), out of the 1 - 1/C that a constant has with even classes.
    """
    product = min(0.25, (1 - r2) * (1 - 1 / max(classes, 2)) / 2)
    return (1 - math.sqrt(1 - 4 * product)) / 2


@dataclass(frozen=True, kw_only=True)
class ValidationOverlap:
    """Share of validation rows that stand in the training data as well."""

    share: float
    matches: int
    repeats: float
    """Share of training rows that repeat another one because there are few values to take."""
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        if "validation_overlap" not in record.probes:
            raise NotRecorded.of(
                record, "validation overlap", "needs validation and numeric inputs"
            )
        return cls(
            share=record.probes["validation_overlap"],
            matches=int(record.probes["validation_matches"]),
            repeats=max(map(_by_nature, _inputs(record)), default=0.0),
            setup=setup,
        )


def _by_nature(summary: TensorSummary) -> float:
    """Share of rows that repeat another one because there are few values to take.

    Where each different row brings a value of its own, equal rows are copies of one another. The
    chance to meet an equal row grows with the number of rows, of which the sample has fewer.
    """
    different = (1 - summary.duplicate_fraction) * summary.sampled_rows
    copied = not summary.integral and summary.distinct >= _OWN_VALUE * different
    growth = summary.rows / max(1, summary.sampled_rows)
    return 0.0 if copied else summary.duplicate_fraction * growth


def _inputs(record: RunRecord) -> tuple[TensorSummary, ...]:
    return record.train.inputs if record.train else ()


def _require_table(record: RunRecord) -> None:
    if reads_ids(Setup.from_record(record)):
        raise NotApplicable("the inputs are ids, whose size means nothing to simple models")


def reads_ids(setup: Setup) -> bool:
    """Whether some input goes through an embedding."""
    return any(layer.class_name == "Embedding" for layer in setup.model.layers)


def errors_kind(record: RunRecord) -> Literal["pooled_", ""]:
    """Which simple models' errors tell: those on pooled features, or on the table as it is."""
    told = reads_ids(Setup.from_record(record)) or "signal" not in record.probes
    return "pooled_" if told and "pooled_fold_error" in record.probes else ""


def excess_over_validation(probes: dict[str, float], kind: str = "") -> tuple[float | None, float]:
    """By how much more unseen training labels are mistaken than validation labels, None without
    these, and the standard error of that."""
    if f"{kind}validation_error" not in probes or "signal_rows" not in probes:
        return None, 0.0
    inside, outside = probes[f"{kind}fold_error"], probes[f"{kind}validation_error"]
    errors = (
        _standard_error(inside, probes["signal_rows"]),
        _standard_error(outside, probes[f"{kind}validation_error_rows"]),
    )
    return inside - outside, math.hypot(*errors)


def _standard_error(share: float, rows: float) -> float:
    return math.sqrt(max(share * (1 - share), 1 / max(rows, 1)) / max(rows, 1))

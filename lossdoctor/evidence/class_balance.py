"""How often each class occurs among the targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable
from lossdoctor.evidence.label_encoding import Judged, Kind, LabelEncoding
from lossdoctor.evidence.output_head import CLASS_LOSSES
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import RunRecord

_FOR_RARE_CLASSES = {
    "AUC",
    "F1Score",
    "FBetaScore",
    "Precision",
    "PrecisionAtRecall",
    "Recall",
    "RecallAtPrecision",
    "SensitivityAtSpecificity",
    "SpecificityAtSensitivity",
}
_EXCLUSIVE = {Kind.BINARY, Kind.SIGN, Kind.TWO_VALUES, Kind.CLASS_IDS, Kind.ONE_HOT}


@dataclass(frozen=True, kw_only=True)
class Balance:
    """The classes of one output that occur, rarest first, with their sampled counts.

    `labels` are ids as in y, or column numbers of one-hot rows. `keyed` says whether Keras'
    `class_weight` can name them (whole numbers from 0). `weights_given` are the shares of the total
    weight that sample or class weights leave to each; empty without them.
    """

    judged: Judged
    labels: tuple[int, ...]
    counts: tuple[int, ...]
    rare_metrics: bool
    weights_given: tuple[float, ...] = ()

    @property
    def lightest(self) -> tuple[int, float] | None:
        """The class the given weights leave least to, and that as a share of its fair one."""
        if not self.weights_given:
            return None
        least = min(self.weights_given)
        return self.labels[self.weights_given.index(least)], least * len(self.labels)

    @property
    def fair_share(self) -> float:
        """The rarest class' count ÷ what it would be if all classes were equally frequent."""
        return self.counts[0] * len(self.counts) / sum(self.counts)

    @property
    def weights(self) -> dict[int, float]:
        """The weight of each class that makes all classes count alike, 1 on average."""
        total, classes = sum(self.counts), len(self.counts)
        return {
            label: round(total / (classes * count), 4)
            for label, count in sorted(zip(self.labels, self.counts))
        }

    @property
    def keyed(self) -> bool:
        """Whether Keras' `class_weight` can name the classes: whole numbers from 0."""
        return min(self.labels) >= 0


@dataclass(frozen=True, kw_only=True)
class ClassBalance:
    """The balance of every output whose examples have exactly one class each."""

    outputs: tuple[Balance, ...]
    weighted: bool
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        encoding = LabelEncoding.from_record(record)
        rare_metrics = any(m.class_name in _FOR_RARE_CLASSES for m in encoding.setup.metrics)
        given = dict(record.train.weighted_classes) if record.train else {}
        outputs = [
            balance
            for judged in encoding.judged
            if (balance := _balance(judged, rare_metrics, given))
        ]
        if not outputs:
            raise NotApplicable("the targets are not one class per example")
        fit = encoding.setup.fit
        return cls(
            outputs=tuple(outputs),
            weighted=bool(fit.class_weight or fit.sample_weight),
            setup=encoding.setup,
        )


def _balance(judged: Judged, rare_metrics: bool, given: Mapping[float, float]) -> Balance | None:
    labels, targets = judged.labels, judged.head.targets
    classes = judged.family in CLASS_LOSSES and (labels.kind in _EXCLUSIVE or labels.may_be_ids)
    if not classes or targets is None or not labels.counts:
        return None
    # One class per pixel or time step is a matter of its own: there rare classes are normal.
    if len(targets.shape) > (1 if labels.kind is Kind.ONE_HOT or targets.shape[-1:] == (1,) else 0):
        return None
    one_hot = labels.kind is Kind.ONE_HOT
    ids = range(labels.columns) if one_hot else map(round, labels.values)
    counts = map(int, targets.argmax_counts) if one_hot else labels.counts
    present = sorted((count, label) for label, count in zip(ids, counts) if count)
    if len(present) < 2:
        return None
    return Balance(
        judged=judged,
        labels=tuple(label for _, label in present),
        counts=tuple(count for count, _ in present),
        rare_metrics=rare_metrics,
        weights_given=tuple(given.get(label, 0.0) for _, label in present) if given else (),
    )

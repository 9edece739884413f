"""What the model was seen to answer: how much it varies, and how often it is right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.output_head import CROSS_ENTROPIES, Head, OutputHeads
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import RunRecord, TensorSummary

Floats = NDArray[np.float64]

CHANCE_TOLERANCE = 2e-4
"""Relative distance up to which a loss stands at a chance constant: its four printed digits."""
_MOST_CLASSES = 20
_FEWEST_EPOCHS = 5
# Minus the logarithms of the smallest probability tf.keras, Keras 3 and older backends let pass.
_CLIP_LOGARITHMS = (15.33, 15.42, 15.94, 16.12, 20.72)
_CLIP_TOLERANCE = 2e-3
_SATURATED_EPOCHS = 3
_FEWEST_ERRORS = 0.01
_MACHINE = 1e-6
_QUANTILES = 9


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The recorded predictions of one output.

    `spread` is the standard deviation over examples ÷ that of the targets, in the head's own
    space; `initial_spread` the same before training. None where not recorded. `unanswered` is the
    share of the targets' variance that lies in columns whose answer is the same for every example.
    """

    head: Head
    spread: float
    unanswered: float
    initial_spread: float | None
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The recorded predictions of all outputs whose targets vary."""

    answers: tuple[Answers, ...]
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        outputs = OutputHeads.from_record(record)
        found = []
        for head in outputs.heads:
            seen = head.predictions
            scale = _target_spread(head)
            if seen is None or seen.row_spread is None or not scale:
                continue
            initial = head.initial_predictions
            before = None if initial is None else initial.row_spread
            found.append(
                Answers(
                    head=head,
                    spread=seen.row_spread / scale,
                    unanswered=_unanswered(head.targets, seen),
                    initial_spread=None if before is None else before / scale,
                    low=seen.min,
                    high=seen.max,
                )
            )
        if not found and any(head.predictions is not None for head in outputs.heads):
            raise NotApplicable(
                "the targets are the same for every example, or their spread is not known"
            )
        if not found:
            raise NotRecorded.of(record, "the predictions", "run with LossDoctor()")
        return cls(answers=tuple(found), setup=outputs.setup)


def _unanswered(targets: TensorSummary | None, seen: TensorSummary) -> float:
    wanted = np.asarray(targets.feature_std if targets else (), dtype=np.float64) ** 2
    if len(wanted) != len(seen.feature_std) or not wanted.sum():
        return 0.0
    same = np.asarray(seen.feature_max) == np.asarray(seen.feature_min)
    return float(wanted[same].sum() / wanted.sum())


def _target_spread(head: Head) -> float | None:
    """Standard deviation of the targets over examples, in the space of the predictions."""
    targets = head.targets
    # Codes for what a loss leaves out may lie far off all others.
    if targets is None or head.loss.ignored_target is not None:
        return None
    if head.family is not None and head.family.name == "SPARSE":
        return _spread_of_ids(targets)
    return targets.row_spread


def _spread_of_ids(targets: TensorSummary) -> float | None:
    """That of the ids' one-hot rows, averaged over the classes."""
    counts = np.asarray(targets.value_counts, dtype=np.float64)
    if not len(counts):
        return None
    share = counts / counts.sum()
    return float(np.sqrt(share * (1 - share)).mean())


@dataclass(frozen=True, kw_only=True)
class ChanceLevel:
    """What the logs of a run say about uninformative answers.

    `classes` is the C whose ln C the loss has stood at for all its last epochs, `frozen_accuracy`
    the accuracy that did not change by a digit while the loss did; None otherwise.
    """

    loss: float
    classes: int | None
    frozen_accuracy: float | None
    epochs: int

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        logs = record.history.logs if record.history else {}
        loss = np.asarray(logs.get("loss", ()), dtype=np.float64)
        if len(loss) < _FEWEST_EPOCHS or not np.isfinite(loss).all():
            raise NotRecorded(f"finite losses of at least {_FEWEST_EPOCHS} epochs")
        accuracy = np.asarray(logs.get("accuracy", logs.get("acc", ())), dtype=np.float64)
        return cls(
            loss=float(loss[-1]),
            classes=_chance_classes(loss[-_FEWEST_EPOCHS:], accuracy),
            frozen_accuracy=_frozen(loss, accuracy),
            epochs=len(loss),
        )


def _chance_classes(loss: Floats, accuracy: Floats) -> int | None:
    for classes in range(2, _MOST_CLASSES + 1):
        chance = math.log(classes)
        if np.all(np.abs(loss - chance) <= CHANCE_TOLERANCE * chance):
            informed = len(accuracy) and accuracy[-1] > 1.5 / classes
            return None if informed else classes
    return None


def _frozen(loss: Floats, accuracy: Floats) -> float | None:
    if len(accuracy) != len(loss) or not 0 < accuracy[-1] < 1:
        return None
    moved = np.ptp(loss) > 0.01 * abs(loss[0])
    return float(accuracy[-1]) if moved and np.ptp(accuracy) <= 1e-7 else None


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """Signs that a cross-entropy is paid in clipped logarithms.

    `wrong_and_sure` is the share of examples predicted 0 or 1 to machine precision and wrong, by
    output; `clipped` the logged loss ÷ error rate of the last epochs where that is the negative
    logarithm of a clip constant, else None. `sure_before_training` says the untrained model's
    predictions were 0 or 1 already.
    """

    wrong_and_sure: tuple[tuple[Head, float], ...]
    sure_before_training: bool
    clipped: float | None
    error_rate: float | None
    setup: Setup | None

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        if record.model is not None and record.losses:
            return cls._of_run(record)
        loss, errors = _logged_errors(record)
        return cls(
            wrong_and_sure=(),
            sure_before_training=False,
            clipped=_clip_constant(loss, errors),
            error_rate=float(errors[-1]),
            setup=None,
        )

    @classmethod
    def _of_run(cls, record: RunRecord) -> Self:
        outputs = OutputHeads.from_record(record)
        judged = [head for head in outputs.judged_by_keras() if head.family in CROSS_ENTROPIES]
        if not judged:
            raise NotApplicable("no output is trained with a cross-entropy")
        paired = [(head, head.pairing.saturated_wrong) for head in judged if head.pairing]
        known = tuple((head, share) for head, share in paired if share is not None)
        if not known:
            raise NotRecorded.of(record, "the predictions", "run with LossDoctor()")
        return cls(
            wrong_and_sure=known,
            sure_before_training=all(_is_sure(head.initial_predictions) for head, _ in known),
            clipped=None,
            error_rate=None,
            setup=outputs.setup,
        )


def _is_sure(predictions: TensorSummary | None) -> bool:
    """Most entries are 0 or 1 to machine precision (quantiles at 5, 25, 75 and 95 %)."""
    if predictions is None or len(predictions.quantiles) < _QUANTILES:
        return False
    ends = (predictions.quantiles[i] for i in (2, 3, 5, 6))
    return all(min(abs(q), abs(1 - q)) < _MACHINE for q in ends)


def _logged_errors(record: RunRecord) -> tuple[Floats, Floats]:
    logs = record.history.logs if record.history else {}
    loss = np.asarray(logs.get("loss", ()), dtype=np.float64)
    accuracy = np.asarray(logs.get("accuracy", logs.get("acc", ())), dtype=np.float64)
    if len(loss) < _SATURATED_EPOCHS or len(accuracy) != len(loss):
        raise NotRecorded(f"loss and accuracy of at least {_SATURATED_EPOCHS} epochs")
    return loss, 1.0 - accuracy


def _clip_constant(loss: Floats, errors: Floats) -> float | None:
    """Loss ÷ error rate of the last epochs, where it sits at the logarithm of a clip constant."""
    loss, errors = loss[-_SATURATED_EPOCHS:], errors[-_SATURATED_EPOCHS:]
    if not np.isfinite(loss).all() or (errors < _FEWEST_ERRORS).any():
        return None
    ratios = loss / errors
    for constant in _CLIP_LOGARITHMS:
        if np.all(np.abs(ratios / constant - 1) <= _CLIP_TOLERANCE):
            return float(ratios[-1])
    return None

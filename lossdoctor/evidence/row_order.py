"""Whether the rows stand sorted by class where their order matters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.setup import Setup
from lossdoctor.record.run import DataRecord, RunRecord, TensorSummary

_FEWEST_ROWS = 20
_MOST_CLASSES = 100
_SPREADS = 6.0


@dataclass(frozen=True, kw_only=True)
class RowOrder:
    """How class and position in the data hang together.

    Attributes:
        head: Classes in the first fifth of y, where y was given in its order.
        tail: Classes in its last fifth.
        taken_from_tail: The validation rows are the tail of y.
        in_order: Training takes the rows in their given order.
        missing_in_validation: Classes of the training rows that no validation row has, although by
            chance (probability below 1e-6) some would.
        one_class_batches: Share of recorded batches that hold one class only, less the share that
            would by chance (a rare class is absent from most batches).
        correlation: Of two examples of a recorded batch in their class.
        rows: How many examples one pass over the data has; 0 = not known.
    """

    head: tuple[float, ...]
    tail: tuple[float, ...]
    taken_from_tail: bool
    in_order: bool
    missing_in_validation: tuple[float, ...]
    one_class_batches: float | None
    correlation: float | None
    rows: int
    setup: Setup

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        setup = Setup.from_record(record)
        train = record.train
        if train is None or len(train.targets) != 1:
            raise NotRecorded.of(record, "the targets", "pass y, or run with LossDoctor()")
        shares = _class_shares(train.targets[0])
        if shares is None or len(shares) < 2:
            raise NotApplicable("the targets are not classes whose order could be judged")
        head, tail = train.head_tail_classes or ((), ())
        return cls(
            head=head,
            tail=tail,
            taken_from_tail=bool(setup.fit.validation_split),
            in_order=setup.fit.shuffle is False,
            missing_in_validation=_missing(shares, record.validation),
            one_class_batches=_beyond_chance(train, shares),
            correlation=train.batch_correlation,
            rows=train.rows,
            setup=setup,
        )

    @property
    def is_sorted(self) -> bool:
        """The two ends of y have no class in common."""
        return bool(self.head) and bool(self.tail) and not set(self.head) & set(self.tail)


def _class_shares(targets: TensorSummary) -> dict[float, float] | None:
    if targets.one_hot_fraction == 1 and len(targets.argmax_counts):
        counts = np.asarray(targets.argmax_counts, dtype=float)
        classes = np.arange(len(counts), dtype=float)
    elif targets.integral and targets.shape in ((), (1,)) and len(targets.values):
        counts = np.asarray(targets.value_counts, dtype=float)
        classes = np.asarray(targets.values, dtype=float)
    else:
        return None
    if len(classes) > _MOST_CLASSES or len(classes) > targets.sampled_rows / 2:
        return None
    return {float(c): n / counts.sum() for c, n in zip(classes, counts) if n}


def _beyond_chance(train: DataRecord, shares: dict[float, float]) -> float | None:
    if train.single_class_batches is None or not train.batch_size:
        return None
    by_chance = sum(share**train.batch_size for share in shares.values())
    return train.single_class_batches - by_chance


def _missing(shares: dict[float, float], validation: DataRecord | None) -> tuple[float, ...]:
    if validation is None or len(validation.targets) != 1:
        return ()
    seen = _class_shares(validation.targets[0]) or _single_class(validation.targets[0])
    rows = validation.targets[0].sampled_rows
    if seen is None or rows < _FEWEST_ROWS:
        return ()
    absent = tuple(c for c in shares if c not in seen)
    share = sum(shares[c] for c in absent)
    chance = rows * math.log1p(-min(share, 1 - 1e-12))
    # Of many rare classes some are always absent: which ones, nobody chose before.
    absence = {c: (1 - p) ** rows for c, p in shares.items()}
    expected = sum(p * absence[c] for c, p in shares.items())
    spread = math.sqrt(sum(p**2 * absence[c] for c, p in shares.items()))
    return absent if chance < math.log(1e-6) and share > expected + _SPREADS * spread else ()


def _single_class(targets: TensorSummary) -> dict[float, float] | None:
    return {targets.min: 1.0} if targets.integral and targets.min == targets.max else None

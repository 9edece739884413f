"""How well the trained model predicts its validation rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.baseline import Baseline
from lossdoctor.evidence.training_outcome import share_learned
from lossdoctor.record.run import RunRecord


@dataclass(frozen=True, kw_only=True)
class ValidationOutcome:
    """How much of what can be learned shows on validation rows.

    `share` is 1 - error rate ÷ that of the most frequent class, or R², of the worst output; where
    predictions were not recorded, how far the validation loss lies below the constant baseline.
    `worse_than_constant`: the validation loss lies above that baseline, as it may with good
    decisions, where a few wrong ones are made with far too much certainty.
    """

    share: float
    worse_than_constant: bool = False

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        pairings = record.validation.pairing if record.validation else ()
        shares = [share_learned(pairing) for pairing in pairings]
        known = [share for share, _ in filter(None, shares)]
        try:
            fallen = _fallen(record)
        except NotApplicable:
            if not known:
                raise
            return cls(share=min(known))
        return cls(share=min(known, default=fallen), worse_than_constant=fallen < 0)


def _fallen(record: RunRecord) -> float:
    """How far the validation loss lies below the constant baseline, 1 at the floor."""
    losses = None if record.history is None else record.history.logs.get("val_loss")
    if record.source != "run" or losses is None or not len(losses):
        raise NotRecorded("predictions of validation rows: run with validation_data")
    baseline = Baseline.from_record(record)
    end = float(losses[-1])
    return 1 - baseline.position(end) if np.isfinite(end) else -np.inf

"""How well the trained model predicts its validation rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from lossdoctor.evidence._missing import NotRecorded
from lossdoctor.evidence.baseline import Baseline
from lossdoctor.evidence.training_outcome import share_learned
from lossdoctor.record.run import RunRecord


@dataclass(frozen=True, kw_only=True)
class ValidationOutcome:
    """How much of what can be learned shows on validation rows.

    `share` is 1 - error rate ÷ that of the most frequent class, or R², of the worst output; where
    predictions were not recorded, how far the validation loss lies below the constant baseline.
    """

    share: float

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        pairings = record.validation.pairing if record.validation else ()
        shares = [share_learned(pairing) for pairing in pairings]
        known = [share for share, _ in filter(None, shares)]
        if known:
            return cls(share=min(known))
        losses = None if record.history is None else record.history.logs.get("val_loss")
        if record.source != "run" or losses is None or not len(losses):
            raise NotRecorded("predictions of validation rows: run with validation_data")
        baseline = Baseline.from_record(record)
        end = float(losses[-1])
        return cls(share=1 - baseline.position(end) if np.isfinite(end) else -np.inf)

"""How well the trained model predicts its validation rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotRecorded
from lossdoctor.evidence.training_outcome import share_learned
from lossdoctor.record.run import RunRecord


@dataclass(frozen=True, kw_only=True)
class ValidationOutcome:
    """1 - error rate ÷ that of the most frequent class, or R², of the worst output."""

    share: float

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        pairings = record.validation.pairing if record.validation else ()
        shares = [share_learned(pairing) for pairing in pairings]
        known = [share for share, _ in filter(None, shares)]
        if not known:
            raise NotRecorded("predictions of validation rows: run with validation_data")
        return cls(share=min(known))

"""What simple models reach on the same rows, as the probes measured it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotRecorded
from lossdoctor.record.run import RunRecord


@dataclass(frozen=True, kw_only=True)
class SimpleModels:
    """`signal` is the best out-of-fold R² of ridge regression, nearest neighbors and a forest; on
    flattened images and sequences of the first two, which a network must at least equal."""

    signal: float

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        signal = record.probes.get("signal", record.probes.get("flat_signal"))
        if signal is None:
            raise NotRecorded.of(record, "simple models", "they need 60 rows of numbers as input")
        return cls(signal=signal)

"""What simple models reach on the same rows, as the probes measured it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotRecorded
from lossdoctor.record.run import RunRecord


@dataclass(frozen=True, kw_only=True)
class SimpleModels:
    """`signal` is the best out-of-fold R² of ridge regression, nearest neighbors and a forest."""

    signal: float

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        if "signal" not in record.probes:
            raise NotRecorded.of(record, "simple models", "they need a table of numbers as input")
        return cls(signal=record.probes["signal"])

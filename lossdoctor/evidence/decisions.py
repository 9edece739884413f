"""How often the trained model decides wrongly, recomputed from its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.record.run import RunRecord


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Error rate of the only output's decisions on training rows, and of naming one class."""

    error_rate: float
    chance_error_rate: float

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        pairing = record.train.pairing if record.train else ()
        if record.source != "run" or not pairing:
            raise NotRecorded.of(record, "predictions", "run with LossDoctor()")
        if len(pairing) > 1:
            raise NotApplicable("there are several outputs, and one loss for them all")
        if pairing[0].error_rate is None or not pairing[0].chance_error_rate:
            raise NotApplicable("the targets are no classes, or all of one class")
        return cls(error_rate=pairing[0].error_rate, chance_error_rate=pairing[0].chance_error_rate)

    @property
    def share(self) -> float:
        """Share of the errors of naming one class that the model avoids."""
        return 1 - self.error_rate / self.chance_error_rate

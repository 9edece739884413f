"""Whether what holds in the training rows holds in the validation rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.probed import errors_kind, excess_over_validation
from lossdoctor.record.run import RunRecord

_STANDARD_ERRORS = 4.0
_FEWEST_KNOWN = 0.2


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """How simple models fitted to training rows do on other ones and on validation rows.

    Attributes:
        inside: Share of what can be predicted (of a constant's errors, or of the variance) on
            training rows they were not fitted to.
        outside: The same on validation rows.
        certain: Chance cannot explain the difference.
    """

    inside: float
    outside: float
    certain: bool

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        probes, kind = record.probes, errors_kind(record)
        if "validation_r2" in probes:
            inside = probes["signal"]
            return cls(
                inside=inside, outside=probes["validation_r2"], certain=inside >= _FEWEST_KNOWN
            )
        excess, noise = excess_over_validation(probes, kind)
        if excess is None:
            raise NotRecorded.of(
                record, "simple models on validation rows", "they need 60 examples on both sides"
            )
        chance = probes["minority_rows"] / probes["signal_rows"]
        if not chance:
            raise NotApplicable("there is one class only")
        errors = probes[f"{kind}fold_error"], probes[f"{kind}validation_error"]
        inside, outside = (1 - error / chance for error in errors)
        beyond = -excess > _STANDARD_ERRORS * noise
        return cls(inside=inside, outside=outside, certain=beyond and inside >= _FEWEST_KNOWN)

    @property
    def lost(self) -> float:
        """Share of what they know of training rows that does not hold in validation; 0 where they
        know too little or chance can explain it."""
        return 1 - self.outside / self.inside if self.certain else 0.0

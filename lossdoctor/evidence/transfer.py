"""Whether what holds in the training rows holds in the validation rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.probed import reads_ids, standard_error
from lossdoctor.evidence.setup import Setup
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
        probes, setup = record.probes, Setup.from_record(record)
        if "validation_r2" in probes:
            inside = probes["signal"]
            return cls(
                inside=inside, outside=probes["validation_r2"], certain=inside >= _FEWEST_KNOWN
            )
        pooled = "pooled_fold_error" in probes and ("signal" not in probes or reads_ids(setup))
        kind = "pooled_" if pooled else ""
        if f"{kind}validation_error" not in probes:
            raise NotRecorded.of(
                record, "simple models on validation rows", "they need 60 examples on both sides"
            )
        rows, chance = probes["signal_rows"], probes["minority_rows"] / probes["signal_rows"]
        if not chance:
            raise NotApplicable("there is one class only")
        errors = probes[f"{kind}fold_error"], probes[f"{kind}validation_error"]
        counts = rows, probes[f"{kind}validation_error_rows"]
        noise = math.hypot(*map(standard_error, errors, counts))
        inside, outside = (1 - error / chance for error in errors)
        beyond = errors[1] - errors[0] > _STANDARD_ERRORS * noise
        return cls(inside=inside, outside=outside, certain=beyond and inside >= _FEWEST_KNOWN)

    @property
    def lost(self) -> float:
        """Share of what they know of training rows that does not hold in validation; 0 where they
        know too little or chance can explain it."""
        return 1 - self.outside / self.inside if self.certain else 0.0

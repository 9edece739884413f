"""Whether a recorded run learned its training data, whatever its configuration looks like."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable, NotRecorded
from lossdoctor.evidence.baseline import Baseline, gain_ahead
from lossdoctor.record.run import RunRecord, TargetPairing

_SIGNIFICANCE = 0.01
_GAIN = 0.08
"""As in `undertrained`."""


@dataclass(frozen=True, kw_only=True)
class TrainingOutcome:
    """How much of what can be learned a run had learned at its end.

    `share` is 1 for a perfect fit and 0 for the best constant answer: 1 - error rate ÷ error rate
    of the most frequent class, or R², of the worst output; where predictions were not recorded,
    how far the loss fell from the constant baseline towards its floor. `measured_by` says which.
    `dearer_than_constant`: whatever is decided right, the logged loss ends above that of a constant
    answer, as where a few errors are made with absurd certainty. `falling`: it still fell at the
    end, so fast that half as many epochs again would gain a twelfth of that constant's.
    """

    share: float
    measured_by: str
    dearer_than_constant: bool = False
    falling: bool = False

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        if record.source != "run":
            raise NotRecorded("how the training went: run with LossDoctor()")
        losses = None if record.history is None else record.history.logs.get("loss")
        if losses is not None and len(losses) and not math.isfinite(losses[-1]):
            return cls(share=-math.inf, measured_by="loss")
        # As where a prediction is a distance; logits are not meant to equal their targets.
        odd = (loss for loss in record.losses if loss.prefers_constants and not loss.with_logits)
        if (loss := next(odd, None)) is not None:
            raise NotApplicable(
                f"your loss '{loss.name}' is not lowest where predictions equal the targets, so "
                "they are no estimates of them"
            )
        shares = (
            [share_learned(pairing) for pairing in record.train.pairing] if record.train else []
        )
        known = [share for share in shares if share is not None]
        paired = bool(known) and len(known) == len(shares)
        try:
            baseline = Baseline.from_record(record)
        except NotApplicable as reason:
            if paired:
                return cls(share=min(known)[0], measured_by=min(known)[1])
            raise NotRecorded(f"how the training went: {reason}") from reason
        share, measured_by = min(known) if paired else (1 - baseline.end, "loss")
        curve = baseline.curve
        falls = curve.tail.falls(_SIGNIFICANCE)
        return cls(
            share=share,
            measured_by=measured_by,
            dearer_than_constant=baseline.position(curve.end) > 1,
            falling=falls and gain_ahead(curve, baseline.scale, baseline.end) > _GAIN,
        )

    @property
    def sentence(self) -> str:
        """What the run achieved, for a message."""
        return {
            "r2": f"it fits its targets with R² {self.share:.2f}",
            "error_rate": f"it makes only {1 - self.share:.0%} of the errors of a constant answer",
            "loss": f"its loss fell {self.share:.0%} of the way from the baseline to the floor",
        }[self.measured_by]


def share_learned(pairing: TargetPairing) -> tuple[float, str] | None:
    """1 - error rate ÷ that of the most frequent class, or R², and which of the two it is."""
    if pairing.r2 is not None:
        return pairing.r2, "r2"
    if pairing.error_rate is not None and pairing.chance_error_rate:
        return 1 - pairing.error_rate / pairing.chance_error_rate, "error_rate"
    return None

"""Losses of the user's own that fall as the predictions get worse."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Self

from lossdoctor.evidence._missing import NotApplicable
from lossdoctor.evidence.loss_curve import LossCurve
from lossdoctor.evidence.training_outcome import share_learned
from lossdoctor.record.run import RunRecord

_NO_BOTTOM = -1e6  # where a minimizer is after 25 steps on a loss that falls forever
_RUNAWAY = -10.0
"""A loss below zero by so many times its first epoch's follows that fall."""
_WORSE = -0.5
"""Half as many errors again as the most frequent class makes, or an R² below this."""
_NO_BETTER = 0.1
_PROBABILITIES = {"sigmoid", "softmax"}


@dataclass(frozen=True, kw_only=True)
class Misdirection:
    """A loss of the user's own that a constant answer brings below that of perfect predictions.

    `end` is where training brought it, if that made the answers no better than a constant or worse;
    None where constants bring it down without bound. `perfect` is None where the head answers
    something else than the targets, as several quantiles.
    """

    name: str
    constant: float
    perfect: float | None
    end: float | None

    @classmethod
    def from_record(cls, record: RunRecord) -> Self:
        pairing = record.train.pairing if record.train else ()
        outcome = share_learned(pairing[0]) if len(pairing) == 1 else None
        first = last = 0.0
        with contextlib.suppress(NotApplicable, IndexError):
            first, last = (float(LossCurve.from_record(record).loss[i]) for i in (0, -1))
        share = 0.0 if outcome is None else outcome[0]
        outputs = record.model.outputs if record.model else ()
        for loss, output in zip(record.losses, outputs):
            constant, perfect = loss.baseline, loss.floor
            falls = loss.custom and constant is not None and constant < _NO_BOTTOM
            if falls and perfect is None and last < _RUNAWAY * abs(first):
                assert constant is not None
                return cls(name=loss.name, constant=constant, perfect=None, end=None)
            # What a head without a known range never answers, a distance below 0, is no constant.
            if not loss.prefers_constants or output.activation is None:
                continue
            assert constant is not None
            assert perfect is not None
            bottomless = constant < _NO_BOTTOM < perfect and (outcome is None or share < 0)
            # With the bound 0, as in a contrastive loss, targets need not be the best answer, but
            # then answers that cost little tell the rows apart.
            worse = share < _WORSE and last < min(0.0, perfect)
            estimates = outcome is not None and output.activation in _PROBABILITIES
            alike = estimates and abs(share) < _NO_BETTER and last < (constant + perfect) / 2
            if bottomless or worse or alike:
                end = None if bottomless else last
                return cls(name=loss.name, constant=constant, perfect=perfect, end=end)
        raise NotApplicable("no loss of your own is lowest for wrong predictions")

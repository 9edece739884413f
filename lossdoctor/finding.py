"""What a rule says: findings with their measurements and remedies, and one outcome per rule."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Literal

from lossdoctor.evidence.onset import Onset

__all__ = ["Finding", "Measurement", "Onset", "Outcome", "Remedy", "Severity", "Stage"]


class Severity(enum.IntEnum):
    """How much a finding matters.

    `INFO`: worth knowing, nothing to fix. `WARNING`: costs quality or will bite. `ERROR`: the run
    cannot be right as it stands.
    """

    INFO = 1
    WARNING = 2
    ERROR = 3


class Stage(enum.IntEnum):
    """Which repair comes first when several independent things are wrong.

    Nothing trains right while loss, labels and head disagree; a step size is only meaningful on
    finite, scaled data; an architecture can only be judged once its steps are sound; a budget
    only once everything else is.
    """

    CONTRACT = 1
    DATA = 2
    STEP_SIZE = 3
    ARCHITECTURE = 4
    BUDGET = 5


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number a finding rests on.

    `threshold` and `fires` are None for numbers shown as context only.
    """

    name: str
    value: float
    unit: str = ""
    threshold: float | None = None
    fires: Literal["above", "below"] | None = None

    @property
    def margin(self) -> float:
        """How far past its threshold the value lies, in orders of magnitude (0 without one)."""
        if self.threshold is None or self.fires is None:
            return 0.0
        if not math.isfinite(self.value):
            return math.inf
        low, high = sorted((abs(self.value), abs(self.threshold)))
        if high == 0:
            return 0.0
        return math.log10(high / low) if low > 0 else math.inf


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One change that cures a finding: what to do and why this one, and code for *this* model."""

    text: str
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something wrong (or worth knowing), the numbers it rests on, and the change that cures it.

    `message` is one sentence with the numbers. `explains` are the slugs of other present findings
    this one causes; `explained_by` is the slug of the finding that causes this one.
    `probability` is that of naming a root cause, where it was calibrated (see `probability.py`).
    """

    rule: str
    title: str
    severity: Severity
    stage: Stage
    message: str
    measurements: tuple[Measurement, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    layers: tuple[str, ...] = ()
    onset: Onset | None = None
    explains: tuple[str, ...] = ()
    explained_by: str | None = None
    probability: float | None = None

    @property
    def margin(self) -> float:
        """The largest margin among the measurements."""
        return max((m.margin for m in self.measurements), default=0.0)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one rule. `reason` says why it did not apply, was ignored, or failed."""

    rule: str
    title: str
    status: Literal["found", "clear", "not_applicable", "ignored", "failed"]
    reason: str = ""

"""What every rule is: thresholds with their source, evidence asked for by type, findings out."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_type_hints

from lossdoctor.finding import Finding, Measurement, Onset, Remedy, Severity, Stage


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """What a rule's threshold field says of itself."""

    fires: Literal["above", "below"]
    unit: str
    source: str


def threshold(default: float, *, fires: Literal["above", "below"], unit: str, source: str) -> Any:
    """Declare a threshold field of a rule.

    Args:
        default: The default value.
        fires: On which side of it the rule fires.
        unit: What the number counts, as it stands behind it in a report.
        source: Paper, measurement or reasoning the default comes from.
    """
    return dataclasses.field(
        default=default, metadata={"threshold": Threshold(fires=fires, unit=unit, source=source)}
    )


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Base of all rules.

    A subclass lives in `lossdoctor/rules/<slug>.py`, declares `title`, `severity`, `stage` and
    `explains`, its thresholds as fields, and `check`, whose annotations name the evidence it
    needs: `check(self, head: OutputHeads, curve: LossCurve | None)`. Evidence that was not
    recorded makes the rule not applicable, or arrives as None where the annotation allows it.
    """

    title: ClassVar[str]
    severity: ClassVar[Severity]
    stage: ClassVar[Stage]
    explains: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def slug(cls) -> str:
        """The rule's name: snake case of the class name, and the name of its file."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def thresholds(cls) -> dict[str, Threshold]:
        """The rule's threshold fields by name."""
        return {
            f.name: f.metadata["threshold"]
            for f in dataclasses.fields(cls)
            if "threshold" in f.metadata
        }

    @classmethod
    @functools.cache
    def evidence(cls) -> dict[str, Any]:
        """The annotations of `check`: which evidence it needs, by parameter name."""
        hints = get_type_hints(cls.check)  # type: ignore[attr-defined]
        return {name: hint for name, hint in hints.items() if name != "return"}

    def measure(self, name: str, value: float) -> Measurement:
        """A measurement of the threshold field `name`."""
        declared = self.thresholds()[name]
        return Measurement(
            name=name.replace("_", " "),
            value=float(value),
            unit=declared.unit,
            threshold=float(getattr(self, name)),
            fires=declared.fires,
        )

    def finding(
        self,
        message: str,
        *,
        remedies: Iterable[Remedy],
        measurements: Iterable[Measurement] = (),
        layers: Iterable[str] = (),
        onset: Onset | None = None,
        severity: Severity | None = None,
        stage: Stage | None = None,
        title: str | None = None,
    ) -> Finding:
        """A finding of this rule; `severity`, `stage` and `title` default to the rule's own."""
        return Finding(
            rule=self.slug(),
            title=title or self.title,
            severity=self.severity if severity is None else severity,
            stage=self.stage if stage is None else stage,
            message=message,
            measurements=tuple(measurements),
            remedies=tuple(remedies),
            layers=tuple(layers),
            onset=onset,
        )


Findings = Iterator[Finding]

"""Words and numbers that all renderers share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from lossdoctor.finding import Finding, Measurement, Outcome, Severity
from lossdoctor.record.run import RunRecord

_SUBJECT = {"run": "This run", "config": "This configuration", "history": "This history"}
_NOUN = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def number(value: float, digits: int = 4) -> str:
    """A number as a person writes it: `0.3551`, `3,555`, `1.2e-7`, `NaN`."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    size = abs(value)
    if value == int(value) and size < 1e7:
        return f"{int(value):,}"
    if 1e3 <= size < 1e7:
        return f"{value:,.{max(0, digits - 4)}f}"
    if 1e-3 <= size < 1e3:
        return f"{value:.{digits}g}"
    mantissa, exponent = f"{value:.{digits - 2}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def comparison(measurement: Measurement) -> str:
    """The value against its threshold, without the unit: `0.35 > 0.1`."""
    value, limit = measurement.value, measurement.threshold
    if limit is None:
        return number(value)
    # As many digits as it takes for the two to differ: "2 > 2" would prove nothing.
    digits = next((d for d in range(4, 10) if number(value, d) != number(limit, d)), 4)
    shown, shown_limit = number(value, digits), number(limit, digits)
    if measurement.fires == "above" and value > limit:
        return f"{shown} > {shown_limit}"
    if measurement.fires == "below" and value < limit:
        return f"{shown} < {shown_limit}"
    return f"{shown} (limit {shown_limit})"


def onset(finding: Finding) -> str:
    """When the finding first showed, epochs counted from 1 as Keras prints them."""
    if finding.onset is None:
        return ""
    if finding.onset.epoch == 0 and finding.onset.step == 0:
        return "since the first step"
    step = f", step {finding.onset.step:,}" if finding.onset.step is not None else ""
    return f"since epoch {finding.onset.epoch + 1:,}{step}"


def layers(finding: Finding, most: int = 6) -> str:
    """The layers concerned: `layers dense, dense_1 and 12 more`."""
    if not finding.layers:
        return ""
    noun = "layer" if len(finding.layers) == 1 else "layers"
    more = len(finding.layers) - most
    tail = f" and {more} more" if more > 0 else ""
    return f"{noun} {', '.join(finding.layers[:most])}{tail}"


def context(finding: Finding) -> str:
    """When and where, and how probable it is that this is what must be repaired."""
    known = finding.probability is not None and finding.explained_by is None
    probability = f"a root cause with probability {finding.probability:.2f}" if known else ""
    return " · ".join(filter(None, (onset(finding), layers(finding), probability)))


def counts(findings: Iterable[Finding]) -> str:
    """`1 error, 2 warnings, 1 note`."""
    severities = [finding.severity for finding in findings]
    found = ((severities.count(severity), noun) for severity, noun in _NOUN.items())
    return ", ".join(f"{count} {noun}{'s' * (count > 1)}" for count, noun in found if count)


def state(record: RunRecord, findings: Sequence[Finding], outcomes: Sequence[Outcome]) -> str:
    """How the run stands, without naming what is wrong."""
    worst = max((finding.severity for finding in findings), default=Severity.INFO)
    if worst == Severity.ERROR:
        return f"{_SUBJECT[record.source]} cannot be right as it stands"
    if worst == Severity.WARNING:
        return f"{_SUBJECT[record.source]} is held back"
    made = sum(outcome.status in ("clear", "found") for outcome in outcomes)
    if not made:
        return f"Cannot tell: none of the {len(outcomes)} checks could be made"
    stopped = (record.fit.stopped if record.fit else None) or ""
    if stopped.startswith("exception"):
        return f"Cannot tell why fit raised: {plural(made, 'check')} clear ({stopped})"
    tried = sum(outcome.status != "not_applicable" for outcome in outcomes)
    if record.source == "run" and tried < _FEW * len(outcomes):
        return f"Nothing found, but only {made} of {len(outcomes)} checks could be made"
    rest = ((sum(o.status == status for o in outcomes), word) for status, word in _REST.items())
    return ", ".join(
        [f"{HEALTHY}: {plural(made, 'check')} clear"]
        + [f"{count} {word}" for count, word in rest if count]
    )


HEALTHY = "Nothing to fix"
_FEW = 1 / 3
_REST = {"not_applicable": "not applicable", "ignored": "ignored", "failed": "failed"}


def verdict(record: RunRecord, findings: Sequence[Finding], outcomes: Sequence[Outcome]) -> str:
    """The report in one sentence."""
    stands = state(record, findings, outcomes)
    if findings and max(f.severity for f in findings) >= Severity.WARNING:
        return f"{stands}; fix this first: {findings[0].title}."
    return f"{stands}."


def by_reason(outcomes: Iterable[Outcome]) -> Mapping[str, list[str]]:
    """Slugs grouped by the reason they share, the most frequent reason first."""
    groups: dict[str, list[str]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.reason or "no reason given", []).append(outcome.rule)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def plural(count: int, noun: str) -> str:
    """`1 check`, `3 checks`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"

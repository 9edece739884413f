"""The report for machines: JSON in a versioned form, which `schema.json` here describes."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import lossdoctor
from lossdoctor.finding import Finding, Measurement
from lossdoctor.record.run import RunRecord

if TYPE_CHECKING:
    from lossdoctor.report.report import Report

FORMAT = "lossdoctor-report"
VERSION = 1


def render(report: Report) -> str:
    """The report as JSON text."""
    return json.dumps(to_dict(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_dict(report: Report) -> dict[str, Any]:
    """See `Report.to_dict`."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "lossdoctor": lossdoctor.__version__,
        "ok": report.ok,
        "verdict": report.verdict,
        "run": _run(report.record),
        "findings": [_finding(finding) for finding in report.findings],
        "outcomes": [
            {"rule": o.rule, "title": o.title, "status": o.status, "reason": o.reason}
            for o in report.outcomes
        ],
    }


def _run(record: RunRecord) -> dict[str, Any]:
    history, fit = record.history, record.fit
    return {
        "source": record.source,
        "versions": dict(record.versions),
        "epochs": len(history.epochs) if history else None,
        "stopped": fit.stopped if fit else None,
        "final_logs": {
            name: _number(float(values[-1])) for name, values in history.logs.items() if len(values)
        }
        if history
        else {},
    }


def _finding(finding: Finding) -> dict[str, Any]:
    onset = finding.onset
    return {
        "rule": finding.rule,
        "title": finding.title,
        "severity": finding.severity.name.lower(),
        "stage": finding.stage.name.lower(),
        "message": finding.message,
        "measurements": [_measurement(measurement) for measurement in finding.measurements],
        "remedies": [{"text": r.text, "code": r.code} for r in finding.remedies],
        "layers": list(finding.layers),
        "onset": {"epoch": onset.epoch, "step": onset.step} if onset else None,
        "explains": list(finding.explains),
        "explained_by": finding.explained_by,
        "probability": finding.probability,
    }


def _measurement(measurement: Measurement) -> dict[str, Any]:
    limit = measurement.threshold
    return {
        "name": measurement.name,
        "value": _number(measurement.value),
        "unit": measurement.unit,
        "threshold": None if limit is None else _number(limit),
        "fires": measurement.fires,
    }


def _number(value: float) -> float | str:
    # JSON has no NaN, and null would lose which of the three it was.
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(value)

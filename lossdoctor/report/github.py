"""The report as GitHub workflow commands: each problem an annotation of the run's file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossdoctor.finding import Finding, Severity

if TYPE_CHECKING:
    from lossdoctor.report.report import Report

_COMMAND = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def render(report: Report) -> str:
    """One annotation per finding, and the verdict as a notice when there is nothing to fix."""
    lines = [annotation(finding) for finding in report.findings]
    if report.ok:
        lines.append(command("notice", "LossDoctor", report.verdict))
    return "\n".join(lines) + "\n"


def annotation(finding: Finding, run: str = "") -> str:
    """The workflow command for one finding; `run` says which run it is about."""
    title = f"{run}: {finding.title}" if run else finding.title
    text = finding.message
    if finding.explained_by:
        text += f" Explained by {finding.explained_by}."
    elif finding.remedies:
        text += f" Fix: {finding.remedies[0].text}"
    return command(_COMMAND[finding.severity], title, text)


def command(name: str, title: str, text: str) -> str:
    """A workflow command: `name` is error, warning or notice."""
    return f"::{name} title={_escape_property(title)}::{_escape(text)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")

"""The report as Markdown, for a pull request, an issue or a notebook kept as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from lossdoctor.finding import Finding, Outcome, Severity
from lossdoctor.report import wording
from lossdoctor.report.tree import Node, tree

if TYPE_CHECKING:
    from lossdoctor.report.report import Report

_MARK = {Severity.ERROR: "❌", Severity.WARNING: "⚠️", Severity.INFO: "ℹ️"}
_STATUS = {
    "clear": "Checked and clear",
    "not_applicable": "Not checked",
    "ignored": "Ignored",
    "failed": "Failed (a bug in LossDoctor; please report it)",
}


def render(report: Report) -> str:
    """The report as Markdown."""
    lines = ["# LossDoctor report", "", f"**{escape(report.verdict)}**", ""]
    for node in tree(report.findings):
        lines += _node(node, level=2)
    lines += _outcomes(report.outcomes)
    return "\n".join(lines).rstrip() + "\n"


def escape(text: str) -> str:
    """`text` so that Markdown shows it as it is; what stands in backticks stays code."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        part if position % 2 else re.sub(r"([\\*_\[\]<>|#])", r"\\\1", part)
        for position, part in enumerate(parts)
    )


def _node(node: Node, level: int) -> Iterator[str]:
    yield from _finding(node.finding, level)
    for child in node.children:
        yield from _node(child, min(level + 1, 6))


def _finding(finding: Finding, level: int) -> Iterator[str]:
    mark = f"{_MARK[finding.severity]} {finding.severity.name}"
    yield f"{'#' * level} {mark}: {escape(finding.title)} (`{finding.rule}`)"
    yield ""
    yield escape(finding.message)
    yield ""
    if finding.explained_by:
        yield f"Explained by `{finding.explained_by}`."
        yield ""
    if context := wording.context(finding):
        yield f"*{escape(context)}*"
        yield ""
    if finding.measurements:
        yield "| measured | value | unit |"
        yield "|---|---|---|"
        for m in finding.measurements:
            yield f"| {escape(m.name)} | {escape(wording.comparison(m))} | {escape(m.unit)} |"
        yield ""
    for number, remedy in enumerate(finding.remedies):
        yield f"**{'Or' if number else 'Fix'}:** {escape(remedy.text)}"
        yield ""
        if remedy.code:
            yield from ["```python", *remedy.code.strip("\n").split("\n"), "```", ""]


def _outcomes(outcomes: Iterable[Outcome]) -> Iterator[str]:
    groups: dict[str, list[Outcome]] = {status: [] for status in _STATUS}
    for outcome in outcomes:
        groups.setdefault(outcome.status, []).append(outcome)
    for status, heading in _STATUS.items():
        found = groups[status]
        if not found:
            continue
        yield f"## {heading} ({len(found)})"
        yield ""
        if status == "clear":
            yield ", ".join(f"`{outcome.rule}`" for outcome in found)
        else:
            for reason, rules in wording.by_reason(found).items():
                yield f"- {escape(reason)}: {', '.join(f'`{rule}`' for rule in rules)}"
        yield ""

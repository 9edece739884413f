"""The report as one HTML file that needs nothing else, and as the part of a notebook's page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup, escape

import lossdoctor
from lossdoctor.finding import Finding
from lossdoctor.report import plots, wording
from lossdoctor.report.glance import glance
from lossdoctor.report.tree import tree
from lossdoctor.rules import rule_classes
from lossdoctor.rules._catalogue import RuleEntry, entry

if TYPE_CHECKING:
    from lossdoctor.report.report import Report
    from lossdoctor.report.triage import Run

_STATUS = {
    "found": "found",
    "clear": "clear",
    "not_applicable": "not checked",
    "ignored": "ignored",
    "failed": "failed",
}


MOST_REPORTS = 30
"""So many reports make a page of a few megabytes, which is what browsers open at once."""


def render(report: Report) -> str:
    """The report as a whole page."""
    return _template("page.html.j2").render(title=report.verdict, level=1, **_context(report))


def render_fragment(report: Report) -> str:
    """The report as a part of another page, in that page's colors."""
    return _template("fragment.html.j2").render(level=1, **_context(report))


def render_triage(runs: Sequence[Run], summary: str) -> str:
    """Many runs in one table on one page, with the reports of the most troubled ones."""
    template = _template("report.html.j2")
    entries: list[dict[str, Any]] = [{"run": run, "place": "", "report": ""} for run in runs]
    troubled = [e for e in entries if e["run"].report and e["run"].report.problems]
    for number, shown in enumerate(troubled[:MOST_REPORTS]):
        context = _context(shown["run"].report, all_pictures=False)
        shown |= {"place": f"run-{number}", "report": Markup(template.render(level=2, **context))}
    return _template("triage.html.j2").render(
        entries=entries,
        left_out=max(0, len(troubled) - MOST_REPORTS),
        title=summary,
        **_shared(),
    )


def _context(report: Report, *, all_pictures: bool = True) -> dict[str, Any]:
    # A picture is drawn once, with the first finding it proves; the others point there.
    proofs: dict[int, list[plots.Panel]] = {}
    seen_above: dict[int, list[str]] = {}
    rest = []
    for panel in plots.panels(report):
        for position, finding in enumerate(panel.findings):
            if position == 0:
                proofs.setdefault(id(finding), []).append(panel)
            else:
                seen_above.setdefault(id(finding), []).append(panel.title)
        if not panel.findings and (all_pictures or panel.picture.name == "loss"):
            rest.append(panel)
    return _shared() | {
        "report": report,
        "verdict": report.verdict,
        "nodes": tree(report.findings),
        "proofs": proofs,
        "seen_above": seen_above,
        "other_panels": rest,
        "glance": glance(report.record),
        "outcomes": sorted(report.outcomes, key=lambda o: (list(_STATUS).index(o.status), o.rule)),
    }


def _shared() -> dict[str, Any]:
    return {
        "version": lossdoctor.__version__,
        "style": Markup(_read("style.css")),
        "script": Markup(_read("script.js")),
    }


def _read(name: str) -> str:
    return resources.files("lossdoctor.report").joinpath("templates", name).read_text("utf-8")


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lossdoctor.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "prose": _prose,
        "comparison": wording.comparison,
        "context": wording.context,
        "about": _about,
        "identity": id,
        "svg": lambda panel: Markup(plots.svg(panel)),
        "status": _STATUS.__getitem__,
    }
    return environment.get_template(name)


def _prose(text: str) -> Markup:
    """Text with what stands in backticks as code."""
    parts = re.split(r"`([^`]+)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if position % 2 else escape(part)
        for position, part in enumerate(parts)
    )


def _about(finding: Finding) -> RuleEntry | None:
    rule = rule_classes().get(finding.rule)
    return entry(rule) if rule else None

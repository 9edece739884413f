"""What the rules say of themselves, read off their classes and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from dataclasses import dataclass
from typing import Any

from lossdoctor.finding import Severity, Stage
from lossdoctor.rules import rule_classes
from lossdoctor.rules._rule import Rule, Threshold

HEADINGS = (
    "What it detects.",
    "Why it matters.",
    "How it is measured.",
    "How to fix it.",
    "When it is wrong.",
    "References.",
)
_HEADING = re.compile(r"\*\*([A-Z][^*\n]*\.)\*\*\s*")


@dataclass(frozen=True, kw_only=True)
class RuleEntry:
    """One rule as the catalogue shows it.

    `sections` holds the docstring's text by heading, in order. `thresholds` holds, by field name,
    the default and what the rule declares about it.
    """

    slug: str
    class_name: str
    title: str
    severity: Severity
    stage: Stage
    explains: tuple[str, ...]
    summary: str
    sections: dict[str, str]
    thresholds: dict[str, tuple[float, Threshold]]


def entry(rule: type[Rule]) -> RuleEntry:
    """The catalogue entry of one rule."""
    head, *parts = _HEADING.split(inspect.cleandoc(rule.__doc__ or ""))
    defaults: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(rule)}
    return RuleEntry(
        slug=rule.slug(),
        class_name=rule.__name__,
        title=rule.title,
        severity=rule.severity,
        stage=rule.stage,
        explains=tuple(sorted(rule.explains)),
        summary=" ".join(head.split()),
        sections={name: text.strip() for name, text in zip(parts[::2], parts[1::2])},
        thresholds={
            name: (float(defaults[name]), declared) for name, declared in rule.thresholds().items()
        },
    )


def catalogue() -> tuple[RuleEntry, ...]:
    """All rules in the order of repair, then by name."""
    entries = (entry(rule) for rule in rule_classes().values())
    return tuple(sorted(entries, key=lambda e: (e.stage, e.slug)))


def markdown_table() -> str:
    """The table of rules, as the README shows it."""
    rows = [
        f"| `{e.slug}` | {e.severity.name} | {e.summary.replace('|', '&#124;')} |"
        for e in catalogue()
    ]
    return "\n".join(["| rule | severity | what it finds |", "|---|---|---|", *rows]) + "\n"

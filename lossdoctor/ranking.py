"""Order findings: causes above what they explain, then what must be repaired first."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence

from lossdoctor.finding import Finding, Severity


def rank(
    findings: Sequence[Finding], explains: Mapping[str, Collection[str]]
) -> tuple[Finding, ...]:
    """Return `findings` in their one total order, linked by cause.

    A finding explained by another present one of at least WARNING stands below all that are not:
    a second root cause wants repair before what follows from the first. Root causes are ordered by
    (1) severity, that of the gravest thing they explain included, (2) stage of repair, (3) onset,
    (4) margin past the threshold, (5) slug; their effects follow in the same order, those of one
    cause with fewer causes first. Findings of one rule stand together, the gravest first.

    Args:
        findings: What the rules found, in any order.
        explains: For each rule, the slugs of the rules whose findings it can cause. The relation
            must be free of cycles.
    """
    present = {finding.rule for finding in findings}
    causes = {f.rule for f in findings if f.severity >= Severity.WARNING}
    effects = {rule: sorted(present & set(explains.get(rule, ()))) for rule in causes}
    gravity = {rule: _gravity(rule, findings, effects) for rule in present}
    depth = {rule: sum(rule in caused for caused in effects.values()) for rule in present}

    def key(finding: Finding) -> tuple[float, ...] | tuple[object, ...]:
        onset = finding.onset
        return (
            depth[finding.rule],
            -gravity[finding.rule],
            finding.stage,
            -1 if onset is None else onset.epoch,
            -1 if onset is None or onset.step is None else onset.step,
            -min(finding.margin, math.inf),
            finding.rule,
            finding.message,
        )

    ordered = sorted(findings, key=key)
    parent: dict[str, str] = {}
    for finding in ordered:
        for effect in effects.get(finding.rule, ()):
            if effect not in parent:
                parent[effect] = finding.rule
    result: list[Finding] = []

    def place(rule: str) -> None:
        own = [finding for finding in ordered if finding.rule == rule]
        for finding in sorted(own, key=lambda finding: -finding.severity):
            result.append(
                dataclasses.replace(
                    finding,
                    explains=tuple(effects.get(rule, ())),
                    explained_by=parent.get(rule),
                )
            )
        for child in dict.fromkeys(f.rule for f in ordered if parent.get(f.rule) == rule):
            place(child)

    for rule in dict.fromkeys(f.rule for f in ordered if f.rule not in parent):
        place(rule)
    return tuple(sorted(result, key=lambda finding: finding.explained_by is not None))


def _gravity(
    rule: str, findings: Sequence[Finding], effects: Mapping[str, Sequence[str]]
) -> Severity:
    own = max(finding.severity for finding in findings if finding.rule == rule)
    return max([own, *(_gravity(effect, findings, effects) for effect in effects.get(rule, ()))])
